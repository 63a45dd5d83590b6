/* backup.h -- hob.db and durable.db as files at rest: copied, checked, and made the beginning of another life.
 *
 * Receives folders. Owns nothing. Emits whole files, and what was found in them. Blocks: for programs without a loop.
 * Refuses a folder that a running hob has (CODE_UNAVAILABLE), what is not a hob's, or a newer one's (CODE_PRECONDITION),
 * and what is damaged, be it one row (CODE_DATA_LOSS), naming it and leaving it as it is. */
#pragma once

#include "base/limits.h"

#define BACKUP_OBJECTS "hob.db"
#define BACKUP_DURABLE "durable.db"

/* Both into `into`, a folder that has neither, durable.db first: whatever a workflow refers to (its namespace, search
 * attributes) was made before it, and so is in the copy of hob.db, which is made after. */
int backup_copy(const char *data, const char *into, const struct limits *limits, struct err *e) MUST_USE;

struct backup_facts {
    uint64_t objects, entities, rows; /* rows: of histories */
};
/* Every page, and the checksum of every row. The files are not changed. */
int backup_check(const char *dir, const struct limits *limits, struct backup_facts *ret, struct err *e) MUST_USE;

/* What was given out after the backup (versions of objects, epochs of ownership) is never given out again: both counters
 * leap over it. For files that nobody has used yet; synced. */
int backup_leap(const char *dir, const struct limits *limits, struct err *e) MUST_USE;
