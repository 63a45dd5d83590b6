/* kube_kinds.h -- the kinds that the API serves, one row each: names, verbs, printer columns, selectable fields.
 *
 * Receives a path's words. Emits the row that everything else (verbs, discovery, tables, schemas, watches) is
 * made from: a kind is added here and nowhere else. Pure.
 */
#pragma once

#include "serving/registry.h"

enum kube_verb { /* bits; named as in an APIResource's verbs */
    KUBE_GET = 1,
    KUBE_LIST = 2,
    KUBE_WATCH = 4,
    KUBE_CREATE = 8,
    KUBE_UPDATE = 16,
    KUBE_PATCH = 32,
    KUBE_DELETE = 64,
    KUBE_DELETE_COLLECTION = 128,
    KUBE_VERBS = 8, /* how many there are */
    KUBE_READ = KUBE_GET | KUBE_LIST | KUBE_WATCH,
    KUBE_ALL = 255,
};

enum kube_cell {
    KUBE_CELL_TEXT,  /* what is at a path; "metadata.labels/key" where the key has dots */
    KUBE_CELL_READY, /* that field of the condition Ready */
    KUBE_CELL_AGE,   /* how long ago the time at a path was: "5m12s" */
    KUBE_CELL_COUNT, /* how many members the object at a path has */
    KUBE_CELL_KIND,  /* of the reference at a path: "revision/f-00001" */
    KUBE_CELL_PORTS, /* of the list at a path: "80/TCP" */
};
struct kube_column {
    const char *name, *type, *format;
    int priority; /* 1: only with -o wide */
    enum kube_cell cell;
    const char *path;
};

enum kube_source {
    KUBE_FROM_CATALOG,
    KUBE_FROM_REGISTRY,
    KUBE_FROM_VIEW, /* made from the Service of the same name when it is read */
};
struct kube_resource {
    const char *group, *version; /* group "": core */
    const char *plural, *singular, *name; /* "services", "service", "Service" */
    const char *full;            /* as messages have it: "services.serving.knative.dev" */
    const char *full_kind;       /* "Service.serving.knative.dev" */
    const char *api_version;     /* "serving.knative.dev/v1" */
    const char *log_kind;        /* in the store and the change log */
    bool namespaced;
    enum kube_source source;
    uint32_t kind; /* enum catalog_kind or enum registry_kind, as the source is */
    uint32_t verbs;
    const char *short_names, *categories; /* joined by commas; "" for none */
    const char *fields; /* beyond metadata.name and metadata.namespace, joined by commas; NULL: none */
    const struct kube_column *columns;
    uint32_t column_count;
};
extern const struct kube_resource kube_resources[];
extern const size_t kube_resource_count;

const char *kube_verb_name(uint32_t bit);
bool kube_resource_has_status(const struct kube_resource *r); /* a subresource of that name */
const struct kube_resource *kube_resource_find(struct str group, struct str version, struct str plural);
