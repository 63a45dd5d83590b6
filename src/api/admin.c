#include "api/admin.h"
#include "api/docket.h"
#include "api/page.h"
#include "api/resolve.h"

#include "codec/json.h"
#include "instance/crew.h"
#include "scale/kpa_text.h"
#include "telemetry/record_json.h"
#include "telemetry/starts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TYPE_TEXT    "text/plain; charset=utf-8"

enum {
    RECORDS_DEFAULT = 50,
    RECORDS_MAX = 1000,
    TAIL_DEFAULT = 100,
    VALUES_MAX = 128,
};

struct admin {
    struct admin_sources s;
    struct list streams; /* struct log_stream */
    uint32_t asking;     /* queries with the store */
    struct resolve_desk *resolves;
    struct docket *docket;
};

struct log_stream {
    struct list_node node;
    struct fnlog_follower follower;
    struct fnlog *log;
    struct admin *admin;
    struct http_call *call;
    char instance[INSTANCE_ID], revision[INSTANCE_ID], container[INSTANCE_ID]; /* "" for all */
};

/* ---- answers ------------------------------------------------------------------------------- */

/* A Status, because kubectl shows its text, and the challenge that RFC 9110 wants. */
static void answer_unauthenticated(struct http_call *c, const struct err *e)
{
    AUTO_JSON json_t *j = json_pack("{s:s, s:s, s:{}, s:s, s:s, s:s, s:i}", "kind", "Status", "apiVersion", "v1",
                                    "metadata", "status", "Failure", "message", e->text, "reason", "Unauthorized",
                                    "code", 401);
    struct buf b;
    buf_init(&b, KIB(8));
    json_write(j, &b);
    http_answer(c, 401, PAGE_JSON, "WWW-Authenticate: Bearer realm=\"hob\", Basic realm=\"hob\"\r\n", buf_str(&b));
    buf_done(&b);
}

void admin_refuse(struct http_call *c, const struct err *e)
{
    if (e->code == CODE_UNAUTHENTICATED)
        answer_unauthenticated(c, e);
    else
        page_err(c, e);
}

static void answer_items(struct http_call *c, json_t *take_items)
{
    page_json(c, 200, PAGE_JSON, json_pack("{s:o}", "items", take_items));
}

static json_t *time_json(int64_t wall_ms)
{
    char text[40];
    struct tm tm;
    time_t seconds = (time_t)(wall_ms / 1000);
    gmtime_r(&seconds, &tm);
    size_t used = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + used, sizeof text - used, ".%03dZ", (int)(wall_ms % 1000));
    return json_string(text);
}

static json_t *number(uint64_t n) { return json_integer((json_int_t)n); }

/* ---- invocations --------------------------------------------------------------------------- */

struct record_call {
    struct record_query q;
    struct admin *admin;
    struct http_call *call;
};

static void on_records(struct record_query *q, int r, const struct invocation_record *rows,
                       uint32_t count, const struct err *e)
{
    struct record_call *rc = CONTAINER_OF(q, struct record_call, q);
    rc->admin->asking--;
    if (r < 0) {
        page_err(rc->call, e);
    } else if (!q->by_id) {
        json_t *items = json_array();
        for (uint32_t i = 0; i < count; i++)
            json_array_append_new(items, record_to_json(&rows[i]));
        answer_items(rc->call, items);
    } else if (count == 1) {
        page_json(rc->call, 200, PAGE_JSON, record_to_json(&rows[0]));
    } else {
        page_problem(rc->call, 404, "no such invocation",
                       "no record has this id; records are written within 200 ms and kept for a "
                       "while (hob limits: records_max, records_age_s)");
    }
    free(rc);
}

static void records_ask(struct admin *a, struct http_call *c, const struct record_query *q)
{
    struct err e;
    struct record_call *rc = xcalloc(1, sizeof *rc);
    rc->q = *q;
    rc->q.on_done = on_records;
    rc->call = c;
    rc->admin = a;
    a->asking++;
    if (store_records(a->s.store, &rc->q, &e) < 0) {
        a->asking--;
        free(rc);
        page_err(c, &e);
    }
}

