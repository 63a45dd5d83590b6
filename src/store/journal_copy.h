/* journal_copy.h -- a consistent copy of a database, made while it is used.
 *
 * Private to src/store/. Blocks: for a thread of its own. The copy is of one moment; it is checked, synced, and
 * has its name only then: what lies at `path` is whole. Opening it under its own name is all that a restore is. */
#pragma once

#include "store/journal_sqlite.h"

/* Of a connection that is in no transaction. CODE_EXISTS: there is something at path; CODE_CANCELLED: *closing. Nothing is
 * left behind when it fails. */
int database_copy(struct database *from, const char *path, const _Atomic bool *closing, uint64_t *ret_bytes,
                  struct err *e) MUST_USE;
/* durable.db of `dir`, through a connection of its own. */
int journal_copy_make(const char *dir, const struct limits *limits, const char *path, const _Atomic bool *closing,
                      uint64_t *ret_bytes, struct err *e) MUST_USE;
