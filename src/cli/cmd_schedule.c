/* hob schedule: when Services are called by themselves (hob.dev/v1, kind Schedule). */
#include "cli/commands.h"
#include "cli/human.h"
#include "cli/kinds.h"
#include "cli/objects.h"
#include "cli/output.h"
#include "cli/remote.h"
#include "cli/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct args {
    const char *schedule, *zone, *service, *method, *path, *data, *overlap, *catch_up, *deadline, *output;
    struct opt_list headers;
    bool suspend;
};

static const struct opt opts[] = {
#define AT(field) offsetof(struct args, field)
    { "at", 0, OPT_TEXT, AT(schedule), "TIMES", "create: a cron line, @hourly and its like, or '@every 10m'" },
    { "time-zone", 0, OPT_TEXT, AT(zone), "NAME", "create: as Europe/Paris (UTC)" },
    { "service", 0, OPT_TEXT, AT(service), "NAME", "create: what is called (the schedule's own name)", .complete = OPT_COMPLETE_SERVICES },
    { "method", 'X', OPT_TEXT, AT(method), "METHOD", "create: of each request (POST)" },
    { "path", 'p', OPT_TEXT, AT(path), "PATH", "create: with its query (/)" },
    { "header", 'H', OPT_LIST, AT(headers), "LINE", "create: 'Name: value'; may be repeated" },
    { "data", 'd', OPT_TEXT, AT(data), "TEXT", "create: the body" },
    { "overlap", 0, OPT_CHOICE, AT(overlap), "POLICY", "create: when the one before still runs (Skip)",
      "Skip|BufferOne|AllowAll|CancelOther", .complete = OPT_COMPLETE_CHOICES },
    { "catch-up", 0, OPT_TEXT, AT(catch_up), "TIME", "create: what came while hob was away is made up for so long after (1h)" },
    { "deadline", 0, OPT_TEXT, AT(deadline), "TIME", "create: of each invocation (24h)" },
    { "suspend", 0, OPT_FLAG, AT(suspend), NULL, "create: paused from the beginning" },
#undef AT
    OUTPUT_ROW(struct args, OUTPUT_ALL),
};

static const struct kube_resource *kind(void) { return kinds_of_word(STR("schedules")); }

static const struct table_column columns[] = {
    { "NAME" }, { "TIMES" }, { "TIME ZONE" }, { "SERVICE" }, { "STATE" }, { "LAST", .right = true }, { "ENDED AS" }, { "NEXT" },
    { "RUNS", .right = true }, { "MISSED", .right = true, .wide = true }, { "SKIPPED", .right = true, .wide = true },
    { "LAST INVOCATION", .wide = true },
};

static const char *or_dash(const char *text) { return text[0] ? text : "-"; }

static void row(const struct cli *c, struct table *t, const json_t *j)
{
    const char *last = object_text(j, "status.lastScheduleTime");
    bool paused = json_is_true(json_at(j, "spec.suspend"));
    table_cell(t, STYLE_BOLD, "%s", object_text(j, "metadata.name"));
    table_cell(t, STYLE_PLAIN, "%s", object_text(j, "spec.schedule"));
    table_cell(t, STYLE_PLAIN, "%s", or_dash(object_text(j, "spec.timeZone")));
    table_cell(t, STYLE_PLAIN, "%s", object_text(j, "spec.service"));
    table_cell(t, paused ? STYLE_WARN : STYLE_GOOD, "%s", paused ? "paused" : "active");
    table_cell(t, STYLE_PLAIN, "%s", last[0] ? object_time(c, last, HUMAN) : "-");
    table_cell(t, STYLE_PLAIN, "%s", or_dash(object_text(j, "status.lastStatus")));
    table_cell(t, STYLE_PLAIN, "%s", or_dash(object_text(j, "status.nextScheduleTime")));
    table_cell(t, STYLE_PLAIN, "%lld", (long long)json_int_at(j, "status.actions", 0));
    table_cell(t, STYLE_PLAIN, "%lld", (long long)json_int_at(j, "status.missed", 0));
    table_cell(t, STYLE_PLAIN, "%lld", (long long)json_int_at(j, "status.skipped", 0));
    table_cell(t, STYLE_PLAIN, "%s", or_dash(object_text(j, "status.lastInvocation")));
}

