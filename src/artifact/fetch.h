/* fetch.h -- one artifact on its way in: asked for, written, resumed, checked, committed; or not.
 *
 *     over http(s):  opening → asking → taking ⇄ making room → committing → done
 *                       ↑        ↑________________|                |
 *                       |        pause, then resume (bounded)      |
 *                       └── a resumed part had the wrong digest ───┘   (once)
 *     file://:       opening → importing ⇄ making room → done
 *
 * Receives a reference and the store's means. Owns the transfer, the part, the pause, the job.
 * Emits one result, on the loop thread, never before fetch_start() or fetch_cancel() returned.
 * Refuses what plan.h refuses; says whether trying again later makes sense.
 * Invariant: at most one helper job at a time; the part is touched by that job only.
 */
#pragma once

#include "artifact/import.h"
#include "artifact/ingest.h"
#include "artifact/ref.h"
#include "os/work.h"

struct fetch;

struct fetch_result {
    const struct err *error; /* NULL: committed, and `in` says what */
    bool retryable;
    enum phase at; /* where it failed */
    struct import_result in;
    uint64_t begin_us, end_us, unpack_begin_us, unpack_end_us;
    uint64_t received_bytes; /* from the origin, in this fetch */
    uint32_t resumes;
    bool room_refused;
    uint64_t part_bytes; /* left to be resumed */
};

struct fetch_env { /* the store's means; outlives the fetches */
    struct loop *loop;
    struct artifact_transport *transport;
    /* Downloads may block for long; imports may not wait for them. NULL: closed. */
    struct work_pool *fetch_pool, *disk_pool;
    struct cas *cas;
    const struct limits *limits;
    struct rng *rng;
    /* Makes room and then calls fetch_room_made(), later; -code: there is no room to be made. */
    int (*make_room)(struct fetch_env *env, struct fetch *f, uint64_t bytes, struct err *e);
};
struct fetch_request {
    enum artifact_kind kind;
    const struct ref *ref; /* copied */
    void (*on_done)(void *ctx, struct fetch *f, const struct fetch_result *r); /* last touch of f */
    void *ctx;
};

struct fetch *fetch_start(struct fetch_env *env, const struct fetch_request *q);
void fetch_cancel(struct fetch *f); /* on_done still comes, with CODE_CANCELLED */
/* Without on_done; only when the pools are closed already. */
void fetch_free(struct fetch *f);
void fetch_room_made(struct fetch *f);

const char *fetch_reference(const struct fetch *f);
uint64_t fetch_held(const struct fetch *f); /* progress */
int64_t fetch_size(const struct fetch *f);  /* -1: not known */