static void records(struct admin *a, struct http_call *c)
{
    struct record_query q = { 0 };
    uint64_t limit;
    struct str cold = http_call_param(c, "cold"), trace = http_call_param(c, "trace");
    if (!page_param_u64(c, "limit", RECORDS_DEFAULT, RECORDS_MAX, &limit)) {
        page_problem(c, 400, "bad parameter", "limit: want a number from 1 to 1000");
    } else if (!page_param_text(c, "namespace", q.ns, sizeof q.ns) ||
               !page_param_text(c, "service", q.service, sizeof q.service)) {
        page_problem(c, 400, "bad parameter", "namespace, service: longer than a name can be");
    } else if (trace.at && !trace_id_parse(trace, q.id.at)) {
        page_problem(c, 400, "bad parameter",
                       "trace: want a trace's id, 32 hexadecimal digits in lower case");
    } else {
        q.limit = (uint32_t)limit;
        q.by_trace = trace.at != NULL;
        q.cold_only = cold.at && str_is(cold, "true");
        records_ask(a, c, &q);
    }
}

/* Durable ones are asked for in words that records do not know. */
static void invocations(struct admin *a, struct http_call *c)
{
    struct str durable = http_call_param(c, "durable");
    if (http_call_param(c, "key").at)
        docket_by_key(a->docket, c);
    else if ((durable.at && str_is(durable, "true")) || http_call_param(c, "status").at || http_call_param(c, "after").at)
        docket_list(a->docket, c);
    else
        records(a, c);
}

static void on_unknown(void *ctx, struct http_call *c, const struct uuid *id)
{
    records_ask(ctx, c, &(struct record_query){ .by_id = true, .limit = 1, .id = *id });
}

static void on_docket_limit(void *ctx, const char *limit)
{
    struct admin *a = ctx;
    metrics_limit(a->s.metrics, limit);
}

static void invocation_do(struct admin *a, struct http_call *c,
                          void (*what)(struct docket *d, struct http_call *c, const struct uuid *id))
{
    char text[UUID_TEXT];
    struct uuid id;
    if (!http_call_segment(c, 2, text, sizeof text) || !uuid_parse(str_of(text), &id))
        page_problem(c, 400, "bad id", "an invocation id is a UUID, as in Hob-Invocation-Id");
    else
        what(a->docket, c, &id);
}

static void invocation(struct admin *a, struct http_call *c) { invocation_do(a, c, docket_look); }
static void invocation_cancel_page(struct admin *a, struct http_call *c) { invocation_do(a, c, docket_cancel); }
static void invocation_result_page(struct admin *a, struct http_call *c) { invocation_do(a, c, docket_result); }
static void invocation_redrive_page(struct admin *a, struct http_call *c) { invocation_do(a, c, docket_redrive); }
static void invocation_checkpoint_page(struct admin *a, struct http_call *c) { invocation_do(a, c, docket_checkpoint); }

static void start_add(void *ctx, const struct last_start *l)
{
    json_t *j = json_pack("{s:s, s:s, s:s}", "namespace", l->ns, "service", l->service, "revision", l->revision);
    json_object_set_new(j, "start", start_to_json(&l->start));
    json_array_append_new(ctx, j);
}

static void starts_list(struct admin *a, struct http_call *c)
{
    char ns[64], service[64];
    if (!page_param_text(c, "namespace", ns, sizeof ns) || !page_param_text(c, "service", service, sizeof service)) {
        page_problem(c, 400, "bad parameter", "namespace, service: longer than a name can be");
        return;
    }
    json_t *items = json_array();
    starts_each(a->s.starts, ns, service, start_add, items);
    answer_items(c, items);
}

/* ---- instances, models, limits --------------------------------------------------------------- */

/* Who reads this got in with the token, or through the socket. Where nobody needs it, nobody gets it: it
 * will be needed again. */
static void token_page(struct admin *a, struct http_call *c)
{
    page_json(c, 200, PAGE_JSON,
                json_pack("{s:b, s:s*}", "needed", a->s.token_needed, "token",
                          a->s.token_needed ? a->s.token : NULL));
}

struct instances_ctx {
    struct admin *a;
    json_t *items;
};

static void container_add(void *ctx, const struct crew_look *l)
{
    json_t *j = json_pack("{s:s, s:s, s:s, s:I}", "name", l->name, "part", l->part, "state", l->state, "restarts",
                          (json_int_t)l->restarts);
    if (l->why[0])
        json_object_set_new(j, "why", json_string(l->why));
    json_array_append_new(ctx, j);
}

