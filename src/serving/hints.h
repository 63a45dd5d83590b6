/* hints.h -- mistakes that can be seen in a manifest: each is a warning at deploy, with what to do.
 *
 * Receives a valid manifest. Emits warnings only; never refuses. The list is that of the mission:
 * every instance downloading the model for itself; serverless concurrency swamping one model service;
 * state that dies with its instance. Pure.
 */
#pragma once

#include "codec/json.h"
#include "serving/refusals.h"

void hints_check(const json_t *service, const struct limits *l, struct refusals *warnings);
