#include "node/node.h"

#include "api/access.h"
#include "api/admin.h"
#include "api/guard.h"
#include "api/kube.h"
#include "artifact/fetcher_link.h"
#include "base/log.h"
#include "gateway/ingress.h"
#include "instance/fleet.h"
#include "node/attempts.h"
#include "node/backup.h"
#include "node/config_watch.h"
#include "node/durable.h"
#include "node/observe.h"
#include "node/schedules.h"
#include "node/token.h"
#include "node/workers.h"
#include "sandbox/native.h"
#include "serving/catalog.h"
#include "serving/cluster.h"
#include "serving/domains.h"
#include "serving/events.h"
#include "serving/namespaces.h"
#include "serving/pins.h"
#include "serving/routes.h"
#include "store/store.h"
#include "telemetry/metrics.h"
#include "telemetry/starts.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    DRAIN_LOOK_US = 20000,   /* how often a drain looks whether it is over */
    LIMITS_LOOK_US = 1000000, /* how often limits counted elsewhere are carried to the metrics */
};

struct node {
    const struct node_config *config;
    struct limits limits; /* as the cluster's ConfigMaps have them; what they do not touch is as it was at the start */
    struct loop *loop;
    struct store *store;
    struct sandbox_tier *tier;
    struct fetcher_link *fetcher;
    struct artifact_store *artifacts;
    struct metrics *metrics;
    struct starts *starts;
    struct fleet *fleet;
    struct catalog *catalog;
    struct registry *registry;
    struct namespaces *namespaces;
    struct events *events;
    struct domains *domains;
    struct config_watch *config_watch;
    struct routes *routes;
    struct kube *kube;
    struct admin *admin;
    struct http_server *api, *api_local;
    struct access access;
    struct access temporal_access;
    struct ingress *ingress;
    struct observe *observe;
    struct durable *durable;
    struct workers *workers;
    struct attempts *attempts;
    struct schedules *schedules;
    struct backup *backup;
    struct loop_timer drain_timer;
    uint64_t begin_us, drain_until_us, flush_until_us, api_refused;
    bool draining, lost;
    struct err lost_why;
    uint64_t limits_seen[INGRESS_LIMIT_COUNT];
};

/* ---- what the rooms tell each other -------------------------------------------------------------- */

/* What is resolved of the models that this container mounts, and of the containers beside it. */
static void pins_add(json_t *pins, const struct revision *r, const struct instance_resolved *resolved)
{
    for (size_t k = 0, at = 0; k < r->mount_count && at < resolved->model_count; k++) {
        if (!r->mounts[k].is_model)
            continue;
        const char *digest = resolved->models[at++];
        if (*digest)
            (void)json_object_set_new(pins, r->mounts[k].volume, json_string(digest));
    }
    for (uint32_t k = 0; k < resolved->other_count; k++) {
        AUTO_FREE char *key = pins_image_key(r->others[k]->container);
        if (*resolved->others[k].image)
            (void)json_object_set_new(pins, key, json_string(resolved->others[k].image));
        pins_add(pins, r->others[k], &resolved->others[k]);
    }
}

/* "" unless the revision has a start-up budget and misses it. */
static void late_starts(const struct node *n, const struct revision *r, char *into, size_t size)
{
    struct metrics_report report;
    into[0] = '\0';
    if (r->start_budget_ms == 0)
        return;
    metrics_report(n->metrics, r->ns, r->service, r->start_budget_ms, r->start_budget_percentile, &report);
    if (report.budget == METRICS_BUDGET_MISSED)
        metrics_budget_text(&report, into, size);
}

