#include "serving/revision.h"

#include "codec/digest.h"
#include "codec/quantity.h"
#include "serving/annotations.h"
#include "serving/config.h"
#include "serving/expand.h"
#include "serving/pins.h"
#include "serving/worker.h"

#include <stdio.h>
#include <stdlib.h>

enum { DEFAULT_USER = 65532, DEFAULT_PORT = 8080 };

/* ---- $(NAME) ---- */

struct scope {
    const json_t *pairs; /* array of "NAME=value", later ones win */
    size_t max;
};

static const char *scope_find(const void *ctx, struct str name)
{
    const struct scope *s = ctx;
    for (size_t i = json_array_size(s->pairs); i-- > 0;) {
        const char *pair = json_string_value(json_array_get(s->pairs, i));
        if (str_starts(str_of(pair), name) && pair[name.size] == '=')
            return pair + name.size + 1;
    }
    return NULL;
}

/* NULL: it does not fit. */
static json_t *expanded(const struct scope *s, const char *name, const char *text)
{
    struct buf b;
    buf_init(&b, s->max);
    if (name)
        buf_printf(&b, "%s=", name);
    expand_text(text, scope_find, s, &b);
    json_t *result = b.overflow ? NULL : json_stringn(b.size ? buf_at(&b) : "", b.size);
    buf_done(&b);
    return result;
}

struct words {
    json_t *env, *command, *args; /* expanded */
    size_t bytes;
};

static void words_done(struct words *w)
{
    json_decref(w->env);
    json_decref(w->command);
    json_decref(w->args);
}
static void words_auto(struct words *w) { words_done(w); }

static int append(struct words *w, json_t *list, json_t *take, const struct limits *l, struct err *e)
{
    w->bytes += json_string_length(take) + 1;
    if (!take || w->bytes > l->sandbox_args_bytes_max) {
        json_decref(take);
        return err_set(e, CODE_INVALID,
                       "arguments and environment: more than %llu bytes (limit sandbox_args_bytes_max)",
                       (unsigned long long)l->sandbox_args_bytes_max);
    }
    (void)json_array_append_new(list, take);
    return 0;
}

static int list_expand(struct words *w, const struct scope *s, const json_t *from, json_t *into,
                       const struct limits *l, struct err *e)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < json_array_size(from); i++) {
        const char *text = json_string_value(json_array_get(from, i));
        if (!text)
            return err_set(e, CODE_INVALID, "command and args: not all text");
        r = append(w, into, expanded(s, NULL, text), l, e);
    }
    return r;
}

/* A value sees the variables before it; command and args see them all, and the four of the contract. */
static int words_expand(struct words *w, const struct revision_source *src, const json_t *container,
                        uint16_t port, const struct limits *l, struct err *e)
{
    const json_t *env = json_object_get(container, "env");
    struct scope s = { w->env, l->sandbox_args_bytes_max };
    int r = 0;
    for (size_t i = 0; r == 0 && i < json_array_size(env); i++) {
        const char *name = json_text_at(json_array_get(env, i), "name");
        const char *value = json_text_at(json_array_get(env, i), "value");
        if (!name)
            return err_set(e, CODE_INVALID, "env: a variable without name");
        r = append(w, w->env, expanded(&s, name, value ? value : ""), l, e);
    }
    if (r < 0)
        return r;
    AUTO_JSON json_t *all = json_copy(w->env);
    if (port)
        (void)json_array_append_new(all, json_sprintf("PORT=%u", port));
    (void)json_array_append_new(all, json_sprintf("K_REVISION=%s", src->name));
    (void)json_array_append_new(all, json_sprintf("K_CONFIGURATION=%s", src->service));
    (void)json_array_append_new(all, json_sprintf("K_SERVICE=%s", src->service));
    s.pairs = all;
    r = list_expand(w, &s, json_object_get(container, "command"), w->command, l, e);
    if (r < 0)
        return r;
    return list_expand(w, &s, json_object_get(container, "args"), w->args, l, e);
}

