#pragma once

/* What the artifact store knows of one digest, or of one reference whose digest is not known yet (inside of
 * artifact.h). Receives: what the store's scan, a download or a verification found. Owns: the entries, by key; the
 * removal of what is evicted. Emits: room on the disk. Refuses: to evict what anything uses, pins or fetches. */

#include "artifact/artifact.h"

#include "artifact/cas.h"
#include "artifact/fetch.h"
#include "artifact/verify.h"
#include "base/map.h"

struct artifact_store {
    struct loop *loop;
    const struct limits *limits;
    struct fetch_env env;
    struct rng rng;
    struct cas *cas;
    struct work_pool *fetch_pool, *disk_pool, *verify_pool;
    uint32_t verify_threads;
    struct map entries; /* by hex, or "?" and the reference while the digest is not known */
    struct list queue;  /* entries waiting for a download slot */
    uint32_t downloads; /* running */
    struct artifact_totals totals;
    bool closing;
};

/* One digest, or one reference whose digest is not known yet. Lives while anything refers to it.
 * Invariants (entry_check): queued or fetching only while not present; verifying only while present. */
struct entry {
    struct artifact_store *store;
    char key[REF_BYTES_MAX + 3];
    char hex[DIGEST_HEX]; /* empty: not known yet */
    enum artifact_kind kind;
    bool present, tree;
    bool checked; /* wholly verified in this process, or written by it */
    uint64_t bytes, part_bytes, origin_bytes;
    uint8_t *known; /* per leaf; see verify.h */
    uint32_t pins;
    struct list uses;
    struct list_node queue_node;
    struct fetch *fetch;
    bool counted; /* takes a download slot */
    struct verify *verify;
    int64_t last_used_ms;
    uint32_t resident_permille;
    char reference[REF_BYTES_MAX + 1], error[256];
};

void entry_check(const struct entry *n);
struct entry *entry_find(const struct artifact_store *s, const char *key); /* NULL: there is none */
struct entry *entry_make(struct artifact_store *s, const char *key);       /* or the one there is */
void entry_free(struct entry *n);
void entry_drop(struct entry *n); /* forgets an entry that nothing refers to */
void entry_present(struct entry *n, bool tree, uint64_t bytes, uint64_t leaves, bool checked);
void entry_used(struct entry *n); /* now */
bool entry_busy(const struct entry *n);

/* Takes the entry's bytes out of sight at once; the disk's blocks follow behind it. May free n. */
int entry_evict(struct entry *n, struct err *e) MUST_USE;
/* The copy on disk is not what its name says: out of sight, so that the next use fetches it anew. */
void entry_break(struct entry *n, const struct err *why);
/* For fetch_env: evicts what was used longest ago until there is room, and tells f (fetch_room_made).
 * CODE_EXHAUSTED: all that is stored is needed. */
int entry_make_room(struct fetch_env *env, struct fetch *f, uint64_t bytes, struct err *e) MUST_USE;

/* artifact_use.c: fetches for the first use that waits; forgets the entry where nothing is left to do. The only place
 * that starts a fetch, so there is never more than one for a digest. */
void entry_go_on(struct entry *n);
