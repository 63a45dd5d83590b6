/* catalog_impl.h -- what the files of the catalog share: catalog.c (opening and reading), catalog_entry.c
 * (its entries and their index), catalog_request.c (what the API asks), catalog_revision.c (Revisions
 * follow from Services), catalog_route.c (so do the Configuration, the Route and the traffic),
 * catalog_needs.c (the digests a Revision needs), catalog_status.c (facts become status), catalog_write.c
 * (one change on its way to the store, and what follows when it has answered), catalog_outside.c (Routes that are
 * no Service's). Not for anybody else.
 */
#pragma once

#include "base/map.h"
#include "serving/catalog.h"
#include "serving/lent.h"
#include "serving/route.h"

#include <stdio.h>

enum {
    GC_LOOK_US = 5000000,       /* how often Revisions that nobody sends to are looked through */
    FLUSH_LAZY_US = 500000,     /* replica counts and activity are not worth a commit each */
    FLUSH_RETRY_US = 1000000,   /* after the store refused */
    FACTS_TEXT_MAX = 255,       /* of each text in them */
    FLUSH_PER_TURN = 16,        /* Services whose status is looked at before the loop goes on */
    KEY_SIZE = OBJECT_NS_MAX + OBJECT_NAME_MAX + 1,
};

struct facts { /* catalog_facts with its own texts */
    struct catalog_facts f;
    char digest[80];
    char *message, *late_starts; /* NULL: "" */
    json_t *pins;                /* as pins.h has them, or NULL */
};

enum part_kind { PART_CONFIGURATION, PART_ROUTE, PARTS };
struct part { /* an object that follows from a Service, of the same name */
    struct service *owner;
    char uid[UUID_TEXT];
    struct packed *text; /* NULL: not yet committed */
    int64_t version;
    bool busy, dirty;
};

struct service {
    struct catalog *catalog;
    bool bare; /* it is a Configuration and nothing else: no Service, and no Route follows from it */
    char ns[OBJECT_NS_MAX], name[OBJECT_NAME_MAX], uid[UUID_TEXT];
    struct packed *text; /* NULL: not yet committed, so nobody sees it */
    int64_t version, generation, template_generation;
    char latest_created[OBJECT_NAME_MAX], latest_ready[OBJECT_NAME_MAX]; /* empty: none */
    struct list revisions; /* oldest first */
    struct list waiting;   /* requests, while busy */
    bool busy;             /* one change of it is with the store */
    bool dirty;            /* its status may not be what the facts say */
    struct list_node dirty_node; /* in the catalog's, when it or a Revision of it is dirty */
    struct part parts[PARTS];
    struct route_table *table; /* as the observer has it; NULL: never told */
    json_t *traffic;           /* status.traffic of its Route; NULL: never assigned */
    char *rolling;             /* route_rolling_format(); NULL: nothing is shared */
    struct loop_timer roll;    /* the next step of a gradual rollout */
};

struct rev {
    struct list_node node; /* in its Service's */
    struct service *owner; /* NULL: deleted, and only waits for the store */
    char ns[OBJECT_NS_MAX], name[OBJECT_NAME_MAX], uid[UUID_TEXT];
    struct packed *text; /* NULL: not yet committed */
    json_t *pending;  /* the object to commit first; NULL once it was */
    int64_t version, number;
    struct facts facts;
    struct digest *needs; /* what the observer was told of */
    uint32_t need_count;
    enum status_ready ready;     /* of what was committed last */
    enum object_routing routing; /* likewise */
    bool running;                /* the observer has it */
    bool late, busy, dirty;
    bool kept; /* serving.knative.dev/no-gc */
    uint32_t min_scale;
    int64_t created_ms, routing_ms; /* made; its routing is as it is since */
    struct catalog *catalog;
    struct loop_timer deadline;
};

