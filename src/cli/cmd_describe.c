/* hob describe: everything about one service that a person asks first. */
#include "cli/commands.h"
#include "cli/explain.h"
#include "cli/human.h"
#include "cli/objects.h"
#include "cli/output.h"
#include "cli/remote.h"
#include "cli/table.h"

#include <stdio.h>

struct args {
    const char *output;
};

static const struct opt opts[] = { OUTPUT_ROW(struct args, OUTPUT_ONE) };

struct page {
    struct cli *c;
    const json_t *service, *newest, *instances, *cold; /* newest: the Revision that was made last */
    struct explain_stats stats;
};

enum { LABEL_COLUMNS = 14 };

PRINTF_LIKE(4, 5)
static void line(struct page *p, enum style s, const char *label, const char *fmt, ...)
{
    char text[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (!text[0])
        return;
    term_styled(&p->c->out_term, &p->c->out, STYLE_DIM, "%-*s", LABEL_COLUMNS, label);
    buf_text(&p->c->out, term_style_on(&p->c->out_term, s));
    term_clean_lines(&p->c->out, str_of(text), LABEL_COLUMNS);
    buf_printf(&p->c->out, "%s\n", term_style_off(&p->c->out_term, s));
}

static void heading(struct page *p, const char *text)
{
    buf_text(&p->c->out, "\n");
    term_styled(&p->c->out_term, &p->c->out, STYLE_BOLD, "%s", text);
    buf_text(&p->c->out, "\n");
}

static const char *or_default(const char *text, const char *otherwise)
{
    return text[0] ? text : otherwise;
}

static void images(struct page *p, const json_t *spec)
{
    static const char *const lists[] = { "initContainers", "containers" };
    bool several = json_array_size(json_object_get(spec, "containers")) +
                       json_array_size(json_object_get(spec, "initContainers")) > 1;
    for (size_t l = 0; l < COUNT_OF(lists); l++) {
        json_t *one;
        size_t i;
        json_array_foreach(json_object_get(spec, lists[l]), i, one) {
            const char *part = l == 0                                                ? "init"
                               : json_array_size(json_object_get(one, "ports")) > 0 ? "serves"
                                                                                     : "sidecar";
            if (several)
                line(p, STYLE_PLAIN, part, "%s, %s", object_text(one, "name"), object_text(one, "image"));
            else
                line(p, STYLE_PLAIN, "image", "%s", object_text(one, "image"));
        }
    }
}

static void models(struct page *p, const json_t *spec)
{
    json_t *volume, *mount;
    size_t i, k;
    json_array_foreach(json_at(spec, "volumes"), i, volume) {
        const char *reference = object_text(volume, "image.reference");
        const char *name = object_text(volume, "name"), *path = "";
        json_array_foreach(json_at(spec, "containers.0.volumeMounts"), k, mount)
            if (strcmp(object_text(mount, "name"), name) == 0)
                path = object_text(mount, "mountPath");
        if (reference[0])
            line(p, STYLE_PLAIN, "model", "%s at %s", reference, or_default(path, "(not mounted)"));
    }
}

static void limits(struct page *p, const json_t *spec)
{
    const char *memory = object_text(spec, "containers.0.resources.limits.memory");
    const char *cpu = object_text(spec, "containers.0.resources.limits.cpu");
    const json_t *all = json_at(spec, "containers.0.resources.limits");
    const char *scratch = json_text_key(all, "", "ephemeral-storage");
    line(p, STYLE_PLAIN, "limits", "memory %s, cpu %s, ephemeral storage %s",
         or_default(memory, "default"), or_default(cpu, "default"), scratch ? scratch : "default");
}

static void head(struct page *p)
{
    const json_t *s = p->service, *spec = json_at(s, "spec.template.spec");
    struct object_condition ready = object_condition(s, "Ready");
    term_styled(&p->c->out_term, &p->c->out, STYLE_BOLD, "%s/%s",
                object_text(s, "metadata.namespace"), object_text(s, "metadata.name"));
    buf_text(&p->c->out, "\n");
    line(p, STYLE_PLAIN, "url", "%s", object_text(s, "status.url"));
    line(p, ready.style, "ready", "%s%s%s%s%s", ready.status, ready.reason[0] ? ", " : "",
         ready.reason, ready.message[0] ? ": " : "", ready.message);
    line(p, STYLE_PLAIN, "revision", "%s", object_serving(s, (char[OBJECT_SERVING]){ 0 }));
    line(p, STYLE_PLAIN, "created", "%s%s", object_age(p->c, s, HUMAN),
         p->c->out_term.tty ? " ago" : "");
    images(p, spec);
    models(p, spec);
    char each[24] = "any number";
    int64_t at_once = json_int_at(spec, "containerConcurrency", 0);
    if (at_once > 0)
        snprintf(each, sizeof each, "%lld", (long long)at_once);
    line(
        p, STYLE_PLAIN, "scale", "%s instances, %s at once each, idle window %s",
        object_scale(s, HUMAN), each,
        or_default(object_annotation(json_at(s, "spec.template"), "autoscaling.knative.dev/window"),
                   "60s"));
    limits(p, spec);
}

static void conditions(struct page *p, const json_t *of)
{
    static const struct table_column columns[] = {
        { "CONDITION" }, { "STATUS" }, { "SINCE" }, { "REASON" }, { "MESSAGE" },
    };
    struct table t;
    json_t *one;
    size_t i;
    table_init(&t, columns, COUNT_OF(columns), false);
    json_array_foreach(json_at(of, "status.conditions"), i, one) {
        struct object_condition c = object_condition_at(one);
        table_cell(&t, STYLE_PLAIN, "%s", object_text(one, "type"));
        table_cell(&t, c.style, "%s", c.status);
        table_cell(&t, STYLE_PLAIN, "%s", object_time(p->c, c.since, HUMAN));
        table_cell(&t, STYLE_PLAIN, "%s", c.reason);
        table_cell(&t, STYLE_PLAIN, "%s", c.message);
    }
    if (t.cell_count) {
        buf_text(&p->c->out, "\n");
        table_write(&t, &p->c->out_term, &p->c->out);
    }
    table_done(&t);
}

static void traffic(struct page *p)
{
    static const struct table_column columns[] = {
        { "TRAFFIC", .right = true }, { "REVISION" }, { "TAG" }, { "URL" },
    };
    struct table t;
    json_t *one;
    size_t i;
    table_init(&t, columns, COUNT_OF(columns), false);
    json_array_foreach(json_at(p->service, "status.traffic"), i, one) {
        bool is_latest = json_is_true(json_at(one, "latestRevision"));
        table_cell(&t, STYLE_PLAIN, "%lld%%", (long long)json_int_at(one, "percent", 0));
        table_cell(&t, STYLE_PLAIN, "%s%s", object_text(one, "revisionName"), is_latest ? " (latest)" : "");
        table_cell(&t, STYLE_PLAIN, "%s", object_text(one, "tag"));
        table_cell(&t, STYLE_PLAIN, "%s", object_text(one, "url"));
    }
    if (t.cell_count) {
        buf_text(&p->c->out, "\n");
        table_write(&t, &p->c->out_term, &p->c->out);
    }
    table_done(&t);
}

/* The Service says that its Revision failed; the Revision says of what. */
static void newest(struct page *p)
{
    if (!p->newest)
        return;
    char title[160];
    snprintf(title, sizeof title, "newest revision, %.120s", object_text(p->newest, "metadata.name"));
    heading(p, title);
    conditions(p, p->newest);
}

static void instances(struct page *p)
{
    uint32_t count = 0;
    int64_t in_flight = 0, memory = 0;
    bool known = true; /* not where hob has no cgroups */
    json_t *one;
    size_t i;
    json_array_foreach(json_at(p->instances, "items"), i, one) {
        if (strcmp(object_text(one, "namespace"), object_text(p->service, "metadata.namespace")) ||
            strcmp(object_text(one, "service"), object_text(p->service, "metadata.name")))
            continue;
        count++;
        in_flight += json_int_at(one, "inFlight", 0);
        memory += json_int_at(one, "memoryBytes", 0);
        known = known && json_at(one, "memoryBytes");
    }
    if (count)
        line(p, STYLE_PLAIN, "instances", "%u, with %lld requests in flight and %s%s",
             count, (long long)in_flight, known ? human_bytes((uint64_t)MAX(memory, 0), HUMAN) : "",
             known ? " of memory" : "memory that cannot be measured here");
    else
        line(p, STYLE_PLAIN, "instances", "none: at zero");
}

static void phases(struct page *p)
{
    static const struct table_column columns[] = {
        { "PHASE" },
        { "COUNT", .right = true },
        { "P50", .right = true },
        { "P99", .right = true },
        { "FAILED", .right = true },
    };
    struct table t;
    table_init(&t, columns, COUNT_OF(columns), false);
    for (unsigned what = 0; what < EXPLAIN_KINDS; what++) {
        const struct explain_percentiles *one = &p->stats.phases[what];
        if (one->count == 0 && p->stats.failures[what] == 0)
            continue;
        table_cell(&t, STYLE_PLAIN, "%s", explain_what_name(what));
        table_cell(&t, STYLE_PLAIN, "%u", one->count);
        table_cell(&t, STYLE_PLAIN, "%s", one->count ? human_us(one->p50_us, HUMAN) : "");
        table_cell(&t, STYLE_PLAIN, "%s", one->count ? human_us(one->p99_us, HUMAN) : "");
        table_cell(&t, p->stats.failures[what] ? STYLE_BAD : STYLE_PLAIN, "%llu",
                   (unsigned long long)p->stats.failures[what]);
    }
    if (t.cell_count) {
        buf_text(&p->c->out, "\n");
        table_write(&t, &p->c->out_term, &p->c->out);
    }
    table_done(&t);
}

static void budget(struct page *p)
{
    const struct explain_stats *s = &p->stats;
    if (strcmp(s->budget, "kept") != 0 && strcmp(s->budget, "missed") != 0)
        return;
    bool kept = strcmp(s->budget, "kept") == 0;
    line(p, kept ? STYLE_GOOD : STYLE_BAD, "budget",
         "%s: p%g of the starts %s%s, allowed are %u ms", s->budget, s->budget_percentile,
         s->budget_measured_us ? "is ready after " : "never is ready",
         s->budget_measured_us ? human_us(s->budget_measured_us, HUMAN) : "", s->budget_ms);
}

static void figures(struct page *p)
{
    const struct explain_stats *s = &p->stats;
    heading(p, "since this server began");
    instances(p);
    line(p, STYLE_PLAIN, "autoscaler", "%s", s->autoscaler);
    if (s->invocations)
        line(p, STYLE_PLAIN, "calls", "%llu, %llu of them cold (%s)",
             (unsigned long long)s->invocations, (unsigned long long)s->cold,
             human_permille((int64_t)(s->cold * 1000 / s->invocations), HUMAN));
    if (s->starts || s->starts_failed)
        line(p, s->starts_failed ? STYLE_WARN : STYLE_PLAIN, "starts", "%llu, %llu failed",
             (unsigned long long)s->starts, (unsigned long long)s->starts_failed);
    if (s->ready.count)
        line(p, STYLE_PLAIN, "ready after", "%s (p50), %s (p99)", human_us(s->ready.p50_us, HUMAN),
             human_us(s->ready.p99_us, HUMAN));
    budget(p);
    const json_t *cold = json_array_get(json_at(p->cold, "items"), 0);
    if (cold)
        line(p, STYLE_PLAIN, "last cold", "%s; hob explain %s",
             human_us(json_int_at(cold, "firstByteUs", 0), HUMAN), object_text(cold, "id"));
    phases(p);
}

static int run(struct cli *c, struct err *e)
{
    const struct args *args = c->args;
    const char *name = c->words.at[0];
    enum output o = output_of(c, args->output);
    AUTO_JSON json_t *service = NULL;
    int r = remote_service(c, name, &service, e);
    if (r < 0)
        return r;
    AUTO_FREE char *stats_at =
        remote_target("/v1/services/", c->global.ns, "/", name, "/stats", NULL);
    AUTO_FREE char *cold_at = remote_target(
        "/v1/invocations?limit=1&cold=true&namespace=", c->global.ns, "&service=", name, NULL);
    AUTO_JSON json_t *stats = remote_peek(c, stats_at);
    AUTO_JSON json_t *cold = remote_peek(c, cold_at);
    AUTO_JSON json_t *now = remote_peek(c, "/v1/instances");
    const char *made = object_text(service, "status.latestCreatedRevisionName");
    AUTO_FREE char *newest_at =
        remote_target(REMOTE_KNATIVE "/namespaces/", c->global.ns, "/revisions/", made, NULL);
    AUTO_JSON json_t *revision = *made ? remote_peek(c, newest_at) : NULL;
    if (o != OUTPUT_TABLE) {
        AUTO_JSON json_t *all = json_pack("{s:O, s:O*, s:O*, s:O*}", "service", service, "newestRevision", revision, "stats", stats,
                                          "lastCold", json_at(cold, "items.0"));
        output_tree(c, o, all);
        return EXITS_OK;
    }
    struct page page = { .c = c, .service = service, .newest = revision, .instances = now, .cold = cold };
    explain_stats_read(stats, &page.stats);
    head(&page);
    conditions(&page, service);
    traffic(&page);
    newest(&page);
    figures(&page);
    return EXITS_OK;
}

const struct cli_command cmd_describe = {
    .name = "describe",
    .summary = "one service: state, conditions, limits, figures",
    .words = "NAME",
    .examples = "hob describe greeter\nhob describe greeter -o json  for a program",
    .opts = opts,
    .opt_count = COUNT_OF(opts),
    .args_size = sizeof(struct args),
    .words_min = 1,
    .words_max = 1,
    .complete = OPT_COMPLETE_SERVICES,
    .run = run,
};
