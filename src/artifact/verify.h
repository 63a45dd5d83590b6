/* verify.h -- what lies in the store is read, checked against its digests, and left in the page cache.
 *
 * Receives a stored digest and a pool of helper threads. Owns one run over it.
 * Emits how much was in the page cache, how much was read and hashed, and whether it is sound.
 * Leaves that were checked earlier in this process and are still in the page cache are not read again:
 * what is there was checked when it came in. (A page that was thrown out and read back by a function in
 * between is not noticed; only fs-verity could.)
 * Everything else is read with several requests in flight and hashed on all helpers, at disk speed. If
 * the leaves do not fit, the whole file is hashed to find out which of the two is damaged; sound files
 * get new leaves.
 * Threading: start, stop and the callback on the loop thread; the pool's helpers in between.
 */
#pragma once

#include "artifact/cas.h"
#include "os/work.h"

struct verify;

struct verify_result {
    uint32_t resident_permille; /* before the run */
    uint64_t hashed_bytes;
    uint64_t begin_us, end_us; /* of reading and hashing; both 0 if nothing had to be read */
};
struct verify_request {
    struct loop *loop;
    struct work_pool *pool;
    uint32_t threads;
    struct cas *cas;
    bool tree;
    const char *hex; /* borrowed until on_done */
    uint64_t bytes;
    uint8_t *known; /* borrowed until on_done: one per leaf, 1: checked in this process; NULL: none */
    /* e: NULL: sound. CODE_DATA_LOSS: damaged. Else: could not be read, or stopped. Last touch of v. */
    void (*on_done)(void *ctx, struct verify *v, const struct verify_result *r, const struct err *e);
    void *ctx;
};

int verify_start(const struct verify_request *q, struct verify **ret, struct err *e) MUST_USE;
void verify_stop(struct verify *v); /* on_done still comes, with CODE_CANCELLED */

/* Bytes of this file in the page cache; whole pages, so at most rounded up to one. */
int verify_resident(int fd, uint64_t from, uint64_t size, uint64_t *ret_bytes,
                    struct err *e) MUST_USE;