static void rows_write(struct cli *c, const json_t *const *all, size_t count, bool wide)
{
    struct table t;
    table_init(&t, columns, COUNT_OF(columns), wide);
    for (size_t i = 0; i < count; i++)
        row(c, &t, all[i]);
    table_write(&t, &c->out_term, &c->out);
    table_done(&t);
}

static int list(struct cli *c, struct err *e)
{
    const struct args *args = c->args;
    enum output o = output_of(c, args->output);
    AUTO_JSON json_t *told = NULL;
    AUTO_FREE char *target = kinds_target(kind(), c->global.ns, NULL);
    int r = remote_get(c, target, &told, e);
    if (r < 0)
        return r;
    size_t count = json_array_size(json_at(told, "items"));
    if (o != OUTPUT_TABLE && o != OUTPUT_WIDE) {
        output_tree(c, o, told);
    } else if (count == 0) {
        cli_note(c, "nothing is called by itself in this namespace; see: hob schedule create");
    } else {
        AUTO_FREE const json_t **all = xcalloc(count, sizeof *all);
        for (size_t i = 0; i < count; i++)
            all[i] = json_array_get(json_at(told, "items"), i);
        rows_write(c, all, count, o == OUTPUT_WIDE);
    }
    return EXITS_OK;
}

static int describe(struct cli *c, const char *name, struct err *e)
{
    const struct args *args = c->args;
    enum output o = output_of(c, args->output);
    AUTO_JSON json_t *j = NULL;
    AUTO_FREE char *target = kinds_target(kind(), c->global.ns, name);
    int r = remote_get(c, target, &j, e);
    if (r < 0)
        return r;
    if (o == OUTPUT_TABLE || o == OUTPUT_WIDE)
        rows_write(c, (const json_t *const[]){ j }, 1, true);
    else
        output_tree(c, o, j);
    return EXITS_OK;
}

/* ---- changes ---- */

static void text_set(json_t *spec, const char *member, const char *text)
{
    if (text)
        json_object_set_new(spec, member, json_string(text));
}

static int headers_set(json_t *spec, const struct opt_list *lines, struct err *e)
{
    json_t *headers = lines->count ? json_object() : NULL;
    for (size_t i = 0; i < lines->count; i++) {
        struct str value = str_of(lines->at[i]), line = value, name = str_cut(&value, ':');
        if (name.size == line.size) {
            json_decref(headers);
            return err_set(e, CODE_INVALID, "--header: '%.100s' is not 'Name: value'", line.at);
        }
        value = str_trim(value);
        json_object_setn_new(headers, name.at, name.size, json_stringn(value.at, value.size));
    }
    if (headers)
        json_object_set_new(spec, "headers", headers);
    return 0;
}

static int create(struct cli *c, const char *name, struct err *e)
{
    const struct args *args = c->args;
    if (!args->schedule) {
        err_set(e, CODE_INVALID, "when? --at '0 3 * * *', or --at '@every 10m'");
        return cli_usage(c, e);
    }
    AUTO_JSON json_t *spec = json_object(), *made = NULL;
    text_set(spec, "schedule", args->schedule);
    text_set(spec, "timeZone", args->zone);
    text_set(spec, "service", args->service ? args->service : name);
    text_set(spec, "method", args->method);
    text_set(spec, "path", args->path);
    text_set(spec, "body", args->data);
    text_set(spec, "overlap", args->overlap);
    text_set(spec, "catchUpWindow", args->catch_up);
    text_set(spec, "deadline", args->deadline);
    if (args->suspend)
        json_object_set_new(spec, "suspend", json_true());
    int r = headers_set(spec, &args->headers, e);
    if (r < 0)
        return cli_usage(c, e);
    AUTO_JSON json_t *object = json_pack("{s:s, s:s, s:{s:s}, s:O}", "apiVersion", "hob.dev/v1", "kind", "Schedule", "metadata", "name",
                                         name, "spec", spec);
    AUTO_FREE char *target = kinds_target(kind(), c->global.ns, NULL);
    r = remote_send(c, "POST", target, object, &made, e);
    if (r == 0)
        buf_printf(&c->out, "schedule/%s created\n", name);
    return r;
}

