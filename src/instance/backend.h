/* backend.h -- the seam between the gateway (bytes) and the instances (who serves them). It lies in
 * the lower of the two rooms, because imports point down.
 *
 * The gateway parses a request head, has it routed, asks for a slot, and forwards. Everything
 * about revisions, queues, scaling and instances is behind this struct, so either side is tested
 * with a fake of the other. Loop thread only.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "os/loop.h"
#include "serving/invoke.h"
#include "telemetry/record.h"

struct backend;
struct connecting;
struct rev;      /* a Revision that a request may go to; valid while a ticket or lease on it is held,
                  * else for the call */

struct backend_ask {
    struct str host; /* lower case, without port */
    struct str tag;  /* Knative-Serving-Tag; empty: none. One that there is not is as none */
    bool from_here;  /* the client is on this machine: it may use cluster-local names */
};

struct backend_way { /* which of a Route's traffic targets has the request; both empty where no header chooses one */
    struct str tag;     /* by this tag, in the host name or in the header; valid for the turn */
    bool default_route; /* by the Route's weights */
};

struct target_policy {
    const char *ns, *service, *revision;
    uint32_t timeout_ms, response_start_ms /* 0: none */, idle_ms /* 0: none */;
    uint16_t port;
    bool h2c; /* it speaks HTTP/2 with prior knowledge; see lease.fd */
    const struct invoke_policy *invoke; /* of durable invocations; NULL: there are none; valid for the turn */
};

enum ticket_result {
    TICKET_GRANTED,   /* lease filled in */
    TICKET_FULL,      /* the queue is full: 503 with Retry-After */
    TICKET_LATE,      /* its deadline came while it waited: 504 with the phase it hung in */
    TICKET_OVERLOAD,  /* the function gets more than it can do: 429 with Retry-After */
    TICKET_NO_TIME,   /* it would be answered after its deadline: 503 with Retry-After */
    TICKET_FAILED,    /* the start failed and will not be tried now: 503, err says why. ticket.cold: it had waited for that start */
};

struct lease {              /* one in-flight request on one instance */
    void *instance;         /* backend's own */
    /* Connected to the function's port, non-blocking. -1, for a target that is h2c only: a connection
     * to the instance was handed out before, and carries this request too. Where the gateway has it no
     * more, or it takes no more, it asks for another by reconnect(). */
    int fd;
    /* Kept alive from an earlier request: may turn out to be closed. True only if this gateway had
     * it under a lease and released it with take_fd: it leaves such a connection registered with
     * the loop, so that nothing is registered per request and what happens on an idle one is seen
     * before it is used again. Who closes an idle connection just closes it. */
    bool fd_reused;
    const char *instance_id;
    bool cold;              /* the request waited for this instance's start */
    const struct start_record *start; /* of the instance; always set */
    uint64_t ready_us;      /* when the instance became ready */
    uint64_t granted_us;    /* when the request got its slot */
};

struct ticket {             /* embedded in the gateway's request; zero it first */
    struct list_node node;  /* backend's own while waiting, for a slot or for a connection */
    struct rev *revision; /* from route(), once per request: who waits keeps it */
    uint64_t arrival_us, deadline_us;
    /* Exactly once, never inside ticket_ask(). */
    void (*on_turn)(struct ticket *t, enum ticket_result r, const struct lease *lease,
                    uint32_t retry_after_s, const struct err *e);
    bool waiting;
    /* The rest is the backend's own. */
    void *instance;
    struct connecting *connecting;
    int fd;
    bool fd_reused, fd_fresh, cold, moved;
    uint8_t verdict; /* enum admit_verdict */
    uint64_t granted_us;
    uint8_t state;
    struct loop_timer timer;
};

struct backend_ops {
    /* NULL: no such host. Picks by the Route's weights. */
    struct rev *(*route)(struct backend *b, const struct backend_ask *ask, struct backend_way *ret);
    void (*policy)(const struct rev *v, struct target_policy *ret);
    void (*ask)(struct backend *b, struct ticket *t);     /* on_turn follows */
    void (*cancel)(struct backend *b, struct ticket *t);  /* no on_turn any more */
    /* A fresh connection to the same instance, after fd_reused turned out to be closed before the
     * first response byte (the gateway has closed it), or an h2c one did not take the request. The lease goes back into the ticket: on_turn
     * grants it again, or it is over with TICKET_FAILED or with cancel(). */
    void (*reconnect)(struct backend *b, struct ticket *t, struct lease *lease);
    /* The instance broke a connection before it answered anything of a request that may be repeated (the gateway has
     * closed it). The lease is over, and the ticket waits for another instance, or for this one once it has shown that it
     * lives; on_turn follows as after ask(), or TICKET_FAILED when too many were repeated. */
    void (*retry)(struct backend *b, struct ticket *t, struct lease *lease);
    /* The request is over. take_fd: the connection, if it can carry another request, else -1
     * (the gateway closed it). `healthy` false: the instance broke the connection itself, and is doubted. */
    void (*release)(struct backend *b, struct lease *lease, int take_fd, bool healthy);
    /* An instance, by its name, did not answer a PING on a connection of HTTP/2 with requests on it (which ends). The name
     * may be of none any more. */
    void (*mute)(struct backend *b, const char *instance_id);
    /* One finished request, for records, metrics and first_request_delta. */
    void (*record)(struct backend *b, const struct invocation_record *r);
};
struct backend {
    const struct backend_ops *ops;
};