/* Of the limits that it names: the defaults are ours, and hob says at its start that they are not kept. */
static const char *unenforced(const struct node *n, const struct revision *r)
{
#define NOT_KEPT(what) what " it names: hob has no control group for that here (hob doctor)"
    struct notice_facts f;
    if (!native_facts(n->tier, &f))
        return NULL;
    bool memory = r->memory_bytes > 0 && !f.memory, cpu = r->cpu_milli > 0 && !f.cpu;
    return memory && cpu ? NOT_KEPT("nothing holds the function to the memory and the CPU limit")
           : memory      ? NOT_KEPT("nothing holds the function to the memory limit")
           : cpu         ? NOT_KEPT("nothing holds the function to the CPU limit")
                         : NULL;
#undef NOT_KEPT
}

static void on_facts(void *ctx, const struct revision *r, const struct fleet_facts *f)
{
    struct node *n = ctx;
    char late[256];
    late_starts(n, r, late, sizeof late);
    AUTO_JSON json_t *pins = json_object();
    pins_add(pins, r, f->resolved);
    const struct catalog_facts facts = {
        .ready_once = f->ready_once, .active = f->active, .activating = f->activating,
        .timed_out = f->timed_out, .actual = f->actual,
        .desired = f->desired, .failing = f->failing, .failed_phase = f->failed_phase,
        .retryable = f->retryable, .exit_status = f->exit_status, .config_reason = f->config_reason, .image_digest = f->resolved->image,
        .pins = pins, .message = f->message, .late_starts = late, .unenforced = unenforced(n, r),
    };
    if (n->catalog)
        catalog_revision_facts(n->catalog, r->ns, r->name, &facts);
}

static void on_start(void *ctx, const struct revision *r, const struct start_record *s)
{
    struct node *n = ctx;
    struct start_record relative;
    phase_relative(s, &relative);
    metrics_start(n->metrics, r->ns, r->service, &relative);
    starts_add(n->starts, r->ns, r->service, r->name, &relative);
}

/* The first real request of an instance against the warm median, once both are known. */
static void delta_fill(struct node *n, struct invocation_record *r)
{
    uint64_t median_us;
    if (!r->cold || !r->has_start || r->outcome != INVOCATION_OK ||
        r->first_byte_us < r->dispatch_us ||
        !metrics_warm_median(n->metrics, r->ns, r->service, &median_us))
        return;
    int64_t handler_us = (int64_t)r->first_byte_us - (int64_t)r->dispatch_us;
    struct phase_mark *m = &r->start.phases[PHASE_FIRST_REQUEST_DELTA];
    *m = (struct phase_mark){ .duration_us = handler_us - (int64_t)median_us,
                              .outcome = PHASE_DONE };
    metrics_first_request(n->metrics, r->ns, r->service,
                          r->start.phases[PHASE_READY].duration_us, m->duration_us);
}

static void on_record(void *ctx, const struct invocation_record *r)
{
    struct node *n = ctx;
    struct invocation_record copy = *r;
    if (r->has_start)
        phase_relative(&r->start, &copy.start);
    delta_fill(n, &copy);
    metrics_record(n->metrics, &copy);
    store_record(n->store, &copy);
    observe_record(n->observe, &copy);
}

static void on_limit(void *ctx, const char *limit)
{
    struct node *n = ctx;
    metrics_limit(n->metrics, limit);
}

/* What an instance that starts takes from. */
static const char *config_find(void *ctx, bool secret, const char *ns, const char *name)
{
    const struct node *n = ctx;
    struct catalog_item item;
    bool found = n->registry && registry_find(n->registry, secret ? REGISTRY_SECRETS : REGISTRY_CONFIGMAPS, ns, name,
                                              &item);
    return found ? catalog_item_text(&item) : NULL;
}

static void cluster_map_read(struct limits *l, const char *name, const char *text)
{
    struct refusals refused = { 0 }; /* it was checked when it came; one of an older hob counts as far as it fits */
    AUTO_JSON json_t *map = json_loads(text, 0, NULL);
    cluster_read(name, json_object_get(map, "data"), l, &refused);
    for (uint32_t i = 0; i < refused.count; i++)
        log_event(LOG_WARN, "cluster.config", "map=%s why=\"%s\"", name, LOG_QUOTED(refused.rows[i].message));
    refusals_done(&refused);
}

