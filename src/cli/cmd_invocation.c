/* hob invocation: durable invocations, what became of them, and what can still be done about it. */
#include "cli/commands.h"
#include "cli/human.h"
#include "cli/objects.h"
#include "cli/output.h"
#include "cli/remote.h"
#include "cli/table.h"
#include "net/http_client.h"

#include <stdio.h>
#include <stdlib.h>

enum { LIMIT_DEFAULT = 50, LIMIT_MAX = 1000, WAIT_MS_MAX = 600000, SLACK_MS = 10000 };

struct args {
    const char *service, *status, *key, *output;
    uint32_t limit, wait_ms;
};
static const struct args defaults = { .limit = LIMIT_DEFAULT };

static const struct opt opts[] = {
#define AT(field) offsetof(struct args, field)
    { "service", 0, OPT_TEXT, AT(service), "NAME", "of this service only; and whose key --key is", .complete = OPT_COMPLETE_SERVICES },
    { "status", 0, OPT_TEXT, AT(status), "LIST", "list: accepted, running, done, failed, dead, cancelled, ambiguous; several with commas" },
    { "limit", 0, OPT_U32, AT(limit), "N", "list: how many (default 50)", .min = 1, .max = LIMIT_MAX },
    { "key", 'k', OPT_TEXT, AT(key), "KEY", "get, result: the one that was accepted under this Idempotency-Key, instead of an ID" },
    { "wait", 'w', OPT_MS, AT(wait_ms), "TIME", "get, result: so long for its end", .max = WAIT_MS_MAX },
#undef AT
    OUTPUT_ROW(struct args, OUTPUT_ALL),
};

static const struct table_column columns[] = {
    { "ID" }, { "SERVICE" }, { "STATUS" }, { "ATTEMPT", .right = true }, { "ANSWER", .right = true }, { "ACCEPTED", .right = true },
    { "ENDED", .right = true }, { "METHOD", .wide = true }, { "PATH", .wide = true }, { "KEY", .wide = true }, { "WHY", .wide = true },
};

static enum style style_of(const char *status)
{
    static const char *const bad[] = { "failed", "dead", "ambiguous" };
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        if (strcmp(status, bad[i]) == 0)
            return STYLE_BAD;
    return strcmp(status, "done") == 0 ? STYLE_GOOD : STYLE_WARN;
}

static void number_cell(struct table *t, const json_t *j, const char *member)
{
    int64_t n = json_int_at(j, member, 0);
    if (n > 0)
        table_cell(t, STYLE_PLAIN, "%lld", (long long)n);
    else
        table_cell(t, STYLE_PLAIN, "-");
}

static void row(const struct cli *c, struct table *t, const json_t *j)
{
    table_cell(t, STYLE_BOLD, "%s", object_text(j, "id"));
    table_cell(t, STYLE_PLAIN, "%s", object_text(j, "service"));
    table_cell(t, style_of(object_text(j, "status")), "%s", object_text(j, "status"));
    number_cell(t, j, "attempt");
    number_cell(t, j, "answer_status");
    table_cell(t, STYLE_PLAIN, "%s", object_time(c, object_text(j, "accepted_at"), HUMAN));
    table_cell(t, STYLE_PLAIN, "%s", object_text(j, "ended_at")[0] ? object_time(c, object_text(j, "ended_at"), HUMAN) : "-");
    table_cell(t, STYLE_PLAIN, "%s", object_text(j, "method"));
    table_cell(t, STYLE_PLAIN, "%s", object_text(j, "path"));
    table_cell(t, STYLE_PLAIN, "%s", object_text(j, "key"));
    table_cell(t, STYLE_PLAIN, "%s", object_text(j, "why"));
}

/* As a list that output_tree() knows. */
static json_t *items_of(const json_t *list)
{
    return json_pack("{s:O*}", "items", json_at(list, "invocations"));
}

static int list(struct cli *c, struct err *e)
{
    const struct args *args = c->args;
    enum output o = output_of(c, args->output);
    char limit[16];
    AUTO_JSON json_t *told = NULL;
    struct table t;
    json_t *one;
    size_t i;
    snprintf(limit, sizeof limit, "%u", args->limit);
    AUTO_FREE char *target = remote_target("/v1/invocations?durable=true&namespace=", c->global.ns, "&limit=", limit, "&service=",
                                           args->service ? args->service : "", "&status=", args->status ? args->status : "", NULL);
    int r = remote_get(c, target, &told, e);
    if (r < 0)
        return r;
    if (o != OUTPUT_TABLE && o != OUTPUT_WIDE) {
        AUTO_JSON json_t *items = items_of(told);
        output_tree(c, o, items);
        return EXITS_OK;
    }
    table_init(&t, columns, COUNT_OF(columns), o == OUTPUT_WIDE);
    json_array_foreach(json_at(told, "invocations"), i, one)
        row(c, &t, one);
    if (t.cell_count)
        table_write(&t, &c->out_term, &c->out);
    else
        cli_note(c, "there are none of this kind");
    if (json_text_at(told, "next"))
        cli_note(c, "there are more; --limit takes up to %d", LIMIT_MAX);
    table_done(&t);
    return EXITS_OK;
}

