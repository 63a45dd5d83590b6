/* kpa_text.h -- the autoscaler's last decision as one sentence for people, with the numbers behind it.
 *
 * Receives a decision and the settings it was made with. Emits text: how many instances, because of what.
 * Owns and refuses nothing.
 */
#pragma once

#include "scale/kpa.h"

enum { KPA_TEXT = 256 };

void kpa_explain(const struct kpa_config *c, const struct kpa_decision *d, char into[KPA_TEXT]);
