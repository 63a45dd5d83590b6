/* connect.h -- one connection from the node to the function's port, over a socket that was made
 * inside the sandbox's network namespace.
 *
 * Receives the sandbox and a port. Owns the socket until it hands it over. Emits it connected, or
 * why not. A full accept queue (loopback answers nothing at all then) is retried every few
 * milliseconds instead of after TCP's one second; a refused connection is reported at once, or
 * retried until the bound, as the caller wishes.
 */
#pragma once

#include "os/loop.h"
#include "sandbox/sandbox.h"

struct connecting;

struct connect_request {
    struct loop *loop;
    struct sandbox_tier *tier;
    struct sandbox *sandbox;
    uint16_t port;
    bool retry_refused;      /* true: the function is still starting */
    uint64_t give_up_us;     /* absolute; CODE_DEADLINE then */
    bool *crowded;           /* set once the accept queue was full; NULL: nobody wants to know */
    /* Exactly once; take_fd < 0: why. Comes before connect_start() returns when that returns NULL. */
    void (*on_done)(void *ctx, int take_fd, const struct err *e);
    void *ctx;
};

/* NULL: on_done has been called already (loopback usually connects at once). Else it will be,
 * unless connect_cancel() comes first. */
struct connecting *connect_start(const struct connect_request *q);
void connect_cancel(struct connecting *c);
