/* cas.h -- the content store on disk: names, leaves, what is complete and what is not.
 *
 *     blobs/sha256/<hex>              a file, 0444         <hex>.leaves   SHA-256 of each 4 MiB
 *     bundles/sha256-<hex>/           a folder, 0555       sha256-<hex>.manifest, .leaves
 *     ingest/<hex>.part, .origin      a download that can be resumed
 *     ingest/<anything else>          rubbish after a crash; removed by cas_scan()
 *
 * Receives finished files of ingest/ to commit. Owns the folder, and the count of its bytes.
 * Invariant: a name under blobs/ or bundles/ appears by rename, after what it names is on disk.
 * Refuses to take more than the disk and store_bytes_max allow (CODE_EXHAUSTED).
 * Threading: any; the count is locked. Every call may block on the disk. Two calls for the same digest
 * at the same time are the caller's mistake.
 */
#pragma once

#include "artifact/plan.h"
#include "artifact/tree.h"

struct cas;
enum { CAS_NAME = 96 }; /* of a file under ingest/ */

int cas_open(const char *dir, const struct limits *limits, struct cas **ret, struct err *e) MUST_USE;
void cas_free(struct cas *c);
DEFINE_AUTO(cas, struct cas *, cas_free)

struct cas_found {
    bool tree;
    bool part; /* not complete: a download to be resumed */
    const char *hex;
    uint64_t bytes, leaves;
    int64_t last_used_ms;
};
/* Once, after opening: reports what is there, removes rubbish, counts the bytes. */
int cas_scan(struct cas *c, void (*on_found)(void *ctx, const struct cas_found *f), void *ctx,
             struct err *e) MUST_USE;

/* "blobs/sha256/<hex>" or "bundles/sha256-<hex>", relative to the store. */
void cas_path(bool tree, const char *hex, char into[CAS_NAME]);
int cas_ingest_fd(const struct cas *c); /* borrowed */
void cas_name_new(const char *suffix, char into[CAS_NAME]); /* unused, for ingest/ */

/* ---- room ---- */

/* Takes `need` bytes for the file `fd` from `offset` on, and reserves them on disk. 0: done; 1: short,
 * *ret_short must go first. fd < 0: counts only. */
int cas_room_take(struct cas *c, int fd, uint64_t offset, uint64_t need, uint64_t *ret_short,
                  struct err *e) MUST_USE;
void cas_room_give(struct cas *c, uint64_t bytes); /* taken, and gone again */
uint64_t cas_bytes(struct cas *c);

/* ---- in and out ---- */

/* A whole, hashed file of ingest/ becomes a blob. `fd` is open on it for writing. Where the blob is
 * there already, the file is removed: its bytes are the same. */
int cas_commit_blob(struct cas *c, const char *ingest_name, int fd, const char *hex,
                    const struct digest *leaves, size_t leaf_count, struct err *e) MUST_USE;
/* A whole folder of ingest/, with modes set but for the top, becomes a bundle. */
int cas_commit_tree(struct cas *c, const char *ingest_name, struct str manifest, const char *hex,
                    const struct digest *leaves, size_t leaf_count, struct err *e) MUST_USE;
/* Out of sight at once, under a name of ingest/ that cas_erase() then frees. */
int cas_detach(struct cas *c, bool tree, const char *hex, char ret_name[CAS_NAME],
               struct err *e) MUST_USE;
/* The same for a part that nobody writes. */
int cas_part_detach(struct cas *c, const char *hex, char ret_name[CAS_NAME],
                    struct err *e) MUST_USE;
void cas_erase(struct cas *c, const char *ingest_name); /* file or folder; best effort */
void cas_touch(struct cas *c, bool tree, const char *hex); /* was used now */

/* ---- what a digest is made of ---- */

struct cas_file {
    char *path; /* relative to the store */
    uint64_t bytes, leaf_first;
    struct digest whole;
};
struct cas_content {
    bool tree;
    struct cas_file *files;
    size_t file_count;
    struct digest *leaves; /* NULL: missing or damaged; to be made again from a whole check */
    size_t leaf_count;
    uint64_t bytes;
};
/* CODE_DATA_LOSS: the file is gone, has another size, or the manifest is not the one named. */
int cas_content_load(struct cas *c, bool tree, const char *hex, uint64_t bytes,
                     struct cas_content **ret, struct err *e) MUST_USE;
void cas_content_free(struct cas_content *t);
DEFINE_AUTO(cas_content, struct cas_content *, cas_content_free)
int cas_content_open(const struct cas *c, const struct cas_file *f, struct err *e); /* a descriptor */
int cas_leaves_save(struct cas *c, bool tree, const char *hex, const struct digest *leaves,
                    size_t leaf_count, struct err *e) MUST_USE;
