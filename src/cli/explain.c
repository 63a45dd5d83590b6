#include "cli/explain.h"

#include <stdio.h>

enum {
    US_MAX = INT32_MAX
}; /* 35 minutes; a record may claim anything, arithmetic must not overflow */

const char *explain_what_name(unsigned what)
{
    if (what == EXPLAIN_HANDLER)
        return "handler";
    if (what == EXPLAIN_ANSWER)
        return "answer";
    if (what == EXPLAIN_INIT || what == EXPLAIN_SIDECAR)
        return what == EXPLAIN_INIT ? "init" : "sidecar";
    ASSERT(what < PHASES);
    return phase_name((enum phase)what);
}

static struct explain_row *row_add(struct explain *x, unsigned what, int64_t start_us,
                                   int64_t duration_us, enum phase_outcome outcome)
{
    ASSERT(x->row_count < COUNT_OF(x->rows));
    struct explain_row *row = &x->rows[x->row_count++];
    *row = (struct explain_row){
        .what = what, .start_us = start_us, .duration_us = duration_us, .outcome = outcome
    };
    snprintf(row->name, sizeof row->name, "%s", explain_what_name(what));
    return row;
}

static int64_t sane(int64_t us) { return MIN(MAX(us, -(int64_t)US_MAX), US_MAX); }

int64_t explain_first_request_us(const struct invocation_record *r)
{
    const struct phase_mark *delta = &r->start.phases[PHASE_FIRST_REQUEST_DELTA];
    return r->has_start && delta->outcome == PHASE_DONE ? sane(delta->duration_us) : 0;
}

/* From the monotonic stamps where the record has both, else from what `queue_us` means. */
static int64_t start_offset_us(const struct invocation_record *r)
{
    if (r->start.begin_us && r->arrival_us)
        return sane((int64_t)(r->start.begin_us - r->arrival_us));
    return sane(r->queue_us);
}

static void lay_out_besides(const struct invocation_record *r, bool inits, struct explain *x)
{
    int64_t offset_us = start_offset_us(r);
    for (uint32_t k = 0; k < r->start.beside_count; k++) {
        const struct start_beside *b = &r->start.besides[k];
        unsigned what = b->is_init ? EXPLAIN_INIT : EXPLAIN_SIDECAR;
        if (b->is_init != inits || b->mark.outcome == PHASE_ABSENT)
            continue;
        struct explain_row *row = row_add(x, what, offset_us + (int64_t)MIN(b->mark.start_us, US_MAX),
                                          sane(MAX(b->mark.duration_us, 0)), b->mark.outcome);
        struct buf clean;
        buf_init(&clean, sizeof row->name);
        term_clean(&clean, str_of(b->name), false);
        AUTO_FREE char *name = buf_take_text(&clean);
        snprintf(row->name, sizeof row->name, "%s %.39s", explain_what_name(what), name);
    }
}

static void lay_out_start(const struct invocation_record *r, struct explain *x)
{
    int64_t offset_us = start_offset_us(r);
    for (unsigned p = PHASE_QUEUE + 1; p < PHASES; p++) {
        const struct phase_mark *m = &r->start.phases[p];
        if (p == PHASE_SANDBOX)
            lay_out_besides(r, true, x);
        if (p == PHASE_READY)
            lay_out_besides(r, false, x);
        if (m->outcome == PHASE_ABSENT || p == PHASE_FIRST_REQUEST_DELTA)
            continue;
        int64_t start_us = offset_us + (int64_t)MIN(m->start_us, US_MAX);
        int64_t duration_us = sane(MAX(m->duration_us, 0));
        /* `ready` is the instance's: it ends with the first request it ever got, which need not be
         * this one. What this request waited at a ready instance ends with its own dispatch. */
        if (p == PHASE_READY && r->dispatch_us)
            duration_us = MAX((int64_t)r->dispatch_us - start_us, 0);
        row_add(x, p, start_us, duration_us, m->outcome)->bytes = m->bytes;
    }
}

static bool runs(const struct explain_row *row, int64_t at_us)
{
    return row->start_us <= at_us && row->start_us + row->duration_us > at_us;
}

static bool phase_runs(const struct explain *x, unsigned what, int64_t at_us)
{
    for (size_t i = 0; i < x->row_count; i++)
        if (x->rows[i].what == what)
            return runs(&x->rows[i], at_us);
    return false;
}

/* Hashing and unpacking follow the bytes as they come, so while they still come, the coming is what
 * everybody waits for, although the follower always ends a little later. */
static bool follows(const struct explain *x, unsigned what, int64_t at_us)
{
    return (what == PHASE_MODEL_VERIFY && phase_runs(x, PHASE_MODEL_FETCH, at_us)) ||
           (what == PHASE_IMAGE_UNPACK && phase_runs(x, PHASE_IMAGE_PULL, at_us));
}

const struct explain_row *explain_waited_for(const struct explain *x, int64_t at_us)
{
    const struct explain_row *last = NULL;
    for (size_t i = 0; i < x->row_count; i++) {
        const struct explain_row *row = &x->rows[i];
        if (runs(row, at_us) && !follows(x, row->what, at_us) &&
            (!last || row->start_us + row->duration_us > last->start_us + last->duration_us))
            last = row;
    }
    return last;
}

/* The next moment after `from_us` at which the set of running rows changes. */
static int64_t next_change(const struct explain *x, int64_t from_us)
{
    int64_t next_us = x->wait_us;
    for (size_t i = 0; i < x->row_count; i++) {
        int64_t start_us = x->rows[i].start_us, end_us = start_us + x->rows[i].duration_us;
        if (start_us > from_us)
            next_us = MIN(next_us, start_us);
        if (end_us > from_us)
            next_us = MIN(next_us, end_us);
    }
    return next_us;
}

static void blame(struct explain *x)
{
    for (int64_t at_us = 0; at_us < x->wait_us;) {
        const struct explain_row *row = explain_waited_for(x, at_us);
        int64_t next_us = next_change(x, at_us);
        ASSERT(next_us > at_us);
        if (row)
            x->rows[row - x->rows].blame_us += next_us - at_us;
        else
            x->unblamed_us += next_us - at_us;
        at_us = next_us;
    }
}

void explain_lay_out(const struct invocation_record *r, struct explain *ret)
{
    struct explain x = { 0 };
    int64_t first_us = sane(r->first_byte_us), total_us = sane(MAX(r->total_us, r->first_byte_us));
    int64_t queued_us = r->has_start || r->cold       ? sane(r->queue_us)
                        : r->instance[0] || first_us ? sane(r->dispatch_us)
                                                     : total_us; /* no instance ever had it */

    x.wait_us = first_us ? first_us : total_us;
    if (queued_us > 0)
        row_add(&x, PHASE_QUEUE, 0, queued_us, PHASE_DONE);
    if (r->has_start)
        lay_out_start(r, &x);
    if (first_us && first_us >= sane(r->dispatch_us))
        row_add(&x, EXPLAIN_HANDLER, sane(r->dispatch_us), first_us - sane(r->dispatch_us),
                r->outcome == INVOCATION_FUNCTION_ERROR ? PHASE_FAILED : PHASE_DONE);
    if (first_us && total_us > first_us)
        row_add(&x, EXPLAIN_ANSWER, first_us, total_us - first_us, PHASE_DONE)->bytes =
            r->response_bytes;
    x.end_us = MAX(total_us, 1);
    for (size_t i = 0; i < x.row_count; i++)
        x.end_us = MAX(x.end_us, x.rows[i].start_us + x.rows[i].duration_us);
    blame(&x);
    *ret = x;
}
