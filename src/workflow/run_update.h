/* run_update.h -- the updates of a run, for the files of the machine that meet them: replay and description.
 *
 * Receives what the history says of them. Owns Ws__Run.updates. Emits nothing. Refuses nothing. */
#pragma once

#include "workflow/run_impl.h"

Ws__Update *run_update_find(const struct run *r, const char *id); /* NULL: none */
/* State only: */
Ws__Update *run_update_admit(struct run *r, const Tp__UpdateRequest *q, int64_t now_ns);
void run_update_accepted(Ws__Update *u, int64_t event_id);
void run_update_completed(Ws__Update *u, int64_t event_id, const Tp__UpdateOutcome *outcome);