static void instance_add(void *ctx, const struct instance *i)
{
    struct instances_ctx *ic = ctx;
    uint64_t now_us = loop_now_us(ic->a->s.loop), cpu_us = 0, memory = 0;
    struct start_record relative;
    phase_relative(&i->start, &relative);
    json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:s}", "id", i->id, "namespace", i->revision->ns,
                          "service", i->revision->service, "revision", i->revision->name, "state",
                          i->counted == COUNTED_UNREADY ? "not-ready" : instance_state_name(i->state));
    json_object_set_new(j, "inFlight", number(i->in_flight));
    json_object_set_new(j, "requests", number(i->requests));
    json_object_set_new(j, "ageSeconds", number((now_us - i->start.begin_us) / 1000000));
    json_object_set_new(j, "start", start_to_json(&relative));
    if (i->state == INSTANCE_READY && i->in_flight == 0)
        json_object_set_new(j, "idleSeconds", number((now_us - i->idle_since_us) / 1000000));
    if (instance_usage(i, &cpu_us, &memory)) {
        json_object_set_new(j, "cpuUs", number(cpu_us));
        json_object_set_new(j, "memoryBytes", number(memory));
    }
    if (i->crew) {
        json_t *containers = json_array();
        json_object_set_new(j, "container", json_string(i->revision->container));
        crew_each(i->crew, container_add, containers);
        json_object_set_new(j, "containers", containers);
    }
    json_array_append_new(ic->items, j);
}

static void instances(struct admin *a, struct http_call *c)
{
    struct instances_ctx ic = { a, json_array() };
    fleet_each_instance(a->s.fleet, instance_add, &ic);
    answer_items(c, ic.items);
}

static void instance_delete(struct admin *a, struct http_call *c)
{
    char id[INSTANCE_ID];
    if (!http_call_segment(c, 2, id, sizeof id) || !fleet_stop_instance(a->s.fleet, id))
        page_problem(c, 404, "no such instance", "see hob ps for the instances of this node");
    else
        page_json(c, 202, PAGE_JSON, json_pack("{s:s}", "stopping", id));
}

static void model_add(void *ctx, const struct artifact_info *i)
{
    static const char *const kinds[] = { "bundle", "model" };
    static const char *const states[] = { "fetching", "present", "broken" };
    json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:s}", "digest", i->digest, "kind", kinds[i->kind],
                          "reference", i->reference, "state", states[i->state], "error", i->error);
    json_object_set_new(j, "sizeBytes", number(i->size_bytes));
    json_object_set_new(j, "haveBytes", number(i->have_bytes));
    json_object_set_new(j, "originBytes", number(i->origin_bytes));
    json_object_set_new(j, "residentPermille", number(i->resident_permille));
    json_object_set_new(j, "users", number(i->users));
    json_object_set_new(j, "pins", number(i->pins));
    if (i->last_used_wall_ms > 0)
        json_object_set_new(j, "lastUsed", time_json(i->last_used_wall_ms));
    json_array_append_new(ctx, j);
}

static void models(struct admin *a, struct http_call *c)
{
    json_t *items = json_array();
    artifact_each(a->s.artifacts, model_add, items);
    answer_items(c, items);
}

static void model_delete(struct admin *a, struct http_call *c)
{
    char digest[80];
    struct err e;
    if (!http_call_segment(c, 2, digest, sizeof digest))
        page_problem(c, 400, "bad digest", "want sha256: and 64 hexadecimal digits");
    else if (artifact_evict(a->s.artifacts, digest, &e) < 0)
        page_err(c, &e);
    else
        page_json(c, 200, PAGE_JSON, json_pack("{s:s}", "evicted", digest));
}

static void resolve(struct admin *a, struct http_call *c)
{
    struct err e;
    if (resolve_ask(a->resolves, c, &e) < 0)
        page_err(c, &e);
}

static void host(struct admin *a, struct http_call *c)
{
    json_t *j = a->s.host(a->s.ctx);
    if (j)
        page_json(c, 200, PAGE_JSON, j);
    else
        page_problem(c, 503, "not known yet", "the launcher has not answered yet");
}

