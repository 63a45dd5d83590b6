#include "artifact/fetch.h"
#include "os/fault.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { ROOM_TRIES_MAX = 3 }; /* others may take what was made free; not for ever */

enum job { JOB_OPEN, JOB_TAKE, JOB_RESTART, JOB_COMMIT, JOB_IMPORT, JOB_CLOSE };

struct fetch {
    struct fetch_env *env;
    struct fetch_request q;
    struct ref ref;
    struct fetch_result result;
    struct err error; /* what it ends with, once `ending` */
    bool ending, drop;

    struct work work; /* the one job */
    enum job job;
    bool job_busy;
    int job_r;
    struct err job_error;
    uint64_t short_by;
    uint32_t room_tries;
    bool room_wanted;

    struct loop_timer pause;
    struct loop_task later; /* what must not happen before the starting call returned */
    bool cancelled, opening; /* opening: open_local has not answered */
    int stop_fd;

    struct ingest *ingest; /* downloads */
    struct transfer *transfer;
    struct transfer_head head;
    bool head_came, end_came, restart, announced;
    int end_r;
    struct err end_error;
    int pipe_fd;
    uint32_t attempt; /* tries that failed and count */
    uint64_t try_from, held_last;
    int64_t size_last;
    bool started_over; /* a resumed part was wrong: once is enough */

    struct import *import; /* file:// */
};

static void try_begin(struct fetch *f);
static void end(struct fetch *f, const struct err *e, bool drop);

/* ---- the job: all that touches the disk --------------------------------------------------- */

static int take_run(struct fetch *f, struct err *e)
{
    int64_t size = f->head.size;
    if (f->restart) {
        int r = ingest_restart(f->ingest, e);
        if (r < 0)
            return r;
        f->restart = false;
    } else if (size < 0 && ingest_held(f->ingest) > 0) {
        size = ingest_size(f->ingest); /* a part's head need not repeat it */
    }
    if (!f->announced) {
        int r = ingest_announce(f->ingest, f->ref.origin, f->head.etag, size, e);
        if (r < 0)
            return r;
        f->announced = true;
    }
    return ingest_take(f->ingest, f->pipe_fd, &f->short_by, e);
}

static void close_run(struct fetch *f)
{
    f->result.part_bytes = 0;
    if (f->ingest && f->drop)
        ingest_drop(f->ingest);
    else if (f->ingest)
        f->result.part_bytes = ingest_held(f->ingest);
    ingest_free(TAKE(f->ingest));
    import_free(TAKE(f->import));
}

static int commit_run(struct fetch *f, struct err *e)
{
    uint64_t bytes = ingest_held(f->ingest);
    int r = ingest_commit(f->ingest, e);
    if (r == 0) {
        memcpy(f->result.in.hex, f->ref.hex, sizeof f->result.in.hex);
        f->result.in.bytes = bytes;
        f->result.in.leaves = hasher_leaf_count(bytes);
        ingest_free(TAKE(f->ingest));
    }
    return r;
}

static void job_run(struct work *w)
{
    struct fetch *f = CONTAINER_OF(w, struct fetch, work);
    struct err *e = &f->job_error;
    f->job_r = 0;
    switch (f->job) {
    case JOB_OPEN:
        ingest_free(TAKE(f->ingest));
        f->job_r = ingest_open(f->env->cas, f->env->limits, f->ref.hex, f->stop_fd, &f->ingest, e);
        break;
    case JOB_TAKE: f->job_r = take_run(f, e); break;
    case JOB_RESTART: f->job_r = ingest_restart(f->ingest, e); break;
    case JOB_COMMIT: f->job_r = commit_run(f, e); break;
    case JOB_IMPORT: f->job_r = import_run(f->import, &f->result.in, &f->short_by, e); break;
    case JOB_CLOSE: close_run(f); break;
    }
}

static void on_job(struct work *w);

static int job_submit(struct fetch *f, enum job job, struct err *e)
{
    ASSERT(!f->job_busy);
    f->job = job;
    f->work = (struct work){ .run = job_run, .on_done = on_job };
    struct work_pool *pool = f->ref.scheme == REF_FILE ? f->env->disk_pool : f->env->fetch_pool;
    if (!pool)
        return err_set(e, CODE_CANCELLED, "the store closes");
    int r = work_submit(pool, &f->work, e);
    f->job_busy = r == 0;
    return r;
}

static void job_start(struct fetch *f, enum job job)
{
    struct err e;
    if (job_submit(f, job, &e) < 0)
        end(f, &e, false);
}