static void on_rescale(void *ctx, const char *ns, const char *service, const char *revision, const json_t *annotations)
{
    struct node *n = ctx;
    fleet_rescale(n->fleet, ns, service, revision, annotations);
}

/* From now on: objects that come; and how Revisions scale, also those that run. */
static void cluster_look(struct node *n)
{
    struct limits l = *n->config->limits;
    struct catalog_item item;
    for (size_t i = 0; cluster_maps[i]; i++)
        if (registry_find(n->registry, REGISTRY_CONFIGMAPS, CLUSTER_NAMESPACE, cluster_maps[i], &item))
            cluster_map_read(&l, cluster_maps[i], catalog_item_text(&item));
    bool same = memcmp(&n->limits, &l, sizeof l) == 0;
    n->limits = l;
    if (!same)
        catalog_rescale(n->catalog, on_rescale, n);
}

static int on_stored_map(void *ctx, const struct store_object *o, struct err *e)
{
    struct node *n = ctx;
    (void)e;
    if (cluster_is(o->ns, o->name))
        cluster_map_read(&n->limits, o->name, o->json);
    return 0;
}

static void on_config_changed(void *ctx, const char *ns)
{
    struct node *n = ctx;
    if (!ns || strcmp(ns, CLUSTER_NAMESPACE) == 0)
        cluster_look(n);
    fleet_config_changed(n->fleet, ns);
}

static const struct fleet_observer fleet_observer = { on_facts, on_start, on_record, on_limit };

static void on_revision(void *ctx, struct revision *take_r, bool was_ready)
{
    struct node *n = ctx;
    workers_bind(n->workers, take_r);
    fleet_add(n->fleet, take_r, was_ready);
}

static void on_route(void *ctx, const struct route_table *t)
{
    struct node *n = ctx;
    fleet_route_set(n->fleet, t);
}

static void on_revision_idle(void *ctx, const char *ns, const char *service, const char *revision)
{
    struct node *n = ctx;
    workers_unbind(n->workers, ns, revision);
    fleet_drop(n->fleet, ns, service, revision);
}

static void on_service_gone(void *ctx, const char *ns, const char *service)
{
    struct node *n = ctx;
    workers_unbind_service(n->workers, ns, service);
    fleet_remove_service(n->fleet, ns, service);
    metrics_forget(n->metrics, ns, service);
    starts_forget(n->starts, ns, service);
}

static void on_route_gone(void *ctx, const char *ns, const char *route)
{
    struct node *n = ctx;
    fleet_route_remove(n->fleet, ns, route);
}

static void on_needed(void *ctx, const char *digest, bool needed)
{
    struct node *n = ctx;
    if (needed)
        artifact_pin(n->artifacts, digest);
    else
        artifact_unpin(n->artifacts, digest);
}

static const struct catalog_observer catalog_observer = { on_revision, on_route, on_revision_idle,
                                                          on_service_gone, on_needed, on_route_gone };

static void on_domain(void *ctx, const char *domain, const char *ns, const char *route)
{
    struct node *n = ctx;
    if (route)
        fleet_domain_set(n->fleet, domain, ns, route);
    else
        fleet_domain_remove(n->fleet, domain);
}

static const struct domains_observer domains_observer = { on_domain };

/* What is asked for is logged before it is done: what it did is in the objects. */
static void change_log(const struct node *n, const struct http_call *c)
{
    struct str method = http_call_method(c), path = http_call_path(c);
    char user[24], shown[256];
    uint32_t uid;
    if (str_is(method, "GET") || str_is(method, "HEAD"))
        return;
    snprintf(user, sizeof user, "%s", n->access.open ? "anyone" : "token");
    if (http_call_user(c, &uid))
        snprintf(user, sizeof user, "uid:%u", uid == 0 ? n->config->root_uid : uid);
    snprintf(shown, sizeof shown, STR_FMT, (int)MIN(path.size, sizeof shown - 1), path.at);
    log_event(LOG_INFO, "api.change", "user=%s method=" STR_FMT " path=\"%s\"", user, STR_ARG(method),
              LOG_QUOTED(shown));
}

