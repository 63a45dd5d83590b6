/* probe.h -- one try of a probe: tcpSocket, httpGet and grpc over fresh connections, exec beside the function.
 *
 * Receives the probe's parameters and the sandbox. Owns the connection, or the wait for the command.
 * Emits passed (for tcpSocket with the connection itself, to be used for the first request) or failed with why,
 * in Kubernetes' words. HTTP passes on 200..399; redirects are followed within the instance, ten at most, as the
 * kubelet does; one that leads elsewhere passes. HTTPS is the same over TLS, whoever answers. Nothing but loopback inside the sandbox is ever reached:
 * httpGet.host is the Host header. exec passes with exit code 0; else its output, cut and without controls, is why.
 * grpc passes when the health service answers SERVING.
 * Refuses an answer's head over http_head_bytes_max. Loop thread only.
 */
#pragma once

#include "base/limits.h"
#include "instance/connect.h"
#include "instance/redirect.h"
#include "net/grpc_call.h"
#include "net/http1.h"
#include "net/tls_client.h"
#include "serving/revision.h"

enum { PROBER_WHY = 256 };

struct prober_request {
    struct loop *loop;
    const struct limits *limits;
    struct sandbox_tier *tier;
    struct sandbox *sandbox;
    const struct probe *probe;
    const char *host;    /* for the Host header when the probe names none */
    uint16_t port;
    uint64_t timeout_us; /* of the answer */
    uint64_t port_us;    /* a port that refuses is tried again for so long; 0: not at all */
};

struct prober { /* embedded; zero it first, and set on_result */
    void (*on_result)(struct prober *p, bool passed, int take_fd, const char *why);
    /* private */
    struct prober_request q;
    struct connecting *connecting;
    struct loop_io io;
    struct loop_timer timer;
    int fd;
    struct redirect at; /* HTTP: what is asked for now */
    uint32_t redirects;
    struct tls_client *tls; /* NULL: none */
    struct buf answer;
    struct http1_head head;
    struct sandbox_run run; /* exec */
    struct grpc_call *call;
    bool active;
};

/* on_result may come before this returns. */
void prober_try(struct prober *p, const struct prober_request *q);
void prober_stop(struct prober *p); /* no on_result any more; fine when idle */