/* ---- the end ------------------------------------------------------------------------------ */

static void fetch_destroy(struct fetch *f)
{
    ASSERT(!f->job_busy && !f->opening);
    loop_cancel(f->env->loop, &f->pause);
    loop_undefer(f->env->loop, &f->later);
    close_run(f);
    fd_auto(&f->pipe_fd);
    fd_auto(&f->stop_fd);
    free(f);
}

static void finish(struct fetch *f)
{
    f->result.end_us = loop_clock_us(f->env->loop);
    f->result.error = f->ending ? &f->error : NULL;
    f->result.retryable = f->ending && plan_code_retryable(f->error.code);
    f->q.on_done(f->q.ctx, f, &f->result);
    fetch_destroy(f);
}

static void transfer_stop(struct fetch *f)
{
    if (f->transfer)
        f->env->transport->cancel(f->env->transport, TAKE(f->transfer));
    if (!f->job_busy)
        fd_auto(&f->pipe_fd);
}

/* Over, with an error. The part stays only where resuming it makes sense. */
static void end(struct fetch *f, const struct err *e, bool drop)
{
    struct err ignored;
    if (!f->ending) {
        f->ending = true;
        f->error = *e;
        f->drop = drop;
        err_wrap(&f->error, "%s %.160s", f->q.kind == ARTIFACT_MODEL ? "model" : "bundle",
                 f->ref.origin);
    }
    loop_cancel(f->env->loop, &f->pause);
    transfer_stop(f);
    if (f->job_busy || f->opening || f->room_wanted)
        return; /* their end comes back here */
    if (f->job == JOB_CLOSE || job_submit(f, JOB_CLOSE, &ignored) < 0)
        finish(f);
}

static void end_cancelled(struct fetch *f)
{
    struct err e;
    err_set(&e, CODE_CANCELLED, "nobody waits for it any more");
    end(f, &e, false);
}

/* ---- tries -------------------------------------------------------------------------------- */

static void on_pause_over(struct loop_timer *t) { try_begin(CONTAINER_OF(t, struct fetch, pause)); }

static void try_failed(struct fetch *f, const struct err *e)
{
    uint64_t held = f->ingest ? ingest_held(f->ingest) : 0;
    bool much = held >= f->try_from && held - f->try_from >= PLAN_FREE_TRY_BYTES;
    f->attempt = much ? MAX(f->attempt, 1u) : f->attempt + 1;
    transfer_stop(f);
    if (!plan_code_retryable(e->code)) {
        end(f, e, true);
    } else if (f->attempt >= f->env->limits->fetch_attempts_max) {
        struct err last = *e;
        err_set(&last, e->code, "%.300s (tried %u times)", e->text, f->attempt);
        end(f, &last, false);
    } else {
        int64_t after = f->head_came ? f->head.retry_after_ms : -1;
        loop_after(f->env->loop, &f->pause, plan_backoff_ms(f->attempt, after, f->env->rng) * 1000);
    }
}

static bool complete(const struct fetch *f)
{
    int64_t size = ingest_size(f->ingest);
    return size >= 0 ? ingest_held(f->ingest) == (uint64_t)size : f->end_r == 0;
}

static void try_ended(struct fetch *f)
{
    struct err e;
    fd_auto(&f->pipe_fd);
    if (!f->head_came) {
        if (f->end_r == 0)
            err_set(&f->end_error, CODE_UNAVAILABLE, "the origin did not answer");
        try_failed(f, &f->end_error);
    } else if (complete(f)) {
        job_start(f, JOB_COMMIT);
    } else {
        err_set(&e, CODE_UNAVAILABLE, "cut after %llu of %lld bytes%s%.200s",
                (unsigned long long)ingest_held(f->ingest), (long long)ingest_size(f->ingest),
                f->end_r < 0 ? ": " : "", f->end_r < 0 ? f->end_error.text : "");
        try_failed(f, &e);
    }
}

static void on_end(void *ctx, int r, const struct err *e)
{
    struct fetch *f = ctx;
    f->transfer = NULL; /* this is its last word */
    f->end_came = true;
    f->end_r = r;
    if (r < 0)
        f->end_error = *e;
    if (!f->job_busy && !f->room_wanted)
        try_ended(f);
}