/* Before the body: who may not ask is not listened to either. */
static bool on_api_head(void *ctx, struct http_call *c)
{
    struct node *n = ctx;
    struct err e;
    uint32_t uid;
    bool local = http_call_user(c, &uid);
    int r = local ? 0
                  : guard_check(http_call_header(c, "Host"), http_call_header(c, "Origin"), n->config->api, &e);
    if (r == 0)
        r = access_check(&n->access, local, http_call_path(c), http_call_header(c, "Authorization"), &e);
    if (r < 0) {
        n->api_refused++;
        admin_refuse(c, &e);
    }
    return r == 0;
}

static void on_api_request(void *ctx, struct http_call *c)
{
    struct node *n = ctx;
    change_log(n, c);
    if (!kube_handle(n->kube, c))
        admin_handle(n->admin, c);
}

/* ---- looking --------------------------------------------------------------------------------------- */

static int node_ready(void *ctx, struct err *e)
{
    struct node *n = ctx;
    struct notice_facts facts;
    if (n->draining)
        return err_set(e, CODE_UNAVAILABLE, "hob is stopping");
    if (!native_facts(n->tier, &facts))
        return err_set(e, CODE_UNAVAILABLE, "the launcher has not answered yet");
    int r = durable_health(n->durable, e);
    return r < 0 ? r : store_health(n->store, e);
}

static json_t *node_backup(void *ctx, enum admin_backup what, struct err *e)
{
    const struct node *n = ctx;
    switch (what) {
    case ADMIN_BACKUP_BEGIN: return backup_begin(n->backup, e) < 0 ? NULL : backup_look(n->backup);
    case ADMIN_BACKUP_LOOK: return backup_look(n->backup);
    case ADMIN_BACKUP_REMOVE: return backup_remove(n->backup, e) < 0 ? NULL : backup_look(n->backup);
    }
    UNREACHABLE("all are above");
}

static json_t *node_host(void *ctx)
{
    const struct node *n = ctx;
    struct notice_facts f;
    if (!native_facts(n->tier, &f))
        return NULL;
    return json_pack("{s:{s:b, s:b, s:b}, s:b, s:b}", "limits", "memory", f.memory, "cpu", f.cpu, "processes", f.pids,
                     "ownUsers", f.own_uids, "landlock", f.landlock);
}

/* The gateway counts by itself on its hot path; what it counted since the last look is carried over. */
static void ingress_limits_carry(struct node *n)
{
    const struct ingress_counters *c = ingress_counters(n->ingress);
    for (enum ingress_limit l = 0; l < INGRESS_LIMIT_COUNT; l++)
        for (; n->limits_seen[l] < c->limits[l]; n->limits_seen[l]++)
            metrics_limit(n->metrics, ingress_limit_name(l));
}

