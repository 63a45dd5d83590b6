/* batch.h -- one of Temporal's batch operations as a pure state machine: one thing done to every run that a query finds.
 *
 * Receives the request, what a list of runs found, and what became of a page of them, each with the turn (durable/host.h) it
 * happens in.
 * Owns its state (workflow/batch.proto): how far it has come, and the page of runs at hand. A page is in the state before
 * the first of its runs is touched: after a crash it is done again, never left out, and each of its calls can tell a repetition.
 * Emits, read off the state by batch_wants() (level, not edge; 0010), what the outside has to do.
 * Refuses, with a `struct refusal`, what Temporal refuses. No clock, no I/O. */
#pragma once

#include "base/limits.h"
#include "codec/temporal.h"
#include "durable/host.h"
#include "workflow/refusal.h"

struct batch; /* opaque */

/* Of the request alone: what is missing, too much, or not done by hob. */
int batch_check(const Tp__StartBatchOperationRequest *q, const struct limits *limits, struct refusal *no) MUST_USE;
/* `q` is checked. The machine belongs to the caller (for durable_turn_create()). */
struct batch *batch_new(const Tp__StartBatchOperationRequest *q, const struct uuid *run, int64_t now_ns, const struct limits *limits);
void batch_free(struct batch *b); /* NULL is fine */
int batch_unpack(struct str state, struct batch **ret, struct err *e) MUST_USE;
void batch_pack(const struct batch *b, struct buf *into);
size_t batch_bytes(const struct batch *b);
struct durable_standing batch_standing(const struct batch *b);
void batch_index(const struct batch *b, struct journal_index *into); /* its texts live until the next call */
void batch_check_invariants(const struct batch *b);

void batch_due(const struct batch *b, struct durable_turn *t); /* forgets one that is over for long enough */

enum batch_wish {
    BATCH_NOTHING,
    BATCH_COUNT, /* how many the query finds: batch_counted() */
    BATCH_PAGE,  /* the next of them: batch_paged() */
    BATCH_WORK,  /* do it to the items of the page: batch_worked() */
};
struct batch_want { /* what it points at is the batch's own, until its next turn */
    enum batch_wish wish;
    uint64_t page;
    Tp__WorkflowExecution *const *items;
    size_t count;
    struct str position;
};
void batch_wants(const struct batch *b, struct batch_want *ret);
/* What its lists ask for: the request's query, of runs that were there when it began and were not closed since: what it has
 * closed or made itself is not found again. The caller's. */
char *batch_query(const struct batch *b);
/* At most so many runs at once, and so long from one page's begin to the next's. */
uint32_t batch_page_max(const Tp__StartBatchOperationRequest *q, const struct limits *limits);
uint64_t batch_pace_us(const Tp__StartBatchOperationRequest *q, size_t count, const struct limits *limits);

void batch_counted(struct batch *b, struct durable_turn *t, uint64_t total);
/* items are copied. next empty: that was the last. Fine if `page`, the number it gets, is not the one that is wanted. */
void batch_paged(struct batch *b, struct durable_turn *t, uint64_t page, Tp__WorkflowExecution *const *items, size_t count,
                 struct str next);
/* Fine if that page is done already. */
void batch_worked(struct batch *b, struct durable_turn *t, uint64_t page, uint64_t complete, uint64_t failed,
                  const struct limits *limits);
/* It ends as failed; fine if it is over. */
void batch_stop(struct batch *b, struct durable_turn *t, const char *why);

const Tp__StartBatchOperationRequest *batch_request(const struct batch *b);
struct uuid batch_run(const struct batch *b);
Tp__DescribeBatchOperationResponse *batch_describe(const struct batch *b); /* the caller's */
Tp__BatchOperationInfo *batch_info(const struct batch *b);                 /* the caller's */
