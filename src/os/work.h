/* work.h -- a few helper threads for what would block the loop: disk I/O, hashing, commits.
 *
 * Receives jobs from the loop thread; runs `run` on a helper; calls `on_done` on the loop thread,
 * exactly once, never before work_submit() returned. Jobs of one pool start in order of submission.
 * Owns its threads. Refuses more than `waiting_max` waiting jobs (CODE_EXHAUSTED), and any job while it
 * closes (CODE_CANCELLED): an on_done that comes from closing cannot submit the next step.
 * `run` may touch only what the job carries.
 */
#pragma once

#include "os/loop.h"

struct work_pool;

struct work { /* embedded; zero it first; belongs to the pool from submit until on_done */
    struct list_node node;
    void (*run)(struct work *w);     /* helper thread */
    void (*on_done)(struct work *w); /* loop thread; may free the job */
    bool submitted;
};

int work_pool_open(struct loop *l, const char *name, uint32_t threads, uint32_t waiting_max,
                   struct work_pool **ret, struct err *e) MUST_USE;
/* Waits for the running jobs, then runs on_done of every submitted job (not run if `run` had not
 * begun: their on_done comes with w->submitted still true, so that owners can free them). */
void work_pool_free(struct work_pool *p);
DEFINE_AUTO(work_pool, struct work_pool *, work_pool_free)

int work_submit(struct work_pool *p, struct work *w, struct err *e) MUST_USE;
uint32_t work_waiting(const struct work_pool *p); /* loop thread; submitted, on_done not yet run */
