/* ticker.h -- hob's Schedules with the world: the machine of timetable.h, the desk that accepts, and the time.
 *
 * Receives what the objects say (ticker_put(), ticker_drop()), as often as anybody likes. Owns, of each invocation that a
 * Schedule has decided on and that is not known to have ended, a small record; not the machines (durable/host.h).
 * Emits to the desk accepts, looks and cancels; to its world what is known of a Schedule after each change.
 * Accepting the same tick twice is accepting it once: its id is computed (timetable.h). What the desk refuses for now is tried again.
 * Refuses nothing else. An object that is not there any more when its tick is to be accepted is forgotten. Loop thread only. */
#pragma once

#include "invocation/desk.h"
#include "invocation/timetable.h"

struct ticker; /* opaque */

struct ticker_ops {
    /* How that Service is called: host, safe, attempts, backoff, retention, callback; texts live until the next call. */
    void (*service)(void *ctx, const char *ns, const char *service, const char *method, struct invocation_spec *into);
    bool (*exists)(void *ctx, const char *ns, const char *name, const char *uid);
    void (*on_change)(void *ctx, const struct timetable_facts *f); /* what is on disk now */
};
struct ticker_world {
    struct loop *loop;
    const struct limits *limits;
    const struct ticker_ops *ops;
    void *ctx;
    const struct timetable_zones *zones;
    int64_t (*wall_ns)(void *ctx);
    uint64_t seed;
};

struct ticker *ticker_new(const struct ticker_world *w);
struct durable_kind ticker_kind(struct ticker *k);                              /* for durable_host_open() */
void ticker_attach(struct ticker *k, struct desk *d, struct durable_host *h);   /* before its start */
void ticker_free(struct ticker *k);                                             /* after the host, before the desk */
DEFINE_AUTO(ticker, struct ticker *, ticker_free)

void ticker_put(struct ticker *k, const struct timetable_object *o); /* copies it */
void ticker_drop(struct ticker *k, struct str uid);

struct ticker_counts {
    uint64_t accepted, repeated, refused; /* repeated: it had been accepted already */
    uint32_t waiting;                     /* invocations of Schedules that have not ended */
};
struct ticker_counts ticker_counts(const struct ticker *k);