/* ---- one ---- */

static char *wait_text(const struct args *args)
{
    return args->wait_ms ? xasprintf("%u.%03u", args->wait_ms / 1000, args->wait_ms % 1000) : xstrdup("");
}

static int looked_up(struct cli *c, const char *id, json_t **ret, struct err *e)
{
    const struct args *args = c->args;
    AUTO_FREE char *wait = wait_text(args);
    AUTO_FREE char *target =
        id ? remote_target("/v1/invocations/", id, "?wait=", wait, NULL)
           : remote_target("/v1/invocations?namespace=", c->global.ns, "&service=", args->service, "&key=", args->key, "&wait=", wait, NULL);
    if (!args->wait_ms)
        *strstr(target, id ? "?wait=" : "&wait=") = '\0';
    struct http_client_answer answer = { 0 };
    int r = remote_raw(c, "GET", target, args->wait_ms + SLACK_MS, &answer, e);
    if (r == 0 && answer.status >= 400)
        r = remote_error(answer.status, buf_str(&answer.body), &c->limits, e);
    else if (r == 0)
        r = json_read(buf_str(&answer.body), &c->limits, ret, e);
    http_client_answer_done(&answer);
    if (r == 0 && !json_text_at(*ret, "status"))
        return err_set(e, CODE_NOT_FOUND, "%s: this is the record of a call that was not durable; see: hob explain %s", id, id);
    return r;
}

static void line(struct cli *c, const json_t *j, const char *label, const char *member)
{
    const json_t *at = json_at(j, member);
    struct buf clean;
    if (!at || json_is_false(at))
        return;
    buf_init(&clean, KIB(64));
    term_clean(&clean, str_of(json_is_string(at) ? json_string_value(at) : ""), false);
    if (json_is_integer(at))
        buf_printf(&clean, "%lld", (long long)json_integer_value(at));
    else if (json_is_true(at))
        buf_text(&clean, "yes");
    buf_printf(&c->out, "%-12s " STR_FMT "\n", label, STR_ARG(buf_str(&clean)));
    buf_done(&clean);
}

static void show(struct cli *c, const json_t *j)
{
    static const struct {
        const char *label, *member;
    } lines[] = {
        { "id", "id" }, { "service", "service" }, { "request", "method" }, { "path", "path" }, { "key", "key" }, { "status", "status" },
        { "why", "why" }, { "attempt", "attempt" }, { "of", "attempts_max" }, { "repeatable", "safe" }, { "accepted", "accepted_at" },
        { "deadline", "deadline" }, { "next attempt", "next_attempt_at" }, { "ended", "ended_at" }, { "answer", "answer_status" },
        { "bytes", "answer_size" }, { "redriven", "redrives" }, { "checkpoint", "checkpoint_size" }, { "callback", "callback.url" },
        { "told", "callback.done" },
    };
    json_t *one;
    size_t i;
    for (size_t n = 0; n < COUNT_OF(lines); n++)
        line(c, j, lines[n].label, lines[n].member);
    json_array_foreach(json_at(j, "attempts"), i, one)
        buf_printf(&c->out, "%-12s attempt %lld: hob explain %s\n", i ? "" : "records", (long long)json_int_at(one, "attempt", 0),
                   object_text(one, "record"));
}

static int get(struct cli *c, const char *id, struct err *e)
{
    const struct args *args = c->args;
    enum output o = output_of(c, args->output);
    AUTO_JSON json_t *j = NULL;
    int r = looked_up(c, id, &j, e);
    if (r < 0)
        return r;
    if (o == OUTPUT_TABLE || o == OUTPUT_WIDE)
        show(c, j);
    else
        output_tree(c, o, j);
    return strcmp(object_text(j, "status"), "ambiguous") == 0 ? EXITS_AMBIGUOUS : EXITS_OK;
}

