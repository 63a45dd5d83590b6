/* backup.h -- one backup at a time, made by the node that runs, beside its data; who may read the folder takes it from there.
 *
 * Receives requests for one. Owns the folder `backup` in the data folder, with what is in it. Emits how it is, as a tree for the
 * API: {"state": "none|copying|done|failed", "folder", "durableBytes", "objectBytes", "error"}.
 * Refuses a second one while one is made (CODE_EXHAUSTED). What it emits as done is two whole files, durable.db older
 * than hob.db (store/backup.h says why). What an earlier process left there is removed. Loop thread only. */
#pragma once

#include "codec/json.h"
#include "store/journal.h"
#include "store/store.h"

struct backup;

/* Both outlive it but for their ends, which call it back. shown_dir: how the operator calls data_dir. */
struct backup *backup_new(struct journal *j, struct store *s, const char *data_dir, const char *shown_dir);
void backup_free(struct backup *b); /* after the journal's and the store's ends; NULL is fine */
int backup_begin(struct backup *b, struct err *e) MUST_USE;
int backup_remove(struct backup *b, struct err *e) MUST_USE;
json_t *backup_look(const struct backup *b);
