/* events.h -- what happened to Services and Revisions, as core/v1 Events, for `kubectl describe` and `get events`.
 *
 * Receives nothing: it reads the change log, a little behind it. Emits one Event for what people want to know: a
 * Service or Revision came, a Revision is ready or is not (with the reason and message of its condition), instances
 * became more or fewer. The same again is the same Event with a count. Refuses to keep more than events_max of its
 * own, or longer than events_age_s: the oldest go. Loop thread only.
 */
#pragma once

#include "serving/registry.h"

struct events;

struct events *events_new(struct loop *l, struct catalog *c, struct registry *g, const struct limits *limits);
void events_free(struct events *v); /* before the registry and the catalog */
DEFINE_AUTO(events, struct events *, events_free)
