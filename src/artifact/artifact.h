/* artifact.h -- references become verified, content-addressed files that instances can mount.
 *
 * Receives references (`file://`, `http://`, `https://`, with `@sha256:<hex>`), a fetch transport (the
 * fetcher process) and an opener of local folders (the launcher).
 * Owns the content store under `<data>/store` (docs/decisions/0003), the downloads, and who uses what.
 * Emits one result per waiter, progress, and per-use facts for the phases (fetched, verified, bytes,
 * how much was in the page cache).
 * Refuses: a digest that does not match, a size over artifact_bytes_max or over what the disk can
 * spare (before the first byte), an origin that lies about ranges, a path outside the file roots.
 * Nothing half-written is ever visible; what a refusal leaves on disk is at most a resumable part.
 * Threading: loop thread; disk and hashing on helper threads of its own.
 */
#pragma once

#include "base/limits.h"
#include "os/loop.h"
#include "telemetry/phase.h"

struct artifact_store;
struct transfer;         /* one download under way; the transport's own */
struct transfer_request; /* below */

enum artifact_kind {
    ARTIFACT_BUNDLE, /* a folder; mounts as a folder */
    ARTIFACT_MODEL,  /* a file, or (file:// only) a folder */
};

/* The two ways bytes come in; both asynchronous, both replaced by tests. */
struct artifact_transport {
    /* Starts `GET url` from byte `from`; body bytes are written to the pipe whose reading end is
     * given back. on_head comes once with the status and headers that matter; on_end once, last.
     * Cancel closes the pipe. Implemented by fetcher_link. */
    struct transfer *(*start)(struct artifact_transport *t, const struct transfer_request *q,
                              struct err *e);
    void (*cancel)(struct artifact_transport *t, struct transfer *x);
    /* Opens a file or folder of this host for reading, beneath the file roots. on_open gets a
     * descriptor it owns, or -1 and the error. Implemented by the launcher link. */
    int (*open_local)(struct artifact_transport *t, const char *path,
                      void (*on_open)(void *ctx, int take_fd, const struct err *e), void *ctx,
                      struct err *e);
};
struct transfer_head {
    int status;           /* HTTP status; 0: none came */
    int64_t size;         /* of the whole thing; -1 unknown */
    int64_t from;         /* 206: the first byte that comes, as the origin says; -1: it does not */
    int64_t retry_after_ms; /* -1: the origin asked for no pause */
    char etag[128];
};
struct transfer_request {
    const char *url;      /* borrowed for the call */
    uint64_t from;        /* first byte wanted; > 0 sends Range and If-Range */
    const char *etag;     /* of the part already held; may be NULL */
    void (*on_head)(void *ctx, const struct transfer_head *h);
    void (*on_end)(void *ctx, int r, const struct err *e); /* after the pipe's end of file is sure */
    void *ctx;
    int *ret_pipe_fd;     /* the caller owns the reading end */
};

/* `dir` is `<data>/store`, made if missing. Removes strangers under ingest/ that are not resumable. */
int artifact_store_open(struct loop *l, const char *dir, const struct limits *limits,
                        struct artifact_transport *transport, struct artifact_store **ret,
                        struct err *e) MUST_USE;
void artifact_store_free(struct artifact_store *s);
DEFINE_AUTO(artifact_store, struct artifact_store *, artifact_store_free)

/* ---- one use: from reference to something mountable ---- */

struct artifact_use; /* a lease: while it is held the artifact is not evicted */

struct artifact_facts { /* for the start record; times are loop_clock_us() */
    bool was_present;          /* nothing had to be fetched */
    uint64_t fetch_begin_us, fetch_end_us, fetched_bytes; /* pull or model_fetch; 0 if present */
    uint64_t unpack_begin_us, unpack_end_us;              /* bundles: the copy into the store */
    uint64_t verify_begin_us, verify_end_us, verified_bytes;
    uint64_t size_bytes;
    uint32_t resident_permille; /* in the page cache when the use began */
};

struct artifact_request {
    enum artifact_kind kind;
    const char *reference; /* borrowed for the call */
    /* What the reference must be, if it was resolved before; NULL or "": what it says itself, and for
     * an unpinned file:// what is found. Borrowed for the call. */
    const char *digest;
    /* Present in the store: mountable now, at `path` relative to the store ("blobs/sha256/…" or
     * "bundles/sha256-…"). digest is "sha256:<hex>". */
    void (*on_present)(struct artifact_use *u, const char *path, const char *digest);
    /* Its bytes are verified and (as far as memory allows) in the page cache; at or after
     * on_present. A bundle is verified when it is present. */
    void (*on_verified)(struct artifact_use *u);
    /* The end, instead of either of the above: nothing more comes. `retryable`: the origin may come
     * back (dead, 5xx, cut too often); otherwise trying again is pointless (wrong digest, 404, too
     * large). The use is still to be freed. */
    void (*on_failed)(struct artifact_use *u, enum phase at, bool retryable, const struct err *e);
    void *ctx;
};

/* Callbacks never come before this returns. */
int artifact_use_start(struct artifact_store *s, const struct artifact_request *q,
                       struct artifact_use **ret, struct err *e) MUST_USE;
void artifact_use_free(struct artifact_use *u); /* any time; ends the lease, cancels the wait */
void *artifact_use_ctx(const struct artifact_use *u);
const struct artifact_facts *artifact_use_facts(const struct artifact_use *u);

/* References that deployed revisions need: what they pin is not evicted. */
void artifact_pin(struct artifact_store *s, const char *digest);
void artifact_unpin(struct artifact_store *s, const char *digest);

/* ---- looking ---- */

enum artifact_state { ARTIFACT_FETCHING, ARTIFACT_PRESENT, ARTIFACT_BROKEN };
struct artifact_info {
    enum artifact_kind kind;
    enum artifact_state state;
    char digest[80];       /* "sha256:…"; empty while unknown */
    char reference[512];   /* the last one it was asked by */
    uint64_t size_bytes, have_bytes, origin_bytes; /* origin_bytes: read from origins since start */
    uint32_t resident_permille, users, pins;
    int64_t last_used_wall_ms;
    char error[256];
};
void artifact_each(struct artifact_store *s, void (*on_info)(void *ctx, const struct artifact_info *i),
                   void *ctx);
struct artifact_totals {
    uint64_t bytes, files, evicted, fetches, fetch_failures, origin_bytes, verify_failures,
        disk_refusals, resumes;
};
struct artifact_totals artifact_totals(const struct artifact_store *s);
int artifact_evict(struct artifact_store *s, const char *digest, struct err *e) MUST_USE;