/* ---- one allocation ---- */

/* Hands out pieces of one block, measured before. */
struct block {
    char *at, *end;
};

static void *take(struct block *b, size_t size)
{
    size = (size + 15) & ~(size_t)15;
    ASSERT(size <= (size_t)(b->end - b->at));
    void *piece = b->at;
    b->at += size;
    return piece;
}

static const char *take_text(struct block *b, const char *text)
{
    if (!text)
        return NULL;
    size_t size = strlen(text) + 1;
    char *copy = take(b, size);
    memcpy(copy, text, size);
    return copy;
}

static const char *const *take_list(struct block *b, const json_t *texts)
{
    size_t count = json_array_size(texts);
    const char **list = take(b, (count + 1) * sizeof *list);
    for (size_t i = 0; i < count; i++)
        list[i] = take_text(b, json_string_value(json_array_get(texts, i)));
    list[count] = NULL;
    return list;
}

/* Room for every value of the tree, whatever it becomes: its text, a pointer, its rounding. */
static size_t measure(const json_t *j)
{
    const char *key;
    const json_t *value;
    size_t size = 96 + sizeof(struct revision_mount) + sizeof(struct probe) + DIGEST_TEXT;
    json_object_foreach((json_t *)(uintptr_t)j, key, value)
        size += measure(value);
    for (size_t i = 0; i < json_array_size(j); i++)
        size += measure(json_array_get(j, i));
    return size + json_string_length(j);
}

/* ---- parts ---- */

struct decode {
    const struct revision_source *src;
    const struct limits *limits;
    const json_t *container;
    enum container_part part;
    const char *config; /* config_plan() */
    struct block block;
    struct revision *r;
};

