/* run_chain.h -- a run made in the turn of another, of the same id.
 *
 * Receives what is to be started. Owns nothing; emits the new machine and its first rows into the turn.
 * Refuses nothing: whether it may is decided by who calls. */
#pragma once

#include "workflow/run_impl.h"

void run_chain_spawn(struct durable_turn *t, const struct run_start *s);
