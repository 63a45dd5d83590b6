/* run_external.h -- what a run sends to runs that are not its own, for the files of the machine that meet it.
 *
 * Receives how a signal or a cancellation came out. Owns Ws__Run.outbound. Emits the events about it.
 * Refuses nothing: what is not known any more has been dealt with. */
#pragma once

#include "workflow/run_impl.h"

Ws__Outbound *run_external_find(const struct run *r, int64_t initiated_id); /* NULL: none */
void run_external_remove(struct run *r, int64_t initiated_id);
/* State only: the event is there already (replay). */
void run_external_signal_initiated(struct run *r, int64_t id,
                                   const Tp__SignalExternalWorkflowExecutionInitiatedEventAttributes *a);
void run_external_cancel_initiated(
    struct run *r, int64_t id,
    const Tp__RequestCancelExternalWorkflowExecutionInitiatedEventAttributes *a);
/* The event; `no`: NULL, it was done. Removes it. */
void run_external_record(struct run *r, struct durable_turn *t, const Ws__Outbound *o, const struct refusal *no);
