/* hob explain: the waterfall of one invocation, what cost most, what to change. */
#include "cli/commands.h"
#include "cli/explain.h"
#include "cli/output.h"
#include "cli/remote.h"
#include "telemetry/record_json.h"

#include <stdio.h>

struct args {
    const char *output;
    bool last, warm, ascii;
    uint32_t width;
};

static const struct opt opts[] = {
#define AT(field) offsetof(struct args, field)
    { "last", 0, OPT_FLAG, AT(last), NULL, "the newest invocation, cold or warm" },
    { "warm", 0, OPT_FLAG, AT(warm), NULL, "of a service: the newest one, though it was warm" },
    { "width", 'w', OPT_U32, AT(width), "COLUMNS", "of the picture (else the terminal's)",
      .min = 40, .max = 500 },
    { "ascii", 0, OPT_FLAG, AT(ascii), NULL, "draw with ASCII only" },
    OUTPUT_ROW(struct args, OUTPUT_ONE),
#undef AT
};

/* Of a durable invocation: the record of its last attempt. */
static int by_attempt(struct cli *c, const char *id, json_t **j, struct err *e)
{
    const json_t *attempts = json_at(*j, "attempts");
    const char *record = json_text_at(json_array_get(attempts, json_array_size(attempts) - 1), "record");
    AUTO_FREE char *target = record ? remote_target("/v1/invocations/", record, NULL) : NULL;
    json_decref(TAKE(*j));
    return target ? remote_get(c, target, j, e)
                  : err_set(e, CODE_NOT_FOUND, "invocation %s: no attempt of it has begun yet", id);
}

static int by_id(struct cli *c, const char *id, json_t **ret, struct err *e)
{
    AUTO_FREE char *target = remote_target("/v1/invocations/", id, NULL);
    int r = remote_get(c, target, ret, e);
    if (r >= 0 && json_at(*ret, "attempts_max"))
        r = by_attempt(c, id, ret, e);
    if (r == -CODE_NOT_FOUND)
        return err_set(
            e, CODE_NOT_FOUND,
            "invocation %s: no record of it; `hob limits` shows how long records are kept "
            "(records_max, records_age_s)",
            id);
    return r;
}

/* What a trace's functions did here, the oldest first: a chain begins with who was called first. */
static int by_trace(struct cli *c, const char *trace, json_t **ret, struct err *e)
{
    AUTO_FREE char *target = remote_target("/v1/invocations?limit=100&trace=", trace, NULL);
    int r = remote_get(c, target, ret, e);
    if (r < 0 || json_array_size(json_at(*ret, "items")) > 0)
        return r;
    json_decref(TAKE(*ret));
    return err_set(e, CODE_NOT_FOUND,
                   "trace %s: no invocation of it is on record here; `hob limits` shows how long records are kept "
                   "(records_max, records_age_s)",
                   trace);
}

/* Before any request was answered there is a start all the same: laid out as a record without a request. NULL: none. */
static json_t *last_start(struct cli *c, const char *service)
{
    AUTO_FREE char *target = remote_target("/v1/starts?namespace=", c->global.ns, "&service=", service, NULL);
    AUTO_JSON json_t *list = remote_peek(c, target);
    json_t *one = json_array_get(json_at(list, "items"), 0), *start = one ? json_object_get(one, "start") : NULL, *phase;
    int64_t end_us = 0;
    size_t i;
    if (!start)
        return NULL;
    json_array_foreach(json_at(start, "phases"), i, phase)
        end_us = MAX(end_us, json_int_at(phase, "startUs", 0) + json_int_at(phase, "durationUs", 0));
    bool failed = json_is_true(json_object_get(start, "failed"));
    const char *error = json_text_at(start, "error");
    char why[160];
    snprintf(why, sizeof why, "%s", failed && error ? error : "");
    return json_pack("{s:s, s:s, s:O, s:O, s:O, s:O*, s:O*, s:I, s:b, s:O, s:s}", "id",
                     "00000000-0000-0000-0000-000000000000", "outcome", failed ? "failed" : "ok", "namespace",
                     json_object_get(one, "namespace"), "service", json_object_get(one, "service"), "revision",
                     json_object_get(one, "revision"), "arrivalUnixMs", json_object_get(start, "beginUnixMs"),
                     "arrivalMonotonicUs", json_object_get(start, "beginMonotonicUs"), "totalUs",
                     (json_int_t)MIN(MAX(end_us, 0), INT32_MAX), "cold", 1, "start", start, "error", why);
}

