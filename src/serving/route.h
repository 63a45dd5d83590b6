/* route.h -- who gets a Route's requests: its traffic and the Revisions that there are become a table.
 *
 * Receives what was asked for (spec.traffic, valid), what is known of the Revisions it may mean, what the
 * Route said before, and the time. Emits the table of weights that the fleet follows, status.traffic,
 * the condition AllTrafficAssigned in Knative's words, and the moment at which to ask again.
 * Pure; owns nothing but what it returns.
 *
 * Invariants (route_table_check): the weights of a host add up to ROUTE_WEIGHT_ALL; no Revision is twice
 * in a host; a Revision that is not ready gets nothing new unless there is nothing else at all.
 * While what is asked for cannot be had, everything stays as it was: a wrong target moves no request.
 *
 * A gradual rollout follows Knative's steps (knative: pkg/reconciler/route/traffic/rollout.go as described
 * in the reference): the newest begins with 1 %, takes a step at a time from the oldest, several can stack.
 */
#pragma once

#include "serving/object.h"
#include "serving/status.h"

enum {
    ROUTE_WEIGHT_ALL = 10000,
    ROUTE_TAG_MAX = 64,
    /* Revisions that share the latestRevision part while rollouts stack up; the oldest are joined. */
    ROUTE_ROLLING_MAX = 8,
};

/* ---- the table ---- */

struct route_share {
    char revision[OBJECT_NAME_MAX];
    uint32_t weight; /* of ROUTE_WEIGHT_ALL */
};
struct route_host {
    char tag[ROUTE_TAG_MAX]; /* "": the Route's own host */
    struct route_share *shares;
    uint32_t count;
};
struct route_table {
    char ns[OBJECT_NS_MAX], name[OBJECT_NAME_MAX];
    bool cluster_local; /* reached by its cluster-local names only */
    struct route_host *hosts; /* the Route's own first */
    uint32_t count;
};
void route_table_free(struct route_table *t);
DEFINE_AUTO(route_table, struct route_table *, route_table_free)
bool route_table_equal(const struct route_table *a, const struct route_table *b); /* NULL: none */
bool route_table_names(const struct route_table *t, const char *revision); /* t NULL: false */
void route_table_check(const struct route_table *t);

/* ---- a gradual rollout ---- */

struct route_rolling { /* how the percents of latestRevision are shared; oldest first; all 0: not at all */
    struct {
        char revision[OBJECT_NAME_MAX];
        uint32_t percent;
    } shares[ROUTE_ROLLING_MAX];
    uint32_t count;
    int64_t next_ms;         /* the next step; 0: none, it is over */
    int64_t step_ms;
    uint32_t step_percent;
};
/* One turn: `latest` should have `percent` in the end. Duration 0: it has them at once. */
void route_roll(struct route_rolling *r, const char *latest, uint32_t percent, int64_t duration_ms,
                int64_t now_ms);

/* ---- from spec to table ---- */

struct route_revision {
    const char *name;
    enum status_ready ready;
    bool foreign; /* belongs to another Service */
};
struct route_configuration {
    const char *name, *latest_ready; /* "" none yet */
    enum status_ready created;       /* of the latest created */
};
struct route_ask {
    const char *ns, *name;
    const char *port;            /* ":8080" or "" */
    const char *configuration;   /* what latestRevision means */
    const json_t *traffic;       /* spec.traffic; NULL or empty: all to the latest */
    const struct route_revision *revisions; /* every one that the traffic or `before` may name */
    size_t revision_count;
    const char *latest_ready;    /* "" none yet */
    const char *latest_created;  /* "" none yet: then there may be no table */
    enum status_ready created;   /* of latest_created */
    const struct route_configuration *others; /* that the traffic may name as well */
    size_t other_count;
    struct route_rolling *other_rolling; /* one for each of them, as `rolling` below; NULL: they roll at once */
    const json_t *before;        /* status.traffic as it was; NULL: none */
    int64_t rollout_ms;          /* 0: at once */
    int64_t now_ms;
    bool cluster_local;
};
struct route {
    struct route_table *table; /* NULL: there is nothing that could be reached */
    json_t *traffic;           /* status.traffic; NULL: none was ever assigned */
    enum status_ready assigned;
    const char *reason; /* NULL when it is assigned */
    char message[400];
};
/* `rolling` is carried from one call to the next; begins as zeros. */
void route_make(const struct route_ask *ask, struct route_rolling *rolling, struct route *ret);
void route_done(struct route *r);

/* "http://[tag-]name.ns.localhost:8080", cluster-local ones without a port. */
char *route_url(const struct route_ask *ask, const char *tag);
/* So that a rollout goes on after a restart: text for an annotation and back; false: not one of ours. */
char *route_rolling_format(const struct route_rolling *r);
bool route_rolling_parse(const char *text, struct route_rolling *ret);