static void limits_list(struct admin *a, struct http_call *c)
{
    json_t *items = json_array();
    for (size_t k = 0; k < limit_row_count; k++) {
        const struct limit_row *row = &limit_rows[k];
        json_t *j = json_pack("{s:s, s:s, s:s}", "name", row->name, "unit", row->unit, "help",
                              row->help);
        json_object_set_new(j, "value", number(limit_value(a->s.limits, row)));
        json_object_set_new(j, "default", number(row->initial));
        json_object_set_new(j, "reached", number(metrics_limit_reached(a->s.metrics, row->name)));
        json_array_append_new(items, j);
    }
    answer_items(c, items);
}

/* ---- the backup ---- */

static void backup(struct admin *a, struct http_call *c, enum admin_backup what)
{
    struct err e;
    json_t *j = a->s.backup(a->s.ctx, what, &e);
    if (j)
        page_json(c, what == ADMIN_BACKUP_BEGIN ? 202 : 200, PAGE_JSON, j);
    else
        page_err(c, &e);
}

static void backup_begin(struct admin *a, struct http_call *c) { backup(a, c, ADMIN_BACKUP_BEGIN); }
static void backup_look(struct admin *a, struct http_call *c) { backup(a, c, ADMIN_BACKUP_LOOK); }
static void backup_remove(struct admin *a, struct http_call *c) { backup(a, c, ADMIN_BACKUP_REMOVE); }

/* ---- one service: percentiles and logs -------------------------------------------------------- */

static json_t *percentiles_json(const struct metrics_percentiles *p)
{
    json_t *j = json_object();
    json_object_set_new(j, "count", number(p->count));
    json_object_set_new(j, "p50Us", number(p->p50_us));
    json_object_set_new(j, "p90Us", number(p->p90_us));
    json_object_set_new(j, "p99Us", number(p->p99_us));
    json_object_set_new(j, "maxUs", number(p->max_us));
    return j;
}

static json_t *budget_json(const struct metrics_report *r)
{
    static const char *const verdicts[] = { "none", "unknown", "kept", "missed" };
    json_t *j = json_pack("{s:s, s:i, s:f}", "verdict", verdicts[r->budget], "budgetMs",
                          (int)r->budget_ms, "percentile", r->budget_percentile);
    if (r->budget >= METRICS_BUDGET_KEPT && r->budget_measured_us != UINT64_MAX)
        json_object_set_new(j, "measuredUs", number(r->budget_measured_us));
    if (r->budget == METRICS_BUDGET_MISSED)
        json_object_set_new(j, "phase", json_string(phase_name(r->budget_phase)));
    return j;
}

static json_t *phases_json(const struct metrics_report *r)
{
    json_t *phases = json_array();
    for (enum phase p = 0; p < PHASES; p++) {
        if (r->phases[p].time.count == 0 && r->phases[p].failures == 0)
            continue;
        json_t *j = percentiles_json(&r->phases[p].time);
        json_object_set_new(j, "name", json_string(phase_name(p)));
        json_object_set_new(j, "failures", number(r->phases[p].failures));
        json_array_append_new(phases, j);
    }
    return phases;
}

static double plain(uint64_t micro) { return (double)micro / (double)KPA_MICRO; }

static json_t *autoscaler_json(const struct kpa *k)
{
    const struct kpa_config *c = kpa_config(k);
    const struct kpa_decision *d = kpa_last(k);
    char text[KPA_TEXT];
    kpa_explain(c, d, text);
    json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:b, s:b}", "decision", text, "reason", kpa_reason_name(d->reason),
                          "activity", kpa_activity_name(d->activity), "metric",
                          c->metric == KPA_RPS ? "rps" : "concurrency", "panicking", d->panicking, "timedOut",
                          d->timed_out);
    json_object_set_new(j, "wanted", json_integer(d->apply));
    json_object_set_new(j, "desired", json_integer(d->desired));
    json_object_set_new(j, "ready", json_integer(d->ready));
    json_object_set_new(j, "stable", json_real(plain(d->stable_micro)));
    json_object_set_new(j, "panic", json_real(plain(d->panic_micro)));
    json_object_set_new(j, "target", json_real(plain(c->target_micro)));
    json_object_set_new(j, "excessBurstCapacity", json_integer(d->excess_burst));
    return j;
}

