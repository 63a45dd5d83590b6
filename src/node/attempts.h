/* attempts.h -- where a function leaves the checkpoint of the attempt that it has (docs/decisions/0011): a page on its own loopback.
 *
 * Receives the sockets inside the instances whose template says hob.dev/checkpoints, and PUT /v1/invocations/{id}/checkpoint on them.
 * Owns for each instance its server, with a budget that the API does not share, and each checkpoint until the desk has answered.
 * Emits checkpoints to the desk; 204 once one is on disk. Nothing of an invocation is told there.
 * Refuses other pages (404, 405), content of a length that is not said first (411), what is no attempt that this very instance has now (403, the same whoever's it is), over
 * invoke_checkpoint_bytes_max (413), over invoke_checkpoint_connections_max (503), and all before there is a desk, or after (503).
 * Loop thread only. */
#pragma once

#include "gateway/ingress.h"
#include "instance/fleet.h"
#include "invocation/desk.h"

struct attempts;

struct attempts_world {
    struct loop *loop;
    const struct limits *limits;
    struct fleet *fleet;
    void (*on_limit)(void *ctx, const char *limit);
    void *ctx;
};
struct attempts *attempts_new(const struct attempts_world *w);
void attempts_serve(struct attempts *a, struct ingress *in, struct desk *d);
/* Before the desk ends, which may answer afterwards what it was asked; the rest goes with free, after it and the fleet. NULL is fine. */
void attempts_close(struct attempts *a);
void attempts_free(struct attempts *a);
