/* schedule.h -- one of Temporal's schedules as a pure state machine.
 *
 * Receives what clients ask, what became of the workflows it started, and the time, each with the turn (durable/host.h) it
 * happens in.
 * Owns its state (workflow/schedule.proto): what is to be started and when (calendar.h), what came and was
 * decided (overlap.h), which of its workflows run, and the last ones it started.
 * Emits, read off the state by schedule_wants() (level, not edge; 0010), what the outside has to do: start a
 * workflow, wait for its end, cancel or terminate it. A start has a number and with it a request id, so that one
 * that is done twice is one.
 * Refuses, with a `struct refusal`, what Temporal refuses; a refusal has changed nothing. No clock, no I/O. */
#pragma once

#include "durable/host.h"
#include "workflow/refusal.h"
#include "workflow/schedule_spec.h"

struct schedule; /* opaque */

enum {
    SCHEDULE_RECENT_MAX = 10,     /* actions that are remembered; Temporal's */
    SCHEDULE_FUTURE_MAX = 10,     /* and those that are shown before they come */
    SCHEDULE_LISTED_MAX = 5,      /* of each in lists */
    SCHEDULE_RUNNING_MAX = 1000,  /* actions started or to be started: then it decides nothing more until one ends */
    SCHEDULE_MATCHING_MAX = 1000, /* times that one question is answered with */
};
#define SCHEDULE_KEPT_MS (INT64_C(7) * 86400 * 1000) /* after its last action has ended */

/* ---- life ---- */

/* `q` is checked but for its workflow. The machine belongs to the caller (for durable_turn_create()). */
int schedule_new(const Tp__CreateScheduleRequest *q, const struct uuid *run, int64_t now_ns,
                 const struct schedule_zones *zones, struct schedule **ret, struct refusal *no) MUST_USE;
void schedule_free(struct schedule *s); /* NULL is fine */
DEFINE_AUTO(schedule, struct schedule *, schedule_free)
int schedule_unpack(struct str state, const struct schedule_zones *zones, struct schedule **ret, struct err *e) MUST_USE;
void schedule_pack(const struct schedule *s, struct buf *into);
size_t schedule_bytes(const struct schedule *s);
struct durable_standing schedule_standing(const struct schedule *s);
void schedule_index(const struct schedule *s, struct journal_index *into); /* its texts live until the next call */
void schedule_check(const struct schedule *s);                            /* asserts the invariants */

/* What has come by t->now_ns is decided; one that was over for long enough is forgotten. */
void schedule_due(struct schedule *s, struct durable_turn *t);

/* ---- what there is to do (read after a commit) ---- */

enum schedule_wish { SCHEDULE_START, SCHEDULE_WATCH, SCHEDULE_CANCEL, SCHEDULE_TERMINATE };
struct schedule_want {
    enum schedule_wish wish;
    uint64_t number; /* with the wish, what tells a repetition */
    const char *workflow_id, *run_id, *first_run_id; /* the schedule's own words, until its next turn */
};
bool schedule_wants(const struct schedule *s, size_t n, struct schedule_want *ret);
/* Of a SCHEDULE_START; the caller's. */
Tp__StartWorkflowExecutionRequest *schedule_start(const struct schedule *s, uint64_t number);

/* What came of it. Fine if that action is not known any more. */
void schedule_started(struct schedule *s, struct durable_turn *t, uint64_t number, const struct uuid *run); /* NULL: refused */
void schedule_told(struct schedule *s, struct durable_turn *t, uint64_t number, enum schedule_wish wish);
void schedule_went_on(struct schedule *s, struct durable_turn *t, uint64_t number, const struct uuid *next_run);
/* The chain's end; UNSPECIFIED: nobody knows (it was deleted). */
void schedule_ended(struct schedule *s, struct durable_turn *t, uint64_t number, Tp__WorkflowExecutionStatus status);

/* ---- clients ---- */

int schedule_update(struct schedule *s, struct durable_turn *t, const Tp__UpdateScheduleRequest *q,
                    const struct schedule_zones *zones, struct refusal *no) MUST_USE;
int schedule_patch(struct schedule *s, struct durable_turn *t, const Tp__PatchScheduleRequest *q, struct refusal *no) MUST_USE;
Tp__DescribeScheduleResponse *schedule_describe(const struct schedule *s, int64_t now_ns); /* the caller's */
/* The nominal times after from and up to (with) until, as jitter moves them. */
Tp__ListScheduleMatchingTimesResponse *schedule_matching(const struct schedule *s, int64_t from_ns, int64_t until_ns);
void schedule_token(const struct schedule *s, ProtobufCBinaryData *into);
bool schedule_made_by(const struct schedule *s, const char *request_id);
struct journal_key schedule_key(const struct schedule *s); /* its texts are the schedule's own */
/* The workflow that `q` would start, to be checked; the caller's. */
Tp__StartWorkflowExecutionRequest *schedule_compose(const char *ns, const Tp__Schedule *q);
