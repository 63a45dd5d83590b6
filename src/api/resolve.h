/* resolve.h -- what a reference to this host's files means now: its digest.
 *
 * Receives POST /v1/resolve?reference=file:///…[&kind=model]: the caller wants to know whether what a Revision
 * pinned is still what lies there (`hob apply` asks). Owns the uses of the store that are under way; what was read
 * is in the store afterwards, so the start that follows finds it there.
 * Emits {"reference": …, "digest": "sha256:…", "sizeBytes": …}.
 * Refuses references that are not file:// or name a digest already (400), more than api_resolves_max at once
 * (429), and what the store refuses, in its words. Loop thread only.
 */
#pragma once

#include "artifact/artifact.h"
#include "net/http_server.h"

struct resolve_desk;

/* Both outlive it. */
struct resolve_desk *resolve_desk_new(const struct limits *limits, struct artifact_store *artifacts);
void resolve_desk_free(struct resolve_desk *d); /* calls under way are not answered any more */
DEFINE_AUTO(resolve_desk, struct resolve_desk *, resolve_desk_free)

/* Answers now or later, but not when it refuses (-code): then the caller answers with e. */
int resolve_ask(struct resolve_desk *d, struct http_call *c, struct err *e) MUST_USE;
