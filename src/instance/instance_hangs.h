/* instance_hangs.h -- what an instance that is not ready yet waits for, in words.
 *
 * Receives an instance. Owns nothing, emits a line of text, refuses nothing. instance_phase() and instance_hangs() of
 * instance.h are made here, too. */
#pragma once

#include "instance/instance_impl.h"

/* Why one that has all it needs is not ready. */
void instance_hangs_why(const struct instance *i, char *into, size_t size);