static uint64_t resident_bytes(void)
{
    unsigned long pages = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f) {
        if (fscanf(f, "%lu %lu", &pages, &resident) != 2)
            resident = 0;
        fclose(f);
    }
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static size_t node_values(void *ctx, struct metrics_value *into, size_t max)
{
    struct node *n = ctx;
    const struct ingress_counters *c = ingress_counters(n->ingress);
    struct fleet_totals t = fleet_totals(n->fleet);
    struct artifact_totals a = artifact_totals(n->artifacts);
    struct packer_totals texts = packer_totals(watchlog_packer(catalog_log(n->catalog)));
    struct rusage ru;
    size_t count = 0;
    getrusage(RUSAGE_SELF, &ru);
    ingress_limits_carry(n);
#define VALUE(text, why, is_counter, number)                                                        \
    do {                                                                                             \
        if (count < max)                                                                             \
            into[count++] = (struct metrics_value){ text, why, is_counter, (double)(number) };       \
    } while (0)
    VALUE("services", "Deployed services.", false, catalog_services(n->catalog));
    VALUE("object_memory_bytes", "Memory of the objects' texts, packed, with the change log's.", false, texts.held);
    VALUE("object_text_bytes", "The same texts as they are read.", false, texts.size);
    VALUE("object_texts", "How many they are.", false, texts.texts);
    VALUE("watches", "Open watches on the API.", false, kube_watches(n->kube));
    VALUE("instances_live", "Instances not yet ended.", false, t.instances);
    VALUE("instances_ready", "Instances ready.", false, t.ready);
    VALUE("instances_starting", "Instances starting.", false, t.starting);
    VALUE("requests_queued", "Requests waiting for an instance.", false, t.queued);
    VALUE("requests_in_flight", "Requests on an instance.", false, t.running);
    VALUE("sandbox_pool_ready", "Sandboxes made ahead.", false, n->tier->ops->pool_ready(n->tier));
    VALUE("sandbox_pool_wanted", "Sandboxes to be made ahead: as many as starts came at once lately, or may come.", false,
          n->tier->ops->pool_wanted(n->tier));
    VALUE("connections_open", "Client connections.", false, c->connections_open);
    VALUE("connections_total", "Client connections accepted.", true, c->connections);
    VALUE("request_body_bytes_total", "Content received from clients.", true, c->request_bytes);
    VALUE("response_body_bytes_total", "Content sent to clients.", true, c->response_bytes);
    VALUE("requests_resent_total", "Requests sent again on a new connection.", true, c->resent);
    VALUE("artifact_bytes", "Content store.", false, a.bytes);
    VALUE("artifact_fetches_total", "Downloads begun.", true, a.fetches);
    VALUE("artifact_fetch_failures_total", "Downloads failed.", true, a.fetch_failures);
    VALUE("artifact_origin_bytes_total", "Read from origins.", true, a.origin_bytes);
    VALUE("artifact_resumes_total", "Downloads resumed.", true, a.resumes);
    VALUE("artifact_verify_failures_total", "Artifacts whose bytes were wrong.", true,
          a.verify_failures);
    VALUE("artifact_disk_refusals_total", "Downloads refused for want of disk.", true,
          a.disk_refusals);
    VALUE("artifacts_evicted_total", "Artifacts evicted.", true, a.evicted);
    VALUE("records_dropped_total", "Invocation records not kept.", true,
          store_records_dropped(n->store));
    VALUE("api_refused_total", "API requests without the token, or from a web page.", true, n->api_refused);
    VALUE("node_resident_bytes", "Resident memory of the node.", false, resident_bytes());
    VALUE("node_cpu_seconds_total", "CPU time of the node.", true,
          (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
              (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6);
#undef VALUE
    count += durable_values(n->durable, into + count, max - count);
    return count + observe_values(n->observe, into + count, max - count);
}

static void on_durable_ready(void *ctx, struct service *s, struct temporal *t)
{
    struct node *n = ctx;
    workers_serve(n->workers, s, t);
    schedules_begin(n->schedules, durable_ticker(n->durable));
}

/* ---- stopping --------------------------------------------------------------------------------------- */

/* The last spans tell of the last requests; a collector that is not there holds nobody up for long. */
static bool spans_gone(struct node *n)
{
    if (n->flush_until_us == 0) {
        n->flush_until_us = loop_now_us(n->loop) + n->config->limits->trace_flush_ms * 1000;
        observe_flush(n->observe);
    }
    return observe_idle(n->observe) || loop_now_us(n->loop) >= n->flush_until_us;
}

/* First the requests, then the instances: nobody loses an answer that can still come. */
static void on_drain_look(struct loop_timer *t)
{
    struct node *n = CONTAINER_OF(t, struct node, drain_timer);
    bool late = loop_now_us(n->loop) >= n->drain_until_us;
    /* Tasks that instances have are reported through the service. What they have not done by then is left to its timeout. */
    if (workers_idle(n->workers) || loop_now_us(n->loop) + n->config->limits->drain_ms * 500 >= n->drain_until_us)
        durable_stop(n->durable);
    if ((ingress_idle(n->ingress) && durable_idle(n->durable)) || late) {
        fleet_drain(n->fleet);
        if ((fleet_live(n->fleet) == 0 || late) && spans_gone(n)) {
            loop_stop(n->loop);
            return;
        }
    }
    loop_after(n->loop, t, DRAIN_LOOK_US);
}

static void on_drain(void *ctx)
{
    struct node *n = ctx;
    if (n->draining)
        return;
    n->draining = true;
    log_event(LOG_INFO, "draining", "in_flight=%u", ingress_counters(n->ingress)->in_flight);
    ingress_stop(n->ingress);
    admin_stop(n->admin);
    workers_drain(n->workers);
    http_server_stop(n->api);
    http_server_stop(n->api_local);
    n->drain_until_us = loop_now_us(n->loop) + n->config->limits->drain_ms * 1000;
    n->drain_timer.on_due = on_drain_look;
    loop_after(n->loop, &n->drain_timer, 0);
}

static void on_fetcher(void *ctx, int take_fd)
{
    struct node *n = ctx;
    fetcher_link_attach(n->fetcher, take_fd);
}

static void on_lost(void *ctx, const struct err *why)
{
    struct node *n = ctx;
    n->lost = true;
    n->lost_why = *why;
    loop_stop(n->loop);
}

static void on_request_log(void *ctx, int take_fd)
{
    struct node *n = ctx;
    observe_attach(n->observe, take_fd);
}

static const struct native_events native_events = { on_fetcher, on_drain, on_lost, on_request_log };

static int open_local(void *ctx, const char *path,
                      void (*on_open)(void *ctx, int take_fd, const struct err *e), void *open_ctx,
                      struct err *e)
{
    struct node *n = ctx;
    return native_open_local(n->tier, path, on_open, open_ctx, e);
}

/* ---- starting ---------------------------------------------------------------------------------------- */

static void node_close(struct node *n)
{
    struct err e;
    /* Queries answer through the API's server: none may be under way when it goes. */
    if (n->admin)
        admin_stop(n->admin);
    while (n->admin && !admin_idle(n->admin) && loop_turn(n->loop, true, &e) >= 0)
        ;
    /* From the outside in: who may call somebody goes before whom it calls. */
    ingress_free(n->ingress);
    workers_close(n->workers);
    attempts_close(n->attempts);
    durable_free(n->durable);
    domains_free(n->domains);
    schedules_free(n->schedules);
    config_watch_free(n->config_watch);
    routes_free(n->routes);
    events_free(n->events);
    namespaces_free(n->namespaces);
    registry_free(TAKE(n->registry));
    catalog_free(TAKE(n->catalog)); /* answers what waits, with "cancelled" */
    http_server_free(n->api);
    http_server_free(n->api_local);
    admin_free(n->admin);
    kube_free(n->kube);
    fleet_free(n->fleet);
    workers_free(n->workers);
    attempts_free(n->attempts);
    artifact_store_free(n->artifacts);
    observe_free(n->observe);
    fetcher_link_free(n->fetcher);
    if (n->tier)
        n->tier->ops->tier_free(n->tier);
    store_free(n->store);
    backup_free(n->backup);
    metrics_free(n->metrics);
    starts_free(n->starts);
    loop_free(n->loop);
}

static int state_open(struct node *n, uint64_t seed, struct err *e)
{
    const struct node_config *c = n->config;
    char path[4200];
    n->metrics = metrics_new(c->limits, seed);
    n->starts = starts_new(c->limits);
    int r = loop_open(&n->loop, e);
    if (r < 0)
        return r;
    n->begin_us = loop_now_us(n->loop);
    r = store_open(n->loop, c->data_dir, c->limits, &n->store, e);
    if (r < 0)
        return err_wrap(e, "store in %s", c->shown_dir);
    r = native_tier_open(n->loop, c->launcher_fd, c->limits, &native_events, n, &n->tier, e);
    if (r < 0)
        return r;
    r = fetcher_link_open(n->loop, c->limits, open_local, n, &n->fetcher, e);
    if (r < 0)
        return r;
    const struct observe_config observed = { .limits = c->limits, .traces = c->traces,
                                             .request_log = c->request_log, .service_name = c->service_name };
    r = observe_open(n->loop, &observed, &(struct observe_sinks){ n->fetcher, on_limit, n }, seed, &n->observe, e);
    if (r < 0)
        return r;
    snprintf(path, sizeof path, "%s/store", c->data_dir);
    r = artifact_store_open(n->loop, path, c->limits, fetcher_link_transport(n->fetcher),
                            &n->artifacts, e);
    return r < 0 ? err_wrap(e, "artifacts in %s/store", c->shown_dir) : 0;
}

static int services_open(struct node *n, uint64_t seed, struct err *e)
{
    const struct node_config *c = n->config;
    const struct instance_env env = { n->loop, &n->limits, n->tier, n->artifacts, { config_find, n } };
    n->limits = *c->limits;
    int r = store_each(n->store, registry_kind_name(REGISTRY_CONFIGMAPS), on_stored_map, n, e);
    if (r == 0)
        r = fleet_open(&env, &fleet_observer, n, seed, &n->fleet, e);
    if (r < 0)
        return r;
    n->workers = workers_new(n->loop, n->fleet, seed);
    n->attempts = attempts_new(&(struct attempts_world){ n->loop, c->limits, n->fleet, on_limit, n });
    r = catalog_open(n->loop, n->store, &n->limits, c->ingress, &catalog_observer, n, &n->catalog, e);
    if (r < 0)
        return err_wrap(e, "services in %s", c->shown_dir);
    r = registry_open(n->loop, n->store, catalog_log(n->catalog), c->limits, &n->registry, e);
    if (r < 0)
        return err_wrap(e, "objects in %s", c->shown_dir);
    n->namespaces = namespaces_new(n->loop, n->catalog, n->registry);
    n->events = events_new(n->loop, n->catalog, n->registry, c->limits);
    n->routes = routes_new(n->loop, n->catalog, n->registry);
    n->domains = domains_new(n->loop, n->catalog, n->registry, c->ingress, &domains_observer, n);
    n->config_watch = config_watch_new(n->loop, catalog_log(n->catalog), on_config_changed, n);
    const struct kube_sources objects = { .loop = n->loop, .catalog = n->catalog,
                                          .registry = n->registry, .limits = c->limits,
                                          .ingress = c->ingress, .api = c->api, .on_limit = on_limit,
                                          .ctx = n };
    n->kube = kube_new(&objects);
    r = ingress_open(n->loop, c->limits, c->ingress_fd, fleet_backend(n->fleet), &n->ingress, e);
    if (r < 0)
        return r;
    n->schedules = schedules_new(n->loop, n->registry, catalog_log(n->catalog), fleet_backend(n->fleet), seed);
    const struct durable_config durable = {
        .loop = n->loop, .store = n->store, .limits = c->limits, .ingress = n->ingress, .data_dir = c->data_dir, .temporal_fd = c->temporal_fd,
        .fetcher = n->fetcher, .secrets = { config_find, n }, .access = c->temporal_open ? NULL : &n->temporal_access,
        .namespaces = c->namespaces, .namespace_count = c->namespace_count, .attributes = c->attributes,
        .attribute_count = c->attribute_count, .seed = seed, .schedules = &schedules_ops, .schedules_ctx = n->schedules,
        .on_limit = on_limit, .on_ready = on_durable_ready, .ctx = n,
    };
    r = durable_open(&durable, &n->durable, e);
    if (r < 0)
        return err_wrap(e, "durable work in %s", c->shown_dir);
    ingress_desk_set(n->ingress, durable_desk(n->durable));
    attempts_serve(n->attempts, n->ingress, durable_desk(n->durable));
    const struct admin_sources sources = {
        .loop = n->loop, .limits = c->limits, .fleet = n->fleet, .artifacts = n->artifacts,
        .store = n->store, .metrics = n->metrics, .starts = n->starts, .values = node_values, .ready = node_ready, .host = node_host,
        .backup = node_backup, .desk = durable_desk(n->durable), .journal = durable_journal(n->durable),
        .ctx = n, .token = n->access.token, .token_needed = !c->api_open,
    };
    n->admin = admin_new(&sources);
    n->backup = backup_new(durable_journal(n->durable), n->store, c->data_dir, c->shown_dir);
    metrics_refusals(n->metrics, ingress_refusal_name, ingress_counters(n->ingress)->refused);
    ingress_notes_set(n->ingress, observe_notes(n->observe));
    /* Each has a budget of its own: whatever the network sends, the operator's socket has room. */
    const struct http_server_ops ops = { .on_request = on_api_request, .on_head = on_api_head, .on_limit = on_limit };
    r = http_server_open(n->loop, c->limits, c->local_fd, &ops, n, &n->api_local, e);
    return r < 0 ? r : http_server_open(n->loop, c->limits, c->api_fd, &ops, n, &n->api, e);
}

static int access_open(struct node *n, struct err *e)
{
    const struct node_config *c = n->config;
    char token[TOKEN_TEXT];
    int r = token_load(c->data_dir, token, e);
    if (r == 0)
        r = access_init(&n->access, str_of(token), c->api_open, e);
    if (r == 0)
        r = access_init(&n->temporal_access, str_of(token), c->temporal_open, e);
    return r < 0 ? err_wrap(e, "%s/" TOKEN_FILE, c->shown_dir) : 0;
}

static void say_ready(const struct node *n)
{
    const struct node_config *c = n->config;
    log_event(LOG_INFO, "serving", "ingress=%s api=%s temporal=%s token=%s socket=%s data=%s", c->ingress, c->api, c->temporal,
              c->api_open ? "no" : TOKEN_FILE, c->local, c->shown_dir);
    if (c->api_open)
        log_event(LOG_WARN, "api.open", "why=\"--api-insecure: whoever can connect to %s may deploy\"", c->api);
    if (c->ready_fd < 0)
        return;
    AUTO_FREE char *token = c->api_open ? xstrdup("") : xasprintf("%s/" TOKEN_FILE, c->shown_dir);
    AUTO_JSON json_t *told = json_pack("{s:s, s:s, s:s, s:s, s:s}", "ingress", c->ingress, "api", c->api, "socket",
                                       c->local, "token_file", token, "temporal", c->temporal);
    struct buf line;
    buf_init(&line, KIB(32));
    json_write(told, &line);
    buf_text(&line, "\n");
    (void)!write(c->ready_fd, buf_at(&line), line.size);
    (void)close(c->ready_fd);
    buf_done(&line);
}

int node_run(const struct node_config *c, struct err *e)
{
    struct node n = { .config = c };
    uint64_t seed = 0;
    /* Many small objects of many sizes in one thread: one arena, and give back what is free. */
    (void)mallopt(M_ARENA_MAX, 2);
    (void)mallopt(M_TRIM_THRESHOLD, 1 << 20);
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        return err_sys(e, "randomness");
    int r = state_open(&n, seed, e);
    if (r == 0)
        r = access_open(&n, e);
    if (r == 0)
        r = services_open(&n, seed, e);
    if (r == 0)
        r = native_serving(n.tier, e);
    if (r == 0) {
        say_ready(&n);
        r = loop_run(n.loop, e);
    }
    if (r == 0 && n.lost)
        r = err_set(e, CODE_UNAVAILABLE, "the launcher is gone: %s", n.lost_why.text);
    node_close(&n);
    return r;
}
