/* runner.h -- attempts of durable invocations as ordinary requests: one connection each, to whoever serves functions.
 *
 * Receives attempts from the desk (it is its desk_ops), and connections from `connect`.
 * Owns them until the answer is whole. Adds Hob-Invocation-Id, Hob-Attempt, Hob-Deadline and Hob-Checkpoint (base64) to the stored request.
 * Emits desk_over(), once for each attempt, never inside start(): the answer as it is kept (a head of HTTP/1.1 without what is hob's,
 * Content-Length, the content), or that the function never had the request, or that nobody knows what it did with it. Which of
 * these a refusal of the gateway is, its Hob-Problem says, which no function can.
 * Refuses nothing; keeps at most invoke_answer_bytes_max of an answer's content, and says how long it was (Hob-Answer-Cut).
 *
 * Loop thread only. */
#pragma once

#include "invocation/desk.h"

struct runner; /* opaque */

struct runner_world {
    struct loop *loop;
    const struct limits *limits;
    int (*connect)(void *ctx, struct err *e); /* a stream socket, non-blocking, the runner's from then on; < 0: why not */
    void *ctx;
    int64_t (*wall_ns)(void *ctx);
};

struct runner *runner_new(const struct runner_world *w);
void runner_attach(struct runner *r, struct desk *d); /* before the first attempt */
extern const struct desk_ops runner_ops;              /* with the runner as their ctx */
bool runner_idle(const struct runner *r);             /* no attempt is under way */
void runner_free(struct runner *r); /* attempts under way are not told: they are lost with this process */
DEFINE_AUTO(runner, struct runner *, runner_free)

/* What the gateway's own answer of this name means. */
enum invocation_came runner_came_of(struct str problem);