static void stats(struct admin *a, struct http_call *c, const struct revision *v)
{
    struct metrics_report r;
    struct fleet_totals t;
    metrics_report(a->s.metrics, v->ns, v->service, v->start_budget_ms, v->start_budget_percentile,
                   &r);
    (void)fleet_service_totals(a->s.fleet, v->ns, v->service, &t);
    json_t *j = json_pack("{s:s, s:s, s:s, s:f}", "namespace", v->ns, "service", v->service,
                          "revision", v->name, "coldFrequency", r.cold_frequency);
    json_object_set_new(j, "invocations", number(r.invocations));
    json_object_set_new(j, "cold", number(r.cold));
    json_object_set_new(j, "starts", number(r.starts));
    json_object_set_new(j, "startsFailed", number(r.starts_failed));
    json_object_set_new(j, "instancesReady", number(t.ready));
    json_object_set_new(j, "instancesStarting", number(t.starting));
    json_object_set_new(j, "inFlight", number(t.running));
    json_object_set_new(j, "queued", number(t.queued));
    json_object_set_new(j, "phases", phases_json(&r));
    json_object_set_new(j, "ready", percentiles_json(&r.ready));
    json_object_set_new(j, "handler", percentiles_json(&r.handler));
    json_object_set_new(j, "total", percentiles_json(&r.total));
    json_object_set_new(j, "budget", budget_json(&r));
    const struct kpa *k = fleet_autoscaler(a->s.fleet, v->ns, v->service);
    if (k)
        json_object_set_new(j, "autoscaler", autoscaler_json(k));
    page_json(c, 200, PAGE_JSON, j);
}

/* An instance is called after its revision: "greeter-00001-x7k2p". */
static struct str revision_of(struct str instance)
{
    const char *dash = instance.size ? memrchr(instance.at, '-', instance.size) : NULL;
    return str_head(instance, dash ? (size_t)(dash - instance.at) : 0);
}

static bool is_wanted(const struct log_stream *ls, struct str line)
{
    struct str rest = line;
    (void)str_cut(&rest, ' ');
    struct str container = str_cut(&rest, ' ');
    struct str instance = str_cut(&container, '/'); /* who has no other container has no name of one either */
    return (!ls->container[0] || container.size == 0 || str_is(container, ls->container)) &&
           (!ls->instance[0] || str_is(instance, ls->instance)) &&
           (!ls->revision[0] || str_is(revision_of(instance), ls->revision));
}

static void stream_free(struct log_stream *ls)
{
    fnlog_unfollow(ls->log, &ls->follower);
    list_remove(&ls->admin->streams, &ls->node);
    free(ls);
}

static void on_stream_gone(void *ctx) { stream_free(ctx); }

static void on_log_line(struct fnlog_follower *f, struct str line)
{
    struct log_stream *ls = CONTAINER_OF(f, struct log_stream, follower);
    if (is_wanted(ls, line))
        http_stream_write(ls->call, line);
}

/* The service goes: the stream ends, as `logs -f` on a deleted function should. */
static void on_log_closed(struct fnlog_follower *f)
{
    struct log_stream *ls = CONTAINER_OF(f, struct log_stream, follower);
    struct http_call *c = ls->call;
    stream_free(ls);
    http_stream_end(c);
}

/* The newest `most` of the lines that are wanted. */
static void tail_into(const struct log_stream *ls, struct str all, uint64_t most, struct buf *b)
{
    uint64_t found = 0;
    for (struct str rest = all; rest.size > 0;)
        found += is_wanted(ls, str_cut(&rest, '\n'));
    while (all.size > 0) {
        const char *at = all.at;
        struct str line = str_cut(&all, '\n');
        if (is_wanted(ls, line) && found-- <= most)
            buf_append(b, at, line.size + 1);
    }
}

static void stream_open(struct admin *a, struct http_call *c, const struct log_stream *like,
                        struct str first)
{
    if (a->streams.count >= a->s.limits->api_watchers_max) {
        metrics_limit(a->s.metrics, "api_watchers_max");
        page_problem(c, 429, "too many streams", "api_watchers_max streams are open already");
        return;
    }
    struct log_stream *ls = xcalloc(1, sizeof *ls);
    *ls = *like;
    list_push(&a->streams, &ls->node);
    fnlog_follow(ls->log, &ls->follower);
    http_stream_begin(c, 200, TYPE_TEXT, on_stream_gone, ls);
    if (first.size > 0)
        http_stream_write(c, first);
}

