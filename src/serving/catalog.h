/* catalog.h -- the Services and Configurations that were deployed, and the Revisions that follow from them.
 *
 * Receives requests from the API, facts from whoever runs the Revisions, and the store.
 * Owns every Service, its Configuration, Revisions and Route (as the JSON text that was last committed, packed),
 * and every Configuration that is no Service's, with its Revisions; a name is one or the other. Routes that are no
 * Service's are told to it (catalog_outside_set).
 * Emits answers only after the commit, each exactly once; Revisions to run and no longer to run, the
 * table of every Route (decisions/0005), and Services that are gone.
 * Refuses, in Knative's words, what service.h refuses; a name that exists (CODE_EXISTS) or does not
 * (CODE_NOT_FOUND); a resourceVersion that is not the last (CODE_ABORTED); more than objects_max
 * Services, or more than CATALOG_WAITING_MAX requests for one (CODE_EXHAUSTED).
 *
 * What is durable, in this order: the Service with the name of its newest Revision, then Configuration and
 * Route, then that Revision, then their status. A crash in between is made good at the next opening: a missing Revision is made
 * again from the template, a Revision without its Service is removed. Loop thread only.
 */
#pragma once

#include "serving/object.h"
#include "serving/revision.h"
#include "serving/route.h"
#include "serving/service.h"
#include "serving/status.h"
#include "serving/watchlog.h"
#include "store/store.h"

struct catalog;

enum { CATALOG_WAITING_MAX = 64 };

struct catalog_observer {
    /* A Revision to run: one that requests may go to, or that still has to prove itself; in order of age.
     * It may call catalog_revision_facts() at once. */
    void (*on_revision)(void *ctx, struct revision *take_r, bool was_ready);
    /* Where requests for a Service go from now on; it names only Revisions that are to run. Borrowed. */
    void (*on_route)(void *ctx, const struct route_table *t);
    /* Nobody is sent to it any more. It may be needed, and told of, again. */
    void (*on_revision_idle)(void *ctx, const char *ns, const char *service, const char *revision);
    void (*on_service_gone)(void *ctx, const char *ns, const char *service);
    /* A Revision needs what has this digest ("sha256:…"; an image or a model) from now on, or not any
     * more. Once each per Revision and digest, whether the Revision runs or not. */
    void (*on_needed)(void *ctx, const char *digest, bool needed);
    /* A Route that is no Service's leads nowhere any more. */
    void (*on_route_gone)(void *ctx, const char *ns, const char *route);
};

/* ingress: "127.0.0.1:8080"; its port is in the URLs unless it is 80. *ret is set before the
 * observer hears of the Revisions that were there. */
int catalog_open(struct loop *l, struct store *s, const struct limits *limits, const char *ingress,
                 const struct catalog_observer *observer, void *ctx, struct catalog **ret,
                 struct err *e) MUST_USE;
/* Requests not yet answered are, with CODE_CANCELLED. To be freed before the store: changes that are
 * still with it are committed all the same, and nobody hears of them. */
void catalog_free(struct catalog *c);
DEFINE_AUTO(catalog, struct catalog *, catalog_free)

/* The limits that it was opened with say something else: each Revision that runs, with the annotations that say how it
 * scales. Nothing is to be asked of the catalog meanwhile. */
void catalog_rescale(struct catalog *c,
                     void (*on_running)(void *ctx, const char *ns, const char *service, const char *revision,
                                        const json_t *annotations),
                     void *ctx);

/* ---- reading ---- */

enum catalog_kind { CATALOG_SERVICES, CATALOG_REVISIONS, CATALOG_CONFIGURATIONS, CATALOG_ROUTES };
struct catalog_item { /* borrowed until the loop goes on */
    const char *ns, *name, *uid;
    const char *plain; /* its text; NULL: only when it is asked for */
    int64_t version;
    const struct packed *packed; /* where plain is NULL, as what follows */
    char **unpacked;
};
/* Compact JSON with its resourceVersion. Of an item of catalog_each() until on_item returns. */
const char *catalog_item_text(const struct catalog_item *i);
bool catalog_find(struct catalog *c, enum catalog_kind kind, const char *ns, const char *name,
                  struct catalog_item *ret);
/* Ordered by namespace and name. ns NULL: all. Not to be changed meanwhile. False from on_item ends it. */
void catalog_each(const struct catalog *c, enum catalog_kind kind, const char *ns,
                  bool (*on_item)(void *ctx, const struct catalog_item *i), void *ctx);
int64_t catalog_version(const struct catalog *c); /* resourceVersion of a list */
/* Every change of it, from the opening on. Whoever else commits to the same store appends there, too. */
struct watchlog *catalog_log(const struct catalog *c);
uint32_t catalog_services(const struct catalog *c);

/* ---- changing ---- */

enum catalog_verb {
    CATALOG_CREATE,
    CATALOG_REPLACE,
    CATALOG_MERGE, /* RFC 7396 onto what is there */
    CATALOG_PATCH, /* as `patch` says */
    CATALOG_DELETE,
    CATALOG_DELETE_REVISION,
};
struct catalog_request { /* embedded by the caller; zero it first; lives until on_done */
    enum catalog_verb verb;
    enum catalog_kind kind; /* CATALOG_SERVICES, or CATALOG_CONFIGURATIONS: one of its own */
    char ns[OBJECT_NS_MAX], name[OBJECT_NAME_MAX]; /* name: empty in CREATE, the body has it */
    json_t *take_body;                             /* owned by the catalog from the submit on */
    const char *uid;        /* DELETE: precondition; NULL: none */
    int64_t version;        /* DELETE: precondition; 0: none */
    /* PATCH: what the object is to become, *ret_body owned by the catalog. before NULL: there is none, and
     * success creates it. < 0: refused, and answered with that and e. */
    int (*patch)(struct catalog_request *q, const json_t *before, json_t **ret_body, struct err *e);
    /* NULL, or called once with what is about to be stored, but for its status: the last changes to its
     * metadata. before NULL: it is new. < 0: refused, and answered with that and e. */
    int (*finish)(struct catalog_request *q, const json_t *before, json_t *object, struct err *e);
    bool dry_run;
    enum service_unknown unknown;
    const char *user;       /* outlives the request */
    /* r 0: `text` is the object as stored (DELETE: as it was). CODE_INVALID: `draft` says why, or e does
     * where draft->refusal is SERVICE_ACCEPTED. */
    void (*on_done)(struct catalog_request *q, int r, const struct catalog_item *item,
                    const struct err *e);
    bool created;               /* PATCH: there was none before */
    struct service_draft draft; /* for its warnings and refusals; freed after on_done */
    void *ctx;
    struct list_node node, open_node; /* the catalog's own, as what follows */
    struct catalog *catalog;
    struct registry *registry; /* where it went there (registry.h) */
    uint32_t registry_kind;
    struct loop_task task;
};
void catalog_submit(struct catalog *c, struct catalog_request *q); /* on_done follows, never at once */

/* A Route of namespace and name that is no Service's: as `object` asks for it, given what Revisions there are now.
 * Its Revisions run as long as it names them. NULL: the Route is gone. Returns its status, NULL when it is gone;
 * *ret_next_ms: when a rollout goes on, 0: none. It may call the observer. */
json_t *catalog_outside_set(struct catalog *c, const char *ns, const char *name, const json_t *object,
                            int64_t *ret_next_ms);

/* What runs a Revision says of it; becomes status, coalesced. Unknown names are ignored. */
void catalog_revision_facts(struct catalog *c, const char *ns, const char *name,
                            const struct catalog_facts *f);
