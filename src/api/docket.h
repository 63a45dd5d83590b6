/* docket.h -- durable invocations in the API (docs/decisions/0011): asked about, listed, cancelled, driven again.
 *
 * Receives calls of /v1/invocations that are about durable ones. Owns each until it is answered, also while it waits for an end.
 * Emits account.h's JSON, lists of it, and answers as they were kept: without the fields that mean something to a browser at the
 * API's own address, and under a policy that lets nothing of them run there.
 * Refuses what the desk refuses, in its words: 404 is definite, nothing of this id (any more) was accepted; 409 what its status does not
 * allow; parameters it cannot read (400); checkpoints over invoke_checkpoint_bytes_max (413); more than api_watchers_max that
 * wait (429). Loop thread only. */
#pragma once

#include "invocation/desk.h"
#include "net/http_server.h"

struct docket; /* opaque */

struct docket_world { /* outlives it, but for desk and journal: those answer what was asked, or are gone */
    struct loop *loop;
    const struct limits *limits;
    struct desk *desk;
    struct journal *journal;
    void (*on_limit)(void *ctx, const char *limit);
    /* GET of an id that is no durable invocation's; the call is the callee's from then on. */
    void (*unknown)(void *ctx, struct http_call *c, const struct uuid *id);
    void *ctx;
};
struct docket *docket_new(const struct docket_world *w);
void docket_stop(struct docket *d); /* nobody waits any longer: who does is told how it stands */
bool docket_idle(const struct docket *d);
void docket_free(struct docket *d); /* after the desk; calls under way are not answered any more */
DEFINE_AUTO(docket, struct docket *, docket_free)

/* Each answers the call, now or later. */
void docket_look(struct docket *d, struct http_call *c, const struct uuid *id);   /* [?wait=SECONDS] */
void docket_result(struct docket *d, struct http_call *c, const struct uuid *id); /* [?wait=SECONDS] */
void docket_cancel(struct docket *d, struct http_call *c, const struct uuid *id);
void docket_redrive(struct docket *d, struct http_call *c, const struct uuid *id);    /* Hob-Deadline */
void docket_checkpoint(struct docket *d, struct http_call *c, const struct uuid *id); /* Hob-Attempt, the body */
void docket_by_key(struct docket *d, struct http_call *c); /* ?namespace=&service=&key=[&wait=]: that one */
void docket_list(struct docket *d, struct http_call *c);   /* [?namespace=&service=&status=&limit=&after=] */