static void logs(struct admin *a, struct http_call *c, const struct revision *v)
{
    struct log_stream like = { .admin = a, .call = c,
                               .log = fleet_log(a->s.fleet, v->ns, v->service),
                               .follower = { .on_line = on_log_line, .on_close = on_log_closed } };
    struct str follow = http_call_param(c, "follow");
    struct buf b;
    uint64_t tail;
    if (!page_param_u64(c, "tail", TAIL_DEFAULT, 1000000, &tail) ||
        !page_param_text(c, "instance", like.instance, sizeof like.instance) ||
        !page_param_text(c, "revision", like.revision, sizeof like.revision) ||
        !page_param_text(c, "container", like.container, sizeof like.container)) {
        page_problem(c, 400, "bad parameter",
                       "tail: want a number from 1; instance, revision, container: a name");
        return;
    }
    buf_init(&b, a->s.limits->log_ring_bytes);
    tail_into(&like, fnlog_tail(like.log, UINT32_MAX), tail, &b);
    if (follow.at && str_is(follow, "true"))
        stream_open(a, c, &like, buf_str(&b));
    else
        http_answer(c, 200, TYPE_TEXT, NULL, buf_str(&b));
    buf_done(&b);
}

static void service_page(struct admin *a, struct http_call *c)
{
    char ns[64], name[64], what[16];
    if (!http_call_segment(c, 2, ns, sizeof ns) || !http_call_segment(c, 3, name, sizeof name) ||
        !http_call_segment(c, 4, what, sizeof what)) {
        page_problem(c, 400, "bad path", "want /v1/services/{namespace}/{name}/stats or /logs");
        return;
    }
    const struct revision *v = fleet_serving(a->s.fleet, ns, name);
    if (!v)
        page_problem(c, 404, "no such service",
                       "no service of this name is deployed in this namespace; see hob get services");
    else if (strcmp(what, "stats") == 0)
        stats(a, c, v);
    else if (strcmp(what, "logs") == 0)
        logs(a, c, v);
    else
        page_problem(c, 404, "no such page", "a service has /stats and /logs");
}

/* ---- health and metrics ------------------------------------------------------------------------ */

static void health(struct admin *a, struct http_call *c)
{
    (void)a;
    http_answer(c, 200, TYPE_TEXT, NULL, STR("ok\n"));
}

static void ready(struct admin *a, struct http_call *c)
{
    struct err e;
    struct buf b;
    if (a->s.ready(a->s.ctx, &e) == 0) {
        health(a, c);
        return;
    }
    buf_init(&b, 1024);
    buf_printf(&b, "not ready: %s\n", e.text);
    http_answer(c, 503, TYPE_TEXT, "Retry-After: 1\r\n", buf_str(&b));
    buf_done(&b);
}

struct functions_ctx {
    const struct fleet *fleet;
    void (*emit)(void *emit_ctx, const struct metrics_function *f);
    void *emit_ctx;
};

static void function_emit(void *ctx, const struct revision *serving, const struct fleet_totals *t)
{
    struct functions_ctx *fc = ctx;
    const struct kpa *k = fleet_autoscaler(fc->fleet, serving->ns, serving->service);
    const struct kpa_decision *d = kpa_last(k);
    const struct metrics_function f = {
        .ns = serving->ns, .service = serving->service, .in_flight = t->running,
        .queued = t->queued, .instances_ready = t->ready, .instances_starting = t->starting,
        .instances_wanted = d->apply, .desired = (uint64_t)MAX(d->desired, 0), .panicking = d->panicking,
        .stable = plain(d->stable_micro), .panic = plain(d->panic_micro),
        .target = plain(kpa_config(k)->target_micro), .excess_burst = (double)d->excess_burst,
    };
    fc->emit(fc->emit_ctx, &f);
}

static void functions(void *ctx, void (*emit)(void *emit_ctx, const struct metrics_function *f),
                      void *emit_ctx)
{
    struct admin *a = ctx;
    struct functions_ctx fc = { a->s.fleet, emit, emit_ctx };
    fleet_each_service(a->s.fleet, function_emit, &fc);
}

static void metrics_page(struct admin *a, struct http_call *c)
{
    struct metrics_value values[VALUES_MAX];
    struct buf b;
    const struct metrics_source source = { .ctx = a, .functions = functions, .values = values,
                                           .value_count = a->s.values(a->s.ctx, values, VALUES_MAX) };
    buf_init(&b, PAGE_BYTES_MAX * 4);
    metrics_write(a->s.metrics, &source, &b);
    if (b.overflow)
        page_problem(c, 507, "too many functions", "the page of metrics does not fit");
    else
        http_answer(c, 200, METRICS_TYPE, NULL, buf_str(&b));
    buf_done(&b);
}

