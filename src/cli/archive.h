/* archive.h -- a backup as a folder: hob.db, durable.db, and backup.json, which says what they are.
 *
 * Receives paths. Owns the folder that is being made (PATH.part) until it has its name. Emits whole folders, synced, for their
 * owner's eyes only. Refuses what is there already (CODE_EXISTS), and files that are not as backup.json has them
 * (CODE_DATA_LOSS). What fails leaves nothing. */
#pragma once

#include "base/limits.h"
#include "store/backup.h"

struct archive {
    char *path, *part; /* as given, without slashes at its end; where it is made */
};
int archive_begin(struct archive *a, const char *path, struct err *e) MUST_USE;
void archive_auto(struct archive *a); /* removes what has not got its name */
/* From `folder`; with the digest of what was read, as "sha256:…". */
int archive_file(const struct archive *a, const char *folder, const char *name, char digest[80], struct err *e) MUST_USE;
/* backup.json of what lies in it now. */
int archive_describe(const struct archive *a, const struct backup_facts *facts, struct err *e) MUST_USE;
/* over_empty: a folder of that name with nothing in it may be there. */
int archive_finish(struct archive *a, bool over_empty, struct err *e) MUST_USE;
/* Everything of the backup at `from`, as backup.json there has it. */
int archive_take(const struct archive *a, const char *from, const struct limits *limits, struct err *e) MUST_USE;
