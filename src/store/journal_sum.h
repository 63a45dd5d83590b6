/* journal_sum.h -- what seals the rows of durable.db: CRC-32C over what a row says and where it stands.
 *
 * Private to src/store/. A row has a sum over its head (with that of its state in it) and one over its index
 * columns, so that neither a scan nor a list has to read states. A history row's holds the key of its entity. */
#pragma once

#include "store/journal.h"

uint32_t journal_sum_key(const struct journal_key *key);
/* Of version, open, ready, due_ms; and of the state by its own sum. */
uint32_t journal_sum_head(uint32_t key, const struct journal_write *w, uint32_t state);
uint32_t journal_sum_attributes(const struct journal_attribute *a, size_t count);
uint32_t journal_sum_index(uint32_t key, const struct journal_index *x, uint32_t attributes);
uint32_t journal_sum_row(uint32_t key, const struct journal_row *row);

enum { JOURNAL_KEY_TEXT = 400 };
/* "workflow default/order-17 (run 0190…)", cut where it is too long. */
const char *journal_key_text(const struct journal_key *key, char into[JOURNAL_KEY_TEXT]);