/* What hob says instead of an answer. */
static int no_result(struct cli *c, const struct http_client_answer *answer, struct err *e)
{
    struct err ignored;
    AUTO_JSON json_t *j = NULL;
    int r = remote_error(answer->status, buf_str(&answer->body), &c->limits, e);
    if (json_read(buf_str(&answer->body), &c->limits, &j, &ignored) < 0)
        return r;
    if (strcmp(object_text(j, "title"), "it has not ended") == 0)
        return err_set(e, CODE_ABORTED, "it has not ended; --wait 30s waits for that");
    if (strcmp(object_text(j, "title"), "ambiguous") == 0) {
        e->code = CODE_DEADLINE; /* it may have happened: the exit status says so */
        return -CODE_DEADLINE;
    }
    return r;
}

static int result(struct cli *c, const char *id, struct err *e)
{
    const struct args *args = c->args;
    AUTO_JSON json_t *j = NULL;
    AUTO_FREE char *wait = wait_text(args);
    int r = id ? 0 : looked_up(c, NULL, &j, e);
    if (r < 0)
        return r;
    AUTO_FREE char *target = remote_target("/v1/invocations/", id ? id : object_text(j, "id"), args->wait_ms ? "/result?wait=" : "/result",
                                           args->wait_ms ? wait : NULL, NULL);
    struct http_client_answer answer = { 0 };
    r = remote_raw(c, "GET", target, args->wait_ms + SLACK_MS, &answer, e);
    struct str told = r == 0 ? http_client_header(&answer, "hob-answer-status") : (struct str){ 0 };
    uint64_t status = 0;
    if (r == 0 && !(told.size > 0 && str_u64(told, &status)))
        r = no_result(c, &answer, e);
    else if (r == 0) {
        buf_str_append(&c->out, buf_str(&answer.body));
        r = status >= 500 ? EXITS_FUNCTION : EXITS_OK;
    }
    http_client_answer_done(&answer);
    return r;
}

/* ---- changes ---- */

static int each(struct cli *c, const char *method, const char *tail, const char *done, struct err *e)
{
    for (size_t i = 1; i < c->words.count; i++) {
        AUTO_JSON json_t *j = NULL;
        AUTO_FREE char *target = remote_target("/v1/invocations/", c->words.at[i], tail, NULL);
        int r = remote_send(c, method, target, NULL, &j, e);
        if (r < 0)
            return r;
        buf_printf(&c->out, "%s %s: it is %s now\n", c->words.at[i], done, object_text(j, "status"));
    }
    return EXITS_OK;
}

static int one_of(struct cli *c, const char *verb, struct err *e)
{
    const struct args *args = c->args;
    const char *id = c->words.count > 1 ? c->words.at[1] : NULL;
    if (c->words.count > 2 || (!id && !args->key) || (args->key && !args->service) || (id && args->key)) {
        err_set(e, CODE_INVALID, "which one? hob invocation %s ID, or %s --service NAME --key KEY", verb, verb);
        return cli_usage(c, e);
    }
    return strcmp(verb, "get") == 0 ? get(c, id, e) : result(c, id, e);
}

static int run(struct cli *c, struct err *e)
{
    const char *verb = c->words.count ? c->words.at[0] : "list";
    if (strcmp(verb, "list") == 0 && c->words.count <= 1)
        return list(c, e);
    if (strcmp(verb, "get") == 0 || strcmp(verb, "result") == 0)
        return one_of(c, verb, e);
    if (strcmp(verb, "cancel") == 0 && c->words.count > 1)
        return each(c, "DELETE", "", "is cancelled", e);
    if (strcmp(verb, "redrive") == 0 && c->words.count > 1)
        return each(c, "POST", "/redrive", "is driven again", e);
    err_set(e, CODE_INVALID, "it is hob invocation list, get ID, result ID, cancel ID... or redrive ID...");
    return cli_usage(c, e);
}

const struct cli_command cmd_invocation = {
    .name = "invocation",
    .summary = "durable invocations: what became of them",
    .words = "[list | get ID | result ID | cancel ID... | redrive ID...]",
    .examples = "hob invocation --status dead,ambiguous  what needs somebody\n"
                "hob invocation get 01890a5d-ac96-774b-bcce-b302099a8057 --wait 30s  how it stands, or ends\n"
                "hob invocation result --service report --key nightly-7  what the function answered\n"
                "hob invocation redrive 01890a5d-ac96-774b-bcce-b302099a8057  as many attempts again",
    .notes = "`hob invoke --async` and `--key` make them. get and result exit with 7 where nobody knows what the function did (ambiguous), result\n"
             "with 8 where it answered 5xx, and with 3 where no such invocation was accepted, or its retention is over.",
    .opts = opts,
    .opt_count = COUNT_OF(opts),
    .args_size = sizeof(struct args),
    .defaults = &defaults,
    .words_max = OPT_WORDS_MAX,
    .choices = "list|get|result|cancel|redrive",
    .run = run,
};
