/* service_start.h -- starting a run, or finding the one that is there: for clients, and for parents of children. */
#pragma once

#include "workflow/service_impl.h"

struct starting { /* filled in before; what came of it after */
    const Tp__StartWorkflowExecutionRequest *q;
    const struct run_start *more; /* child: its parent and so on; NULL */
    const Tp__SignalWithStartWorkflowExecutionRequest *signal; /* NULL */
    bool update; /* update with start: a run that is there is good */
    /* of the turn: */
    struct uuid run;
    struct run *machine; /* the run that it came to, in this turn only */
    struct durable_turn *turn;
    bool started;        /* made now, or by this same request before */
    bool fresh;          /* made now */
};
struct uuid service_run_new(struct durable_turn *t);
int starting_check(const Tp__StartWorkflowExecutionRequest *q, struct refusal *no) MUST_USE;
/* Applies the policies. `no` has the detail AlreadyStarted where a run was in the way. */
int starting_apply(struct service *s, struct starting *x, const struct durable_view *v, struct refusal *no) MUST_USE;