/* ---- routing ------------------------------------------------------------------------------------- */

static const struct page {
    const char *method, *path; /* "*" stands for one segment */
    void (*handle)(struct admin *a, struct http_call *c);
} pages[] = {
    { "GET", "/healthz", health },
    { "GET", "/livez", health },
    { "GET", "/readyz", ready },
    { "GET", "/metrics", metrics_page },
    { "GET", "/v1/invocations", invocations },
    { "GET", "/v1/invocations/*", invocation },
    { "DELETE", "/v1/invocations/*", invocation_cancel_page },
    { "GET", "/v1/invocations/*/result", invocation_result_page },
    { "POST", "/v1/invocations/*/redrive", invocation_redrive_page },
    { "PUT", "/v1/invocations/*/checkpoint", invocation_checkpoint_page },
    { "GET", "/v1/instances", instances },
    { "DELETE", "/v1/instances/*", instance_delete },
    { "POST", "/v1/backup", backup_begin },
    { "GET", "/v1/backup", backup_look },
    { "DELETE", "/v1/backup", backup_remove },
    { "GET", "/v1/host", host },
    { "GET", "/v1/limits", limits_list },
    { "GET", "/v1/models", models },
    { "DELETE", "/v1/models/*", model_delete },
    { "POST", "/v1/resolve", resolve },
    { "GET", "/v1/services/*/*/*", service_page },
    { "GET", "/v1/starts", starts_list },
    { "GET", "/v1/token", token_page },
};

static bool path_fits(struct str path, const char *pattern)
{
    struct str want = str_of(pattern);
    while (path.size > 0 && want.size > 0) {
        struct str have = str_cut(&path, '/'), like = str_cut(&want, '/');
        if (str_is(like, "*") ? have.size == 0 : !str_eq(have, like))
            return false;
    }
    return path.size == 0 && want.size == 0;
}

void admin_handle(struct admin *a, struct http_call *c)
{
    struct str method = http_call_method(c), path = http_call_path(c);
    char allow[64] = "";
    for (size_t k = 0; k < COUNT_OF(pages); k++) {
        if (!path_fits(path, pages[k].path))
            continue;
        bool head = str_is(method, "HEAD") && strcmp(pages[k].method, "GET") == 0;
        if (str_is(method, pages[k].method) || head) {
            pages[k].handle(a, c);
            return;
        }
        size_t used = strlen(allow);
        snprintf(allow + used, sizeof allow - used, "%s%s", used ? ", " : "", pages[k].method);
    }
    if (allow[0]) {
        char headers[80];
        snprintf(headers, sizeof headers, "Allow: %s\r\n", allow);
        http_answer(c, 405, PAGE_PROBLEM, headers,
                    STR("{\"title\":\"this page takes another method\",\"status\":405}\n"));
    } else {
        page_problem(c, 404, "no such page",
                       "the API has /apis/serving.knative.dev/v1, /v1/invocations, /v1/instances, "
                       "/v1/models, /v1/limits, /v1/services/{ns}/{name}/stats, /metrics, /readyz");
    }
}

struct admin *admin_new(const struct admin_sources *s)
{
    struct admin *a = xcalloc(1, sizeof *a);
    a->s = *s;
    list_init(&a->streams);
    a->resolves = resolve_desk_new(s->limits, s->artifacts);
    a->docket = docket_new(&(struct docket_world){ .loop = s->loop, .limits = s->limits, .desk = s->desk, .journal = s->journal,
                                                   .on_limit = on_docket_limit, .unknown = on_unknown, .ctx = a });
    return a;
}

void admin_stop(struct admin *a) { docket_stop(a->docket); }
bool admin_idle(const struct admin *a) { return a->asking == 0 && docket_idle(a->docket); }

void admin_free(struct admin *a)
{
    if (!a)
        return;
    LIST_EACH(&a->streams, n, tmp)
        on_log_closed(&CONTAINER_OF(n, struct log_stream, node)->follower);
    resolve_desk_free(a->resolves);
    docket_free(a->docket);
    free(a);
}
