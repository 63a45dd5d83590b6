/* probe.h -- one try of a readiness probe over a fresh connection (Kubernetes' httpGet, tcpSocket).
 *
 * Receives the probe's parameters and a connected socket's maker. Owns the socket during the try.
 * Emits passed (for TCP with the connection itself, to be used for the first request) or failed with
 * why. HTTP passes on 200..399, as the kubelet has it. Loop thread only.
 */
#pragma once

#include "instance/connect.h"
#include "serving/revision.h"

struct prober { /* embedded; zero it first */
    struct loop *loop;
    struct connecting *connecting;
    struct loop_io io;
    struct loop_timer timer;
    int fd;
    const struct probe *probe;
    const char *host; /* for the Host header when the probe names none */
    char answer[16];
    size_t answer_size;
    bool active;
    void (*on_result)(struct prober *p, bool passed, int take_fd, const char *why);
};

/* q->on_done and q->ctx are the prober's; the rest is the caller's. on_result may come before this
 * returns. */
void prober_try(struct prober *p, const struct probe *probe, const char *host,
                const struct connect_request *q);
void prober_stop(struct prober *p); /* no on_result any more; fine when idle */
