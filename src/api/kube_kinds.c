#include "api/kube_kinds.h"

#include "serving/periodic.h"
#include "serving/registry_knative.h"

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

static const struct kube_column configuration_columns[] = {
    NAME_COLUMN,
    { "LatestCreated", "string", "", 0, KUBE_CELL_TEXT, "status.latestCreatedRevisionName" },
    { "LatestReady", "string", "", 0, KUBE_CELL_TEXT, "status.latestReadyRevisionName" },
    { "Ready", "string", "", 0, KUBE_CELL_READY, "status" },
    { "Reason", "string", "", 0, KUBE_CELL_READY, "reason" },
};
static const struct kube_column route_columns[] = {
    NAME_COLUMN,
    { "URL", "string", "", 0, KUBE_CELL_TEXT, "status.url" },
    { "Ready", "string", "", 0, KUBE_CELL_READY, "status" },
    { "Reason", "string", "", 0, KUBE_CELL_READY, "reason" },
};
static const struct kube_column namespace_columns[] = {
    NAME_COLUMN, { "Status", "string", "", 0, KUBE_CELL_TEXT, "status.phase" }, AGE_COLUMN,
};
static const struct kube_column configmap_columns[] = {
    NAME_COLUMN, { "Data", "integer", "", 0, KUBE_CELL_COUNT, "data" }, AGE_COLUMN,
};
static const struct kube_column secret_columns[] = {
    NAME_COLUMN, { "Type", "string", "", 0, KUBE_CELL_TEXT, "type" },
    { "Data", "integer", "", 0, KUBE_CELL_COUNT, "data" }, AGE_COLUMN,
};
static const struct kube_column event_columns[] = {
    { "Last Seen", "string", "", 0, KUBE_CELL_AGE, "lastTimestamp" },
    { "Type", "string", "", 0, KUBE_CELL_TEXT, "type" },
    { "Reason", "string", "", 0, KUBE_CELL_TEXT, "reason" },
    { "Object", "string", "", 0, KUBE_CELL_KIND, "involvedObject" },
    { "Source", "string", "", 1, KUBE_CELL_TEXT, "source.component" },
    { "Message", "string", "", 0, KUBE_CELL_TEXT, "message" },
    { "First Seen", "string", "", 1, KUBE_CELL_AGE, "firstTimestamp" },
    { "Count", "string", "", 1, KUBE_CELL_TEXT, "count" },
    { "Name", "string", "name", 1, KUBE_CELL_TEXT, "metadata.name" },
};
static const struct kube_column core_service_columns[] = {
    NAME_COLUMN,
    { "Type", "string", "", 0, KUBE_CELL_TEXT, "spec.type" },
    { "Cluster-IP", "string", "", 0, KUBE_CELL_TEXT, "spec.clusterIP" },
    { "External-IP", "string", "", 0, KUBE_CELL_TEXT, "spec.externalName" },
    { "Port(s)", "string", "", 0, KUBE_CELL_PORTS, "spec.ports" },
    AGE_COLUMN,
};
static const struct kube_column domainmapping_columns[] = {
    NAME_COLUMN,
    { "URL", "string", "", 0, KUBE_CELL_TEXT, "status.url" },
    { "Ready", "string", "", 0, KUBE_CELL_READY, "status" },
    { "Reason", "string", "", 0, KUBE_CELL_READY, "reason" },
};
static const struct kube_column domainclaim_columns[] = {
    NAME_COLUMN, { "Namespace", "string", "", 0, KUBE_CELL_TEXT, "spec.namespace" }, AGE_COLUMN,
};
static const struct kube_column schedule_columns[] = {
    NAME_COLUMN,
    { "Schedule", "string", "", 0, KUBE_CELL_TEXT, "spec.schedule" },
    { "TimeZone", "string", "", 1, KUBE_CELL_TEXT, "spec.timeZone" },
    { "Service", "string", "", 0, KUBE_CELL_TEXT, "spec.service" },
    { "Suspend", "boolean", "", 0, KUBE_CELL_TEXT, "spec.suspend" },
    { "Active", "integer", "", 0, KUBE_CELL_TEXT, "status.active" },
    { "Last Schedule", "string", "", 0, KUBE_CELL_AGE, "status.lastScheduleTime" },
    AGE_COLUMN,
};
#define EVENT_FIELDS \
    "involvedObject.kind,involvedObject.namespace,involvedObject.name,involvedObject.uid," \
    "involvedObject.apiVersion,involvedObject.resourceVersion,involvedObject.fieldPath,reason,type," \
    "reportingComponent,source"

#define COLUMNS(table) .columns = table, .column_count = COUNT_OF(table)
#define SERVING(plural_, singular_, name_) \
    .group = SERVING_GROUP, .version = "v1", .plural = plural_, .singular = singular_, .name = name_, \
    .full = plural_ "." SERVING_GROUP, .full_kind = name_ "." SERVING_GROUP,                      \
    .api_version = SERVING_API_VERSION, .log_kind = plural_, .namespaced = true,                 \
    .categories = "all,knative,serving"