struct catalog {
    struct loop *loop;
    struct store *store;
    struct watchlog *log;
    const struct limits *limits;
    const struct catalog_observer *observer;
    void *ctx;
    char port[16]; /* ":8080" or "" */
    struct service **sorted; /* those with a text, by namespace and name */
    uint32_t count, capacity;
    struct map services, revisions; /* "ns/name" */
    struct map outside;             /* the same of Routes that are no Service's: struct outside */
    uint32_t bare;                  /* how many of those sorted are */
    struct list writes, requests;   /* with the store; not yet answered */
    struct list dirty;              /* Services */
    struct lent lent;               /* what catalog_find() gave away */
    struct loop_task flush_task;
    struct loop_timer flush_timer, gc_timer;
};

enum write_kind { WRITE_SERVICE, WRITE_STATUS, WRITE_SERVICE_DELETE, WRITE_REVISION, WRITE_PART, WRITE_DELETE };
struct write { /* one change on its way */
    struct store_change change;
    struct list_node node;
    struct catalog *catalog; /* NULL: it was freed meanwhile */
    enum write_kind kind;
    struct service *service;
    struct rev *rev;
    struct part *part; /* NULL again when its Service is gone */
    struct catalog_request *q;
    json_t *object;
    const char *kind_name; /* in the store */
    char ns[OBJECT_NS_MAX], name[OBJECT_NAME_MAX];
    struct packed *before; /* DELETE, PART: its last text; NULL: nobody ever saw it */
    struct packed *after;  /* once it is committed */
    /* WRITE_SERVICE: what the Service will say once this is committed */
    int64_t generation, template_generation;
    char latest_created[OBJECT_NAME_MAX];
    bool new_template;
};
static inline void copy_name(char *into, size_t size, const char *from)
{
    (void)snprintf(into, size, "%s", from ? from : "");
}

/* catalog_outside.c */
bool catalog_outside_any(const struct catalog *c, const char *ns, const char *name); /* such a Route is there */
/* The names of such Routes that name the Revision, joined by commas, into a text to be freed; NULL: none. */
char *catalog_outside_routes(const struct rev *v);
/* The observer has forgotten what it knew of the name: it is told again. */
void catalog_outside_forgotten(struct catalog *c, const char *ns, const char *name);
void catalog_outside_done(struct catalog *c);

/* catalog_names.c */
/* The name that has the host of one of the table's tags, to be freed; NULL: none, or no table. */
char *catalog_tag_taken(const struct catalog *c, const struct route_table *t);
void catalog_name_changed(struct catalog *c, const char *ns, const char *name); /* it came, or went */

/* catalog_entry.c */
const char *catalog_store_kind(const struct service *s);
static inline const char *catalog_configuration_uid(const struct service *s)
{
    return s->bare ? s->uid : s->parts[PART_CONFIGURATION].uid;
}
struct service *catalog_service(const struct catalog *c, const char *ns, const char *name);
struct rev *catalog_rev(const struct catalog *c, const char *ns, const char *name);
char *catalog_text(const json_t *object);
/* What we wrote ourselves; a row somebody else changed is the store's CODE_DATA_LOSS, not ours. */
json_t *catalog_tree(const char *text);
json_t *catalog_stored(const struct packed *text); /* the same of a text that is held; NULL: NULL */
/* An object as it is held, of a kind of the store. */
struct packed *catalog_pack(const struct catalog *c, const char *kind, json_t *object, int64_t version);
uint32_t catalog_place(const struct catalog *c, const char *ns, const char *name); /* in c->sorted */
void catalog_sorted_add(struct catalog *c, struct service *s);
void catalog_sorted_remove(struct catalog *c, const struct service *s);
struct service *catalog_service_new(struct catalog *c, const char *ns, const char *name);
struct rev *catalog_rev_new(struct catalog *c, struct service *owner, const char *name, int64_t number);
/* Out of sight at once; the memory stays as long as a change of it is with the store. */
void catalog_rev_drop(struct rev *v);
void catalog_part_init(struct service *s, enum part_kind k); /* a new one, not yet committed */
void catalog_service_free(struct catalog *c, struct service *s);
/* unpacked: as in struct catalog_item, for whoever holds it to free. */
struct catalog_item catalog_service_item(const struct service *s, char **unpacked);
struct catalog_item catalog_rev_item(const struct rev *v, char **unpacked);