static void on_head(void *ctx, const struct transfer_head *h)
{
    struct fetch *f = ctx;
    struct err e;
    struct plan_held held = { ingest_held(f->ingest), ingest_size(f->ingest) };
    ASSERT(!f->head_came && !f->job_busy);
    f->head = *h;
    f->head_came = true;
    enum plan_next next = plan_head(&held, h, f->env->limits->artifact_bytes_max, &e);
    f->result.resumes += next == PLAN_TAKE && held.bytes > 0;
    f->room_tries = 0;
    f->restart = next == PLAN_RESTART;
    f->announced = false;
    switch (next) {
    case PLAN_TAKE:
    case PLAN_RESTART: job_start(f, JOB_TAKE); return;
    case PLAN_ASK_ALL:
        transfer_stop(f);
        job_start(f, JOB_RESTART);
        return;
    case PLAN_RETRY: try_failed(f, &e); return;
    case PLAN_REFUSE: end(f, &e, true); return;
    }
}

static void try_begin(struct fetch *f)
{
    struct err e;
    int64_t size = ingest_size(f->ingest);
    f->try_from = ingest_held(f->ingest);
    if (size > 0 && f->try_from == (uint64_t)size) { /* all came before the last run ended */
        job_start(f, JOB_COMMIT);
        return;
    }
    const char *etag = ingest_etag(f->ingest, f->ref.origin);
    f->head_came = f->end_came = false;
    const struct transfer_request q = { .url = f->ref.origin,
                                        .from = f->try_from,
                                        .etag = etag[0] && f->try_from > 0 ? etag : NULL,
                                        .on_head = on_head,
                                        .on_end = on_end,
                                        .ctx = f,
                                        .ret_pipe_fd = &f->pipe_fd };
    f->transfer = f->env->transport->start(f->env->transport, &q, &e);
    if (!f->transfer)
        try_failed(f, &e);
}

/* ---- jobs end ----------------------------------------------------------------------------- */

static void room_ask(struct fetch *f)
{
    struct err e = { 0 };
    f->result.room_refused = true;
    if (f->room_tries++ < ROOM_TRIES_MAX &&
        f->env->make_room(f->env, f, f->short_by, &e) == 0) {
        f->room_wanted = true;
        f->result.room_refused = false;
        return;
    }
    if (e.code) { /* how much is missing, and why nothing can go for it */
        size_t used = strlen(f->job_error.text);
        snprintf(f->job_error.text + used, sizeof f->job_error.text - used, "; %s", e.text);
    }
    end(f, &f->job_error, true);
}

void fetch_room_made(struct fetch *f)
{
    ASSERT(f->room_wanted);
    f->room_wanted = false;
    if (f->ending || f->cancelled)
        end_cancelled(f);
    else
        job_start(f, f->import ? JOB_IMPORT : JOB_TAKE);
}

static void on_taken(struct fetch *f)
{
    if (f->job_r == 1)
        room_ask(f);
    else if (f->job_r < 0)
        end(f, &f->job_error, true);
    else if (f->end_came)
        try_ended(f);
}

static void on_committed(struct fetch *f)
{
    if (f->job_r == 0) {
        finish(f);
    } else if (f->job_error.code == CODE_DATA_LOSS && !f->started_over &&
               (ingest_resumed(f->ingest) || f->result.resumes > 0)) {
        f->started_over = true; /* the pieces may be at fault: once more, in one piece */
        job_start(f, JOB_OPEN);
    } else {
        end(f, &f->job_error, true);
    }
}

static void on_imported(struct fetch *f)
{
    f->result.unpack_end_us = loop_clock_us(f->env->loop);
    if (f->job_r == 1) {
        room_ask(f);
    } else if (f->job_r < 0) {
        f->result.at = f->q.kind == ARTIFACT_BUNDLE ? PHASE_IMAGE_UNPACK : PHASE_MODEL_FETCH;
        end(f, &f->job_error, true);
    } else {
        f->result.received_bytes = f->result.in.bytes;
        finish(f);
    }
}

