/* run_child.h -- the children of a run, for the files of the machine that meet them: errands and replay.
 *
 * Receives what became of a child's start. Owns Ws__Run.children. Emits the events about them.
 * Refuses nothing: what is not known any more has been dealt with. */
#pragma once

#include "workflow/run_impl.h"

Ws__Child *run_child_find(const struct run *r, int64_t initiated_id); /* NULL: none */
void run_child_remove(struct run *r, int64_t initiated_id);
/* State only: the event is there already (replay). */
void run_child_initiated(struct run *r, int64_t id,
                         const Tp__StartChildWorkflowExecutionInitiatedEventAttributes *a);
void run_child_started(Ws__Child *child, int64_t started_id, const char *run_id);
/* Events: */
void run_child_record_start(struct run *r, struct durable_turn *t, Ws__Child *child, const char *run_id);
void run_child_record_refusal(struct run *r, struct durable_turn *t, Ws__Child *child, enum code code);
/* What the run that this one was reset from had heard of a child that both have; other events: nothing. */
void run_child_again(struct run *r, struct durable_turn *t, const Tp__HistoryEvent *e);