/* catalog_write.c */
struct write *catalog_write_new(enum write_kind kind, struct service *s, struct rev *v,
                                struct catalog_request *q, json_t *take_object);
void catalog_write_free(struct write *w);
/* Takes w and its object, also where it fails. */
int catalog_write(struct catalog *c, struct write *w, const char *kind, const char *ns,
                  const char *name, int64_t expect, struct err *e);
void catalog_text_set(struct catalog *c, struct service *s, struct packed *take_text, int64_t version);

/* catalog_status.c */
void catalog_flush_soon(struct catalog *c, struct service *s);
void catalog_flush_retry(struct catalog *c, struct service *s); /* the store refused */
void catalog_flush_later(struct catalog *c, struct service *s, uint64_t delay_us);
json_t *catalog_status(const struct rev *v); /* a reference, or NULL */
json_t *catalog_rev_status(const struct rev *v, const json_t *object);
void catalog_facts_done(struct facts *f);
bool catalog_status_put(json_t *object, json_t *take_status); /* false: it is as it should be */
/* The first commit of a Revision; until then nobody sees it and nothing runs. */
void catalog_revision_write(struct catalog *c, struct rev *v);
void catalog_on_flush_task(struct loop_task *t);
void catalog_on_flush_timer(struct loop_timer *t);
void catalog_on_deadline(struct loop_timer *t);

/* catalog_revision.c */
void catalog_rev_emit(struct catalog *c, struct rev *v, bool was_ready); /* may tell facts at once */
/* take_text: as it was last; NULL: nobody ever saw it. */
void catalog_delete(struct catalog *c, const char *kind, const char *ns, const char *name,
                    struct packed *take_text);
struct packed *catalog_rev_last(const struct rev *v); /* for that; NULL: there is none */
void catalog_revisions_trim(struct catalog *c, struct service *s); /* as gc.h says */
void catalog_on_gc(struct loop_timer *t); /* the same for all of them, and again */
void catalog_rev_ages(struct rev *v, const json_t *object); /* and whether it is kept, and its min-scale */
/* Instances that Revisions of other names than this Service's are to be kept with. */
uint64_t catalog_min_scales(const struct catalog *c, const char *ns, const char *name);
bool catalog_ready_look(struct catalog *c, struct rev *v); /* true: it is the newest that is ready now */

/* catalog_needs.c */
void catalog_needs(struct rev *v, const json_t *object); /* what it names, and what is resolved of it */
void catalog_needs_resolved(struct rev *v);              /* of its facts, which know more now */
void catalog_needs_end(struct rev *v);
/* catalog_route.c: the Configuration and the Route of a Service, and where its requests go */
extern const char *const catalog_part_kinds[];
/* For the names and generations in `s`; `object` is the Service it is put into. */
json_t *catalog_service_status(const struct catalog *c, const struct service *s, const json_t *object);
void catalog_parts_mark(struct service *s);
void catalog_parts_flush(struct catalog *c, struct service *s);
void catalog_part_written(struct catalog *c, struct write *w, int r, int64_t version);
void catalog_parts_delete(struct catalog *c, struct service *s);
void catalog_parts_free(struct catalog *c, struct service *s);
/* Something that a Route depends on has been committed: the traffic is assigned anew, Revisions that it
 * needs are told to the observer, then the table, then those that nobody needs any more. */
void catalog_route_look(struct catalog *c, struct service *s);
void catalog_route_load(struct service *s, const json_t *status); /* as it was before this boot */
bool catalog_routed(const struct rev *v); /* requests go to it, or would */
char *catalog_routes(const struct rev *v); /* the names of the Routes that send to it, to be freed; NULL: none */
enum object_routing catalog_routing(const struct rev *v);
void catalog_on_roll(struct loop_timer *t);

/* They look again, in their order; the first that writes makes the others wait again. */
void catalog_release(struct catalog *c, struct service *s); /* the next change may come */
void catalog_requests_cancel(struct catalog *c);