static void on_job(struct work *w)
{
    struct fetch *f = CONTAINER_OF(w, struct fetch, work);
    f->job_busy = false;
    if (f->ingest) {
        f->held_last = ingest_held(f->ingest);
        f->size_last = ingest_size(f->ingest);
        f->result.received_bytes = ingest_received(f->ingest);
    }
    if (f->job == JOB_CLOSE) {
        finish(f);
        return;
    }
    if (w->submitted && !f->ending) /* the pool closed before it began */
        f->cancelled = true;
    if (f->ending || f->cancelled) {
        bool done = (f->job == JOB_COMMIT || f->job == JOB_IMPORT) && f->job_r == 0;
        if (done && !w->submitted && !f->ending)
            finish(f); /* it is there: no reason to forget it */
        else
            end_cancelled(f);
        return;
    }
    switch (f->job) {
    case JOB_OPEN:
    case JOB_RESTART:
        if (f->job_r < 0)
            end(f, &f->job_error, false);
        else
            try_begin(f);
        return;
    case JOB_TAKE: on_taken(f); return;
    case JOB_COMMIT: on_committed(f); return;
    case JOB_IMPORT: on_imported(f); return;
    case JOB_CLOSE: break;
    }
    UNREACHABLE("a job is one of six");
}

/* ---- starting and stopping ---------------------------------------------------------------- */

static void on_local(void *ctx, int take_fd, const struct err *e)
{
    struct fetch *f = ctx;
    f->opening = false;
    if (!f->env) { /* abandoned by a store that closed */
        fd_auto(&take_fd);
        free(f);
        return;
    }
    f->result.unpack_begin_us = loop_clock_us(f->env->loop);
    if (f->ending || f->cancelled) {
        fd_auto(&take_fd);
        end_cancelled(f);
        return;
    }
    if (take_fd < 0) {
        end(f, e, true);
        return;
    }
    f->import = import_new(f->env->cas, f->env->limits, f->q.kind, take_fd, f->ref.hex);
    job_start(f, JOB_IMPORT);
}

static void begin(struct loop_task *t)
{
    struct fetch *f = CONTAINER_OF(t, struct fetch, later);
    struct err e;
    if (f->cancelled) {
        end_cancelled(f);
        return;
    }
    f->result.begin_us = loop_clock_us(f->env->loop);
    f->stop_fd = fault_hit("eventfd") ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (f->stop_fd < 0) {
        err_sys(&e, "eventfd");
        end(f, &e, false);
        return;
    }
    if (f->ref.scheme != REF_FILE) {
        job_start(f, JOB_OPEN);
        return;
    }
    f->opening = true;
    if (f->env->transport->open_local(f->env->transport, f->ref.origin, on_local, f, &e) < 0) {
        f->opening = false;
        end(f, &e, true);
    }
}

struct fetch *fetch_start(struct fetch_env *env, const struct fetch_request *q)
{
    struct fetch *f = xcalloc(1, sizeof *f);
    f->env = env;
    f->q = *q;
    f->ref = *q->ref;
    f->q.ref = &f->ref;
    f->pipe_fd = f->stop_fd = -1;
    f->size_last = -1;
    f->job = JOB_OPEN;
    f->result.at = q->kind == ARTIFACT_BUNDLE ? PHASE_IMAGE_PULL : PHASE_MODEL_FETCH;
    f->pause.on_due = on_pause_over;
    f->later.run = begin;
    loop_defer(env->loop, &f->later);
    return f;
}

static void stop_later(struct loop_task *t) { end_cancelled(CONTAINER_OF(t, struct fetch, later)); }

void fetch_cancel(struct fetch *f)
{
    const uint64_t one = 1;
    if (f->cancelled || f->ending)
        return;
    f->cancelled = true;
    if (f->stop_fd >= 0)
        (void)!write(f->stop_fd, &one, sizeof one);
    if (f->import)
        import_stop(f->import);
    loop_cancel(f->env->loop, &f->pause);
    transfer_stop(f);
    if (!f->job_busy && !f->opening && !f->room_wanted && !list_node_linked(&f->later.node)) {
        f->later.run = stop_later;
        loop_defer(f->env->loop, &f->later);
    }
}

void fetch_free(struct fetch *f)
{
    if (!f)
        return;
    transfer_stop(f);
    if (f->opening) { /* open_local will answer, and finds nobody */
        loop_undefer(f->env->loop, &f->later);
        fd_auto(&f->stop_fd);
        f->env = NULL;
        return;
    }
    fetch_destroy(f);
}

const char *fetch_reference(const struct fetch *f) { return f->ref.text; }

/* While a job runs, its part belongs to a helper; what may be asked of it meanwhile is atomic. */
uint64_t fetch_held(const struct fetch *f)
{
    if (f->job_busy && f->job == JOB_IMPORT)
        return import_held(f->import);
    return f->job_busy && f->job == JOB_TAKE ? ingest_held(f->ingest) : f->held_last;
}

int64_t fetch_size(const struct fetch *f) { return f->head_came ? f->head.size : f->size_last; }