#define CORE(plural_, singular_, name_, kind_)                                                      \
    .group = "", .version = "v1", .plural = plural_, .singular = singular_, .name = name_, .full = plural_, \
    .full_kind = name_, .api_version = "v1", .log_kind = plural_, .categories = "", .kind = kind_

const struct kube_resource kube_resources[] = {
    { CORE("namespaces", "namespace", "Namespace", REGISTRY_NAMESPACES), .short_names = "ns",
      .source = KUBE_FROM_REGISTRY, .verbs = KUBE_ALL & ~(uint32_t)KUBE_DELETE_COLLECTION, .fields = "status.phase",
      COLUMNS(namespace_columns) },
    { CORE("configmaps", "configmap", "ConfigMap", REGISTRY_CONFIGMAPS), .namespaced = true,
      .short_names = "cm", .source = KUBE_FROM_REGISTRY, .verbs = KUBE_ALL, COLUMNS(configmap_columns) },
    { CORE("secrets", "secret", "Secret", REGISTRY_SECRETS), .namespaced = true, .short_names = "", .source = KUBE_FROM_REGISTRY, .verbs = KUBE_ALL,
      .fields = "type", COLUMNS(secret_columns) },
    { CORE("events", "event", "Event", REGISTRY_EVENTS), .namespaced = true, .short_names = "ev", .source = KUBE_FROM_REGISTRY, .verbs = KUBE_ALL,
      .fields = EVENT_FIELDS, COLUMNS(event_columns) },
    { CORE("services", "service", "Service", 0), .namespaced = true, .short_names = "svc",
      .source = KUBE_FROM_VIEW, .verbs = KUBE_GET | KUBE_LIST, COLUMNS(core_service_columns) },
    { SERVING("services", "service", "Service"), .kind = CATALOG_SERVICES, .verbs = KUBE_ALL,
      .short_names = "kservice,ksvc", COLUMNS(service_columns) },
    { SERVING("revisions", "revision", "Revision"), .kind = CATALOG_REVISIONS,
      .verbs = KUBE_READ | KUBE_DELETE | KUBE_DELETE_COLLECTION, .short_names = "rev",
      COLUMNS(revision_columns) },
    { SERVING("configurations", "configuration", "Configuration"), .kind = CATALOG_CONFIGURATIONS,
      .verbs = KUBE_ALL & ~(uint32_t)KUBE_DELETE_COLLECTION, .short_names = "config,cfg", COLUMNS(configuration_columns) },
    { SERVING("routes", "route", "Route"), .kind = CATALOG_ROUTES, .verbs = KUBE_ALL & ~(uint32_t)KUBE_DELETE_COLLECTION, .short_names = "rt",
      COLUMNS(route_columns) },
    { .group = SERVING_GROUP, .version = "v1beta1", .plural = "domainmappings", .singular = "domainmapping",
      .name = "DomainMapping", .full = "domainmappings." SERVING_GROUP,
      .full_kind = "DomainMapping." SERVING_GROUP, .api_version = SERVING_GROUP "/v1beta1",
      .log_kind = "domainmappings", .namespaced = true, .categories = "all,knative,serving",
      .source = KUBE_FROM_REGISTRY, .kind = REGISTRY_DOMAINMAPPINGS, .verbs = KUBE_ALL, .short_names = "dm",
      COLUMNS(domainmapping_columns) },
    { .group = DOMAINCLAIM_GROUP, .version = "v1alpha1", .plural = "clusterdomainclaims",
      .singular = "clusterdomainclaim", .name = "ClusterDomainClaim",
      .full = "clusterdomainclaims." DOMAINCLAIM_GROUP, .full_kind = "ClusterDomainClaim." DOMAINCLAIM_GROUP,
      .api_version = DOMAINCLAIM_API_VERSION, .log_kind = "clusterdomainclaims", .categories = "knative-internal,networking",
      .source = KUBE_FROM_REGISTRY, .kind = REGISTRY_DOMAINCLAIMS, .verbs = KUBE_ALL, .short_names = "cdc",
      COLUMNS(domainclaim_columns) },
    { .group = PERIODIC_GROUP, .version = "v1", .plural = "schedules", .singular = "schedule", .name = "Schedule",
      .full = "schedules." PERIODIC_GROUP, .full_kind = "Schedule." PERIODIC_GROUP, .api_version = PERIODIC_API_VERSION,
      .log_kind = "schedules", .namespaced = true, .categories = "all", .source = KUBE_FROM_REGISTRY, .kind = REGISTRY_SCHEDULES,
      .verbs = KUBE_ALL, .short_names = "sched", COLUMNS(schedule_columns) },
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

bool kube_resource_has_status(const struct kube_resource *r) { return strcmp(r->group, SERVING_GROUP) == 0; }

const struct kube_resource *kube_resource_find(struct str group, struct str version, struct str plural)
{
    for (size_t i = 0; i < kube_resource_count; i++) {
        const struct kube_resource *r = &kube_resources[i];
        if (str_is(group, r->group) && str_is(version, r->version) && str_is(plural, r->plural))
            return r;
    }
    return NULL;
}
