#include "api/kube_kinds.h"

// clang-format off
#define NAME_COLUMN { "Name", "string", "name", 0, KUBE_CELL_TEXT, "metadata.name" }
#define AGE_COLUMN  { "Age", "string", "", 0, KUBE_CELL_AGE, "metadata.creationTimestamp" }
static const struct kube_column service_columns[] = {
    NAME_COLUMN,
    { "URL", "string", "", 0, KUBE_CELL_TEXT, "status.url" },
    { "LatestCreated", "string", "", 0, KUBE_CELL_TEXT, "status.latestCreatedRevisionName" },
    { "LatestReady", "string", "", 0, KUBE_CELL_TEXT, "status.latestReadyRevisionName" },
    { "Ready", "string", "", 0, KUBE_CELL_READY, "status" },
    { "Reason", "string", "", 0, KUBE_CELL_READY, "reason" },
};
static const struct kube_column revision_columns[] = {
    NAME_COLUMN,
    { "Config Name", "string", "", 0, KUBE_CELL_TEXT, "metadata.labels/" SERVING_GROUP "/configuration" },
    { "Generation", "string", "", 0, KUBE_CELL_TEXT, "metadata.labels/" SERVING_GROUP "/configurationGeneration" },
    { "Ready", "string", "", 0, KUBE_CELL_READY, "status" },
    { "Reason", "string", "", 0, KUBE_CELL_READY, "reason" },
    { "Actual Replicas", "integer", "", 0, KUBE_CELL_TEXT, "status.actualReplicas" },
    { "Desired Replicas", "integer", "", 0, KUBE_CELL_TEXT, "status.desiredReplicas" },
};

#define COLUMNS(table) .columns = table, .column_count = COUNT_OF(table)
#define SERVING(plural_, singular_, name_) \
    .group = SERVING_GROUP, .version = "v1", .plural = plural_, .singular = singular_, .name = name_, \
    .full = plural_ "." SERVING_GROUP, .full_kind = name_ "." SERVING_GROUP,                      \
    .api_version = SERVING_API_VERSION, .log_kind = plural_, .namespaced = true,                 \
    .categories = "all,knative,serving"

const struct kube_resource kube_resources[] = {
    { SERVING("services", "service", "Service"), .kind = CATALOG_SERVICES, .verbs = KUBE_ALL,
      .short_names = "kservice,ksvc", COLUMNS(service_columns) },
    { SERVING("revisions", "revision", "Revision"), .kind = CATALOG_REVISIONS,
      .verbs = KUBE_READ | KUBE_DELETE | KUBE_DELETE_COLLECTION, .short_names = "rev",
      COLUMNS(revision_columns) },
};
// clang-format on
const size_t kube_resource_count = COUNT_OF(kube_resources);

const char *kube_verb_name(uint32_t bit)
{
    switch (bit) {
    case KUBE_GET: return "get";
    case KUBE_LIST: return "list";
    case KUBE_WATCH: return "watch";
    case KUBE_CREATE: return "create";
    case KUBE_UPDATE: return "update";
    case KUBE_PATCH: return "patch";
    case KUBE_DELETE: return "delete";
    case KUBE_DELETE_COLLECTION: return "deletecollection";
    default: UNREACHABLE("a verb is one bit");
    }
}

const struct kube_resource *kube_resource_find(struct str group, struct str version, struct str plural)
{
    for (size_t i = 0; i < kube_resource_count; i++) {
        const struct kube_resource *r = &kube_resources[i];
        if (str_is(group, r->group) && str_is(version, r->version) && str_is(plural, r->plural))
            return r;
    }
    return NULL;
}
