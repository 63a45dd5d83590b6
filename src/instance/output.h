/* output.h -- what a function says: lines on stdout and stderr, and its own phases on HOB_PHASES_FD.
 *
 * Receives the reading ends of two pipes. Owns them and the unfinished lines. Emits whole lines (cut at
 * log_line_bytes_max, the rest of such a line dropped) and phase reports.
 * Refuses more than log_rate_bytes_s: beyond it the pipe is not read, so the function waits in write(),
 * as for any slow terminal. Unknown phase lines are ignored: they are the function's own business.
 */
#pragma once

#include "base/buf.h"
#include "base/limits.h"
#include "os/loop.h"
#include "telemetry/phase.h"

struct output { /* embedded; zero it first and set the two callbacks */
    void (*on_line)(struct output *o, struct str line);
    /* "model_load begin", "model_load end bytes=123": only model_load, allocate and warmup */
    void (*on_phase)(struct output *o, enum phase p, bool begins, uint64_t bytes);
    struct loop *loop;
    const struct limits *limits;
    struct loop_io out_io, phases_io;
    struct buf line, phase_line;
    bool line_cut;
    struct loop_timer refill;
    uint64_t window_us, window_bytes;
};

/* Takes the descriptors even on failure. */
int output_open(struct output *o, struct loop *l, const struct limits *limits, int take_out_fd,
                int take_phases_fd, struct err *e) MUST_USE;
/* The last words of a function that ended are read first. Fine if never opened, or closed before. */
void output_close(struct output *o);