static int merge(struct cli *c, const char *name, json_t *take_patch, const char *done, struct err *e)
{
    AUTO_JSON json_t *patch = take_patch;
    AUTO_FREE char *target = kinds_target(kind(), c->global.ns, name);
    int r = remote_merge(c, target, patch, e);
    if (r == 0)
        buf_printf(&c->out, "schedule/%s %s\n", name, done);
    return r;
}

static int suspend(struct cli *c, const char *name, bool paused, struct err *e)
{
    return merge(c, name, json_pack("{s:{s:b}}", "spec", "suspend", (int)paused), paused ? "paused" : "resumed", e);
}

static int trigger(struct cli *c, const char *name, struct err *e)
{
    struct timespec now;
    char text[40];
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(text, sizeof text, "%lld.%09ld", (long long)now.tv_sec, now.tv_nsec); /* another one each time */
    return merge(c, name, json_pack("{s:{s:{s:s}}}", "metadata", "annotations", "hob.dev/trigger", text), "triggered", e);
}

static int drop(struct cli *c, const char *name, struct err *e)
{
    AUTO_FREE char *target = kinds_target(kind(), c->global.ns, name);
    int r = remote_send(c, "DELETE", target, NULL, NULL, e);
    if (r == 0)
        buf_printf(&c->out, "schedule/%s deleted\n", name);
    return r;
}

static int deed(struct cli *c, const char *verb, const char *name, struct err *e)
{
    if (strcmp(verb, "describe") == 0)
        return describe(c, name, e);
    if (strcmp(verb, "create") == 0)
        return create(c, name, e);
    if (strcmp(verb, "pause") == 0 || strcmp(verb, "resume") == 0)
        return suspend(c, name, verb[0] == 'p', e);
    return strcmp(verb, "trigger") == 0 ? trigger(c, name, e) : drop(c, name, e);
}

static int run(struct cli *c, struct err *e)
{
    static const char *const deeds[] = { "describe", "create", "pause", "resume", "trigger", "delete" };
    const char *verb = c->words.count ? c->words.at[0] : "list";
    if (strcmp(verb, "list") == 0 && c->words.count <= 1)
        return list(c, e);
    for (size_t i = 0; i < COUNT_OF(deeds); i++)
        if (strcmp(verb, deeds[i]) == 0 && c->words.count == 2)
            return deed(c, verb, c->words.at[1], e);
    err_set(e, CODE_INVALID, "it is hob schedule list, or create, describe, pause, resume, trigger or delete with a NAME");
    return cli_usage(c, e);
}

const struct cli_command cmd_schedule = {
    .name = "schedule",
    .summary = "call a function when its time has come",
    .words = "[list | create NAME | describe NAME | pause NAME | resume NAME | trigger NAME | delete NAME]",
    .examples = "hob schedule create nightly --service report --at '0 3 * * 1-5' --time-zone Europe/Paris\n"
                "hob schedule trigger nightly  once more, now\n"
                "hob schedule  all of them, and when they are next",
    .notes = "Each time is one durable invocation, also when hob is killed at that moment: `hob invocation get` with the LAST INVOCATION says what\n"
             "became of it. With files: kind Schedule of hob.dev/v1, `hob apply -f`.",
    .opts = opts,
    .opt_count = COUNT_OF(opts),
    .args_size = sizeof(struct args),
    .words_max = 2,
    .choices = "list|create|describe|pause|resume|trigger|delete",
    .run = run,
};