static uint32_t u32_at(const json_t *j, const char *path, uint32_t otherwise)
{
    int64_t n = json_int_at(j, path, otherwise);
    return n < 0 ? 0 : n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

static uint16_t port_of(const json_t *container)
{
    uint32_t port = u32_at(container, "ports.0.containerPort", 0);
    return port > 0 && port <= UINT16_MAX ? (uint16_t)port : DEFAULT_PORT;
}

/* The limit; without one, a request above what an instance gets anyway. 0: what it gets anyway. */
static int64_t resource(const json_t *container, const char *name, uint64_t usual,
                        int64_t (*value_of)(const struct quantity *q))
{
    const char *limit = json_text_key(container, "resources.limits", name);
    const char *request = json_text_key(container, "resources.requests", name);
    struct quantity q;
    struct err e;
    if (limit && quantity_parse(str_of(limit), &q, &e) == 0)
        return value_of(&q);
    if (request && quantity_parse(str_of(request), &q, &e) == 0 && value_of(&q) > (int64_t)usual)
        return value_of(&q);
    return 0;
}

static void decode_limits(struct decode *d)
{
    struct revision *r = d->r;
    const struct limits *l = d->limits;
    int64_t memory = resource(d->container, "memory", l->sandbox_memory_bytes, quantity_units);
    int64_t scratch =
        resource(d->container, "ephemeral-storage", l->sandbox_scratch_bytes, quantity_units);
    int64_t cpu = resource(d->container, "cpu", l->sandbox_cpu_milli, quantity_milli);
    r->memory_bytes = (uint64_t)memory;
    r->ephemeral_bytes = (uint64_t)scratch;
    r->cpu_milli = cpu > UINT32_MAX ? UINT32_MAX : (uint32_t)cpu;
    r->uid = u32_at(d->container, "securityContext.runAsUser", DEFAULT_USER);
    r->gid = u32_at(d->container, "securityContext.runAsGroup", DEFAULT_USER);
}

static void decode_probe(struct decode *d, const json_t *j, struct probe *p)
{
    static const struct {
        const char *key;
        enum probe_kind kind;
    } handlers[] = { { "httpGet", PROBE_HTTP },
                     { "exec", PROBE_EXEC },
                     { "grpc", PROBE_GRPC },
                     { "tcpSocket", PROBE_TCP } };
    const json_t *handler = NULL;
    for (size_t i = 0; !handler && i < COUNT_OF(handlers); i++) {
        handler = json_object_get(j, handlers[i].key);
        p->kind = handlers[i].kind; /* the last, tcpSocket, when there is none */
    }
    uint32_t port = u32_at(handler, "port", 0);
    p->port = port > 0 && port <= UINT16_MAX ? (uint16_t)port : d->r->port;
    const char *path = json_text_at(handler, "path"), *scheme = json_text_at(handler, "scheme");
    p->tls = scheme && strcmp(scheme, "HTTPS") == 0;
    AUTO_FREE char *rooted = xasprintf("/%s", path ? path + (*path == '/') : "");
    p->path = take_text(&d->block, rooted);
    p->host = take_text(&d->block, json_text_at(handler, "host"));
    p->service = take_text(&d->block, json_text_at(handler, "service"));
    p->command = take_list(&d->block, json_object_get(handler, "command"));
    const json_t *headers = json_object_get(handler, "httpHeaders");
    AUTO_JSON json_t *lines = json_array();
    for (size_t i = 0; i < json_array_size(headers); i++) {
        const char *name = json_text_at(json_array_get(headers, i), "name");
        const char *value = json_text_at(json_array_get(headers, i), "value");
        if (name)
            (void)json_array_append_new(lines, json_sprintf("%s: %s", name, value ? value : ""));
    }
    p->headers = take_list(&d->block, lines);
    p->initial_delay_s = u32_at(j, "initialDelaySeconds", 0);
    p->period_s = u32_at(j, "periodSeconds", 0);
    p->timeout_s = u32_at(j, "timeoutSeconds", p->period_s ? 1 : 0);
    p->success_threshold = MAX(1u, u32_at(j, "successThreshold", 1));
    p->failure_threshold = u32_at(j, "failureThreshold", p->period_s ? 3 : 0);
}

/* A reference that names its digest is resolved as it stands. */
static const char *model_digest(struct decode *d, const char *volume, const char *reference)
{
    char text[DIGEST_TEXT];
    struct digest pin;
    struct str base;
    struct err ignored;
    if (reference && digest_cut(str_of(reference), &base, &pin, &ignored) == 1) {
        digest_format(&pin, text);
        return take_text(&d->block, text);
    }
    const char *known = json_string_value(json_object_get(d->src->pins, volume));
    return take_text(&d->block, known ? known : "");
}

static const struct probe *decode_optional(struct decode *d, const char *name)
{
    const json_t *j = json_object_get(d->container, name);
    struct probe *p = j ? take(&d->block, sizeof *p) : NULL;
    if (p)
        decode_probe(d, j, p);
    return p;
}

static void decode_probes(struct decode *d)
{
    decode_probe(d, json_object_get(d->container, "readinessProbe"), &d->r->readiness);
    d->r->liveness = decode_optional(d, "livenessProbe");
    d->r->startup = decode_optional(d, "startupProbe");
}

static int decode_mounts(struct decode *d, struct err *e)
{
    const json_t *mounts = json_object_get(d->container, "volumeMounts");
    const json_t *volumes = json_object_get(d->src->pod, "volumes");
    size_t count = json_array_size(mounts), made = 0;
    struct revision_mount *into = take(&d->block, count * sizeof *into);
    for (size_t i = 0; i < count; i++) {
        const char *name = json_text_at(json_array_get(mounts, i), "name");
        const char *path = json_text_at(json_array_get(mounts, i), "mountPath");
        const json_t *volume = NULL;
        for (size_t k = 0; name && k < json_array_size(volumes); k++) {
            const char *other = json_text_at(json_array_get(volumes, k), "name");
            if (other && strcmp(other, name) == 0)
                volume = json_array_get(volumes, k);
        }
        if (path && config_is_volume(volume))
            continue; /* in d->config */
        const char *reference = json_text_at(volume, "image.reference");
        const char *size = json_text_at(volume, "emptyDir.sizeLimit");
        if (!volume || !path || (!reference && !json_object_get(volume, "emptyDir")))
            return err_set(e, CODE_INVALID, "volume mount %zu: nothing that can be mounted", i);
        struct quantity q = { 0 };
        if (size && quantity_parse(str_of(size), &q, e) < 0)
            return err_wrap(e, "volume %s: sizeLimit", name);
        into[made++] = (struct revision_mount){
            .volume = take_text(&d->block, name),
            .path = take_text(&d->block, path),
            .is_model = reference != NULL,
            .reference = take_text(&d->block, reference),
            .digest = model_digest(d, name, reference),
            .size_bytes = (uint64_t)quantity_units(&q),
            .read_only = json_is_true(json_object_get(json_array_get(mounts, i), "readOnly")),
        };
    }
    d->r->mounts = into;
    d->r->mount_count = made;
    return 0;
}

static uint32_t count_of(double n) { return n <= 0 ? 0 : n >= UINT32_MAX ? UINT32_MAX : (uint32_t)n; }

static uint64_t us_of(int64_t ns) { return ns <= 0 ? 0 : (uint64_t)ns / 1000; }

static bool says(const json_t *annotations, enum annotation a, const char *value)
{
    const char *text = annotation_text(annotations, a);
    return text && strcmp(text, value) == 0;
}

static double number_or(const json_t *annotations, enum annotation a, uint64_t otherwise)
{
    return annotation_text(annotations, a) ? annotation_number(annotations, a) : (double)otherwise;
}

static uint64_t us_or(const json_t *annotations, enum annotation a, uint64_t otherwise_us)
{
    return annotation_text(annotations, a) ? us_of(annotation_ns(annotations, a)) : otherwise_us;
}

/* Knative: total = min(target, containerConcurrency); wanted = total × utilization, at least 0.01. */
static void decode_target(struct revision *r, const json_t *a, const struct limits *l)
{
    double total = annotation_number(a, ANNOTATION_TARGET);
    r->by_rps = says(a, ANNOTATION_METRIC, "rps");
    if (r->by_rps)
        r->total = total < 0 ? (double)l->scale_rps_target : total;
    else if (r->container_concurrency)
        r->total = total < 0 ? r->container_concurrency : MIN(total, r->container_concurrency);
    else
        r->total = total < 0 ? (double)l->scale_target : total;
    r->target = MAX(0.01, r->total * number_or(a, ANNOTATION_UTILIZATION, l->scale_target_percent) / 100);
    r->burst_capacity = number_or(a, ANNOTATION_BURST_CAPACITY, l->scale_burst);
}

static void decode_windows(struct revision *r, const json_t *a, const struct limits *l)
{
    r->window_us = us_or(a, ANNOTATION_WINDOW, l->scale_window_s * 1000000);
    double panic_us = (double)r->window_us * number_or(a, ANNOTATION_PANIC_WINDOW, l->scale_panic_window_percent) / 100;
    r->panic_window_s = MAX(1u, (uint32_t)(panic_us / 1e6 + 0.5));
    r->panic_threshold = number_or(a, ANNOTATION_PANIC_THRESHOLD, l->scale_panic_percent) / 100;
    r->weighted = annotation_text(a, ANNOTATION_AGGREGATION) && !says(a, ANNOTATION_AGGREGATION, "linear");
}

void revision_rescale(struct revision *r, const json_t *a, const struct limits *l)
{
    r->min_scale = count_of(number_or(a, ANNOTATION_MIN_SCALE, l->scale_min_default));
    r->max_scale = count_of(number_or(a, ANNOTATION_MAX_SCALE, l->scale_max_default));
    if (r->max_scale == 0) /* it does not say, and the cluster does */
        r->max_scale = (uint32_t)l->scale_limit;
    if (r->max_scale && r->min_scale > r->max_scale && !annotation_text(a, ANNOTATION_MIN_SCALE))
        r->min_scale = r->max_scale;
    r->initial_scale = count_of(number_or(a, ANNOTATION_INITIAL_SCALE, l->scale_initial));
    r->activation_scale = count_of(annotation_number(a, ANNOTATION_ACTIVATION_SCALE));
    decode_target(r, a, l);
    decode_windows(r, a, l);
    r->retention_us = us_or(a, ANNOTATION_RETENTION, l->scale_retention_ms * 1000);
    r->scale_down_delay_us = us_or(a, ANNOTATION_SCALE_DOWN_DELAY, l->scale_down_delay_ms * 1000);
}

static void decode_annotations(struct decode *d)
{
    const json_t *a = d->src->annotations;
    struct revision *r = d->r;
    double depth = annotation_number(a, ANNOTATION_QUEUE_DEPTH);
    int64_t budget_ns = annotation_ns(a, ANNOTATION_START_BUDGET);
    revision_rescale(r, a, d->limits);
    r->progress_deadline_us = us_of(annotation_ns(a, ANNOTATION_PROGRESS_DEADLINE));
    r->queue_depth = count_of(depth < 0 ? (double)d->limits->queue_depth_max : depth);
    r->start_budget_ms = (uint32_t)(us_of(budget_ns) / 1000);
    r->start_budget_percentile = annotation_number(a, ANNOTATION_START_BUDGET_PERCENTILE);
    struct worker_binding bound;
    if (worker_bound(a, &bound)) {
        r->task_queue = take_text(&d->block, bound.queue);
        r->task_namespace = take_text(&d->block, bound.ns);
    }
    invoke_read(a, &r->invoke);
    r->invoke.callback = take_text(&d->block, annotation_text(a, ANNOTATION_CALLBACK));
    r->invoke.callback_hosts = take_text(&d->block, annotation_text(a, ANNOTATION_CALLBACK_HOSTS));
    r->invoke.callback_secret = take_text(&d->block, annotation_text(a, ANNOTATION_CALLBACK_SECRET));
}

/* Of the one that serves it is kept beside the object; of another, under its name with the models'. */
static const char *image_digest(struct decode *d)
{
    if (d->part == CONTAINER_SERVES)
        return take_text(&d->block, d->src->image_digest ? d->src->image_digest : "");
    AUTO_FREE char *key = pins_image_key(json_text_at(d->container, "name"));
    return model_digest(d, key, json_text_at(d->container, "image"));
}

static void decode_container(struct decode *d, const struct words *w)
{
    const char *protocol = json_text_at(d->container, "ports.0.name");
    struct revision *r = d->r;
    r->part = d->part;
    r->container = take_text(&d->block, json_text_at(d->container, "name"));
    r->ready_on_poll = d->part == CONTAINER_SERVES && worker_ready_on_poll(d->src->annotations, d->src->pod);
    r->unprobed = r->ready_on_poll ||
                  (d->part != CONTAINER_SERVES && !json_object_get(d->container, "readinessProbe"));
    r->ns = take_text(&d->block, d->src->ns);
    r->service = take_text(&d->block, d->src->service);
    r->name = take_text(&d->block, d->src->name);
    r->generation = d->src->generation;
    r->image = take_text(&d->block, json_text_at(d->container, "image"));
    r->image_digest = image_digest(d);
    r->command = take_list(&d->block, w->command);
    r->args = take_list(&d->block, w->args);
    r->env = take_list(&d->block, w->env);
    r->config = take_text(&d->block, d->config);
    r->workdir = take_text(&d->block, json_text_at(d->container, "workingDir"));
    r->port = port_of(d->container);
    r->protocol = protocol && strcmp(protocol, "h2c") == 0 ? PORT_H2C : PORT_HTTP1;
    r->container_concurrency = u32_at(d->src->pod, "containerConcurrency", 0);
    r->timeout_s = u32_at(d->src->pod, "timeoutSeconds", 300);
    r->response_start_timeout_s = u32_at(d->src->pod, "responseStartTimeoutSeconds", 0);
    r->idle_timeout_s = u32_at(d->src->pod, "idleTimeoutSeconds", 0);
}

/* Done twice: first into room that is certainly enough, then into as much as that took. A thousand
 * revisions that wait for a call are what a node mostly holds. */
static int build(struct decode *d, const struct words *w, struct err *e)
{
    d->r = take(&d->block, sizeof *d->r);
    decode_container(d, w);
    decode_limits(d);
    decode_probes(d);
    decode_annotations(d);
    return decode_mounts(d, e);
}

static int container_decode(const struct revision_source *s, const struct limits *l, const json_t *container,
                            enum container_part part, struct revision **ret, struct err *e)
{
    if (!json_text_at(container, "image"))
        return err_set(e, CODE_INVALID, "revision %s: no container with an image", s->name);
    __attribute__((cleanup(words_auto))) struct words w = { json_array(), json_array(), json_array(),
                                                            0 };
    int r = words_expand(&w, s, container, part == CONTAINER_SERVES ? port_of(container) : 0, l, e);
    if (r < 0)
        return err_wrap(e, "revision %s", s->name);

    AUTO_FREE char *config = config_plan(s->pod, container);
    struct worker_binding bound;
    size_t bound_bytes = worker_bound(s->annotations, &bound) ? strlen(bound.queue) + strlen(bound.ns) : 0;
    size_t size = sizeof(struct revision) + bound_bytes + strlen(config ? config : "") + strlen(s->ns) + strlen(s->service) + strlen(s->name) +
                  measure(s->pod) + measure(w.env) + measure(w.command) + measure(w.args) + 1024;
    AUTO_FREE char *rough = xcalloc(1, size);
    struct decode d = { s, l, container, part, config, { rough, rough + size }, NULL };
    r = build(&d, &w, e);
    if (r < 0)
        return err_wrap(e, "revision %s", s->name);
    size = (size_t)(d.block.at - rough);
    char *exact = xcalloc(1, size);
    d.block = (struct block){ exact, exact + size };
    r = build(&d, &w, e);
    ASSERT(r == 0 && d.block.at == d.block.end); /* what fits once fits the same way again */
    *ret = d.r;
    return 0;
}

struct others {
    const struct revision_source *src;
    const struct limits *limits;
    struct revision *r;
    int result;
    struct err *e;
};

static void other_decode(void *ctx, const json_t *container, enum container_part part, const char *at)
{
    struct others *o = ctx;
    struct revision *r = o->r;
    (void)at;
    if (part == CONTAINER_SERVES || o->result < 0)
        return;
    o->result = container_decode(o->src, o->limits, container, part, &r->others[r->other_count], o->e);
    r->other_count += o->result == 0;
    r->init_count += o->result == 0 && part == CONTAINER_INIT;
}

int revision_decode(const struct revision_source *s, const struct limits *l, struct revision **ret,
                    struct err *e)
{
    size_t serving, others = json_array_size(json_object_get(s->pod, "initContainers")) +
                             json_array_size(json_object_get(s->pod, "containers"));
    AUTO(revision) struct revision *r = NULL;
    int result = container_decode(s, l, containers_serving(s->pod, &serving), CONTAINER_SERVES, &r, e);
    if (result < 0)
        return result;
    if (others > 1) {
        struct others o = { s, l, r, 0, e };
        r->others = xcalloc(others - 1, sizeof(struct revision *));
        containers_each(s->pod, other_decode, &o);
        if (o.result < 0)
            return o.result;
    }
    *ret = TAKE(r);
    return 0;
}

void revision_free(struct revision *r)
{
    for (uint32_t i = 0; r && i < r->other_count; i++)
        revision_free(r->others[i]);
    if (r)
        free(r->others);
    free(r);
}
