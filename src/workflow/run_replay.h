/* run_replay.h -- the state of a run from its history: what each event means for what is pending.
 *
 * Receives events in their order, from the first. Owns nothing; changes the run's state, writes no events.
 * Refuses histories that do not fit together (CODE_DATA_LOSS). Events that close a run are not replayed: a run is rebuilt to
 * go on. */
#pragma once

#include "workflow/run_impl.h"

int run_replay_event(struct run *r, const Tp__HistoryEvent *e, struct err *ret_e) MUST_USE;