/* The newest of a service (NULL: of all). */
static int newest(struct cli *c, const char *service, bool cold, json_t **ret, struct err *e)
{
    AUTO_FREE char *target =
        service ? remote_target("/v1/invocations?limit=1&namespace=", c->global.ns,
                                "&service=", service, cold ? "&cold=true" : NULL, NULL)
                : remote_target("/v1/invocations?limit=1", NULL);
    AUTO_JSON json_t *list = NULL;
    int r = remote_get(c, target, &list, e);
    if (r < 0)
        return r;
    json_t *one = json_array_get(json_at(list, "items"), 0);
    if (one) {
        *ret = json_incref(one);
        return 0;
    }
    if (!service)
        return err_set(e, CODE_NOT_FOUND, "nothing was invoked yet; try: hob invoke NAME");
    AUTO_JSON json_t *known = NULL;
    r = remote_service(c, service, &known, e);
    if (r < 0)
        return r;
    *ret = cold ? last_start(c, service) : NULL;
    if (*ret)
        return 0;
    return err_set(e, CODE_NOT_FOUND,
                   cold ? "service %s: no cold start is on record; hob explain %s --warm shows the "
                          "newest call"
                        : "service %s: no invocation is on record; try: hob invoke %s",
                   service, service);
}

static int find(struct cli *c, json_t **ret, struct err *e)
{
    const struct args *args = c->args;
    const char *name = c->words.count ? c->words.at[0] : NULL;
    struct uuid id;
    if (name && uuid_parse(str_of(name), &id))
        return by_id(c, name, ret, e);
    return newest(c, name, name && !args->warm && !args->last, ret, e);
}

/* Without percentiles the picture is still true, so they may be missing. */
static struct explain_stats stats_of(struct cli *c, const struct invocation_record *r)
{
    struct explain_stats stats = { 0 };
    AUTO_FREE char *target = remote_target("/v1/services/", r->ns, "/", r->service, "/stats", NULL);
    AUTO_JSON json_t *j = remote_peek(c, target);
    if (j)
        explain_stats_read(j, &stats);
    return stats;
}

static int draw(struct cli *c, const json_t *j, struct err *e)
{
    const struct args *args = c->args;
    struct invocation_record record;
    struct term term = c->out_term;
    int r = record_from_json(j, &record, e);
    if (r < 0)
        return r;
    struct explain_stats stats = stats_of(c, &record);
    if (args->width)
        term.width = args->width;
    if (args->ascii)
        term.utf8 = false;
    explain_draw(&record, &stats, &term, &c->out);
    return EXITS_OK;
}

static int run(struct cli *c, struct err *e)
{
    const struct args *args = c->args;
    const char *name = c->words.count ? c->words.at[0] : NULL;
    enum output o = output_of(c, args->output);
    AUTO_JSON json_t *j = NULL;
    uint8_t id[16];
    bool trace = name && trace_id_parse(str_of(name), id);
    int r = trace ? by_trace(c, name, &j, e) : find(c, &j, e);
    if (r < 0)
        return r;
    if (o != OUTPUT_TABLE) {
        output_tree(c, o, j);
        return EXITS_OK;
    }
    const json_t *items = trace ? json_at(j, "items") : NULL, *one;
    size_t i;
    if (!trace)
        return draw(c, j, e);
    json_array_foreach(items, i, one) {
        if (i > 0)
            buf_text(&c->out, "\n");
        r = draw(c, one, e);
        if (r < 0)
            return r;
    }
    return EXITS_OK;
}

const struct cli_command cmd_explain = {
    .name = "explain",
    .summary = "where the time of an invocation went, phase by phase",
    .words = "[ID|TRACE|NAME]",
    .examples =
        "hob explain  the newest invocation\n"
        "hob explain greeter  the newest cold start of a service\n"
        "hob explain 0198f3a2-7c21-7d00-8000-00c0ffee0001  one invocation (Hob-Invocation-Id)\n"
        "hob explain 0af7651916cd43dd8448eb211c80319c  every invocation of one trace, oldest first\n"
        "hob explain greeter -o json  the record itself",
    .notes =
        "Phases overlap. Solid: the request waited for it; shaded: it ran while the request waited\n"
        "for something longer. The shares in `wait` add up.",
    .opts = opts,
    .opt_count = COUNT_OF(opts),
    .args_size = sizeof(struct args),
    .words_max = 1,
    .complete = OPT_COMPLETE_RECORDS,
    .run = run,
};
