/* runs.h -- commands beside a function: orders to the process that waits inside its sandbox, and what came of each.
 *
 * Receives argument lists. Owns our end of the socket to the runner (runner.h), and the runner's until its order is sent;
 * remembers the callers' struct sandbox_run while they run. Emits on_done of each. Refuses a command when no runner is there
 * (any more), and what does not fit into an order. What comes back has the trust of the function. Loop thread. */
#pragma once

#include "os/loop.h"
#include "sandbox/sandbox.h"

struct runs {
    struct loop *loop;
    int fd, runner_fd; /* ours; and the runner's, until the order is sent. -1: no commands */
    struct loop_io io;
    struct list list; /* struct sandbox_run */
    uint32_t next;
};
void runs_init(struct runs *rs, struct loop *l);
int runs_open(struct runs *rs, struct err *e) MUST_USE;
void runs_done(struct runs *rs); /* no callback any more */

bool runs_there(const struct runs *rs); /* somebody listens */
int runs_start(struct runs *rs, const char *const *argv, uint64_t timeout_us, struct sandbox_run *r, struct err *e) MUST_USE;
void runs_forget(struct runs *rs, struct sandbox_run *r);
