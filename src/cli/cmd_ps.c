/* hob ps: the instances that exist now. */
#include "cli/commands.h"
#include "cli/human.h"
#include "cli/objects.h"
#include "cli/output.h"
#include "cli/remote.h"
#include "base/suggest.h"
#include "cli/table.h"

struct args {
    const char *output;
    bool all;
};

static const struct opt opts[] = {
    OUTPUT_ROW(struct args, OUTPUT_ALL),
    { "all-namespaces", 'A', OPT_FLAG, offsetof(struct args, all), NULL, "of every namespace" },
};

static const struct table_column columns[] = {
    { "NAMESPACE" },
    { "INSTANCE" },
    { "STATE" },
    { "IN FLIGHT", .right = true },
    { "REQUESTS", .right = true },
    { "IDLE", .right = true },
    { "AGE", .right = true },
    { "MEMORY", .right = true },
    { "CPU", .right = true },
    { "REVISION", .wide = true },
};

static enum style style_of(const char *state)
{
    if (strcmp(state, "ready") == 0 || strcmp(state, "busy") == 0)
        return STYLE_GOOD;
    return strcmp(state, "failed") == 0 ? STYLE_BAD : STYLE_WARN;
}

static bool wanted(const struct cli *c, const json_t *j)
{
    const struct args *args = c->args;
    if (!args->all && strcmp(object_text(j, "namespace"), c->global.ns) != 0)
        return false;
    for (size_t i = 0; i < c->words.count; i++)
        if (strcmp(object_text(j, "service"), c->words.at[i]) == 0)
            return true;
    return c->words.count == 0;
}

static void row(struct table *t, const json_t *j)
{
    const char *state = object_text(j, "state");
    table_cell(t, STYLE_PLAIN, "%s", object_text(j, "namespace"));
    table_cell(t, STYLE_BOLD, "%s", object_text(j, "id"));
    table_cell(t, style_of(state), "%s", state);
    table_cell(t, STYLE_PLAIN, "%lld", (long long)json_int_at(j, "inFlight", 0));
    table_cell(t, STYLE_PLAIN, "%lld", (long long)json_int_at(j, "requests", 0));
    table_cell(t, STYLE_PLAIN, "%s", /* absent while it works */
               json_at(j, "idleSeconds") ? human_age(json_int_at(j, "idleSeconds", 0), HUMAN) : "");
    table_cell(t, STYLE_PLAIN, "%s", human_age(json_int_at(j, "ageSeconds", 0), HUMAN));
    uint64_t memory = (uint64_t)MAX(json_int_at(j, "memoryBytes", 0), 0);
    table_cell(t, STYLE_PLAIN, "%s",
               memory ? human_bytes(memory, HUMAN) : ""); /* absent: not known */
    table_cell(t, STYLE_PLAIN, "%s",
               json_at(j, "cpuUs") ? human_us(json_int_at(j, "cpuUs", 0), HUMAN) : "");
    table_cell(t, STYLE_PLAIN, "%s", object_text(j, "revision"));
}

/* Those beside the one that serves, below it. */
static void containers_rows(struct table *t, const json_t *j)
{
    json_t *one;
    size_t i;
    json_array_foreach(json_at(j, "containers"), i, one) {
        const char *state = object_text(one, "state");
        long long restarts = (long long)json_int_at(one, "restarts", 0);
        table_cell(t, STYLE_PLAIN, "%s", "");
        table_cell(t, STYLE_PLAIN, "  %s %s", object_text(one, "part"), object_text(one, "name"));
        if (restarts)
            table_cell(t, style_of(state), "%s, %lld restart%s", state, restarts, restarts == 1 ? "" : "s");
        else
            table_cell(t, strcmp(state, "completed") == 0 ? STYLE_PLAIN : style_of(state), "%s", state);
        for (size_t k = 3; k < COUNT_OF(columns); k++)
            table_cell(t, STYLE_PLAIN, "%s", "");
    }
}

/* No instance is what zero looks like; no such service is a slip of the hand. */
static int known(struct cli *c, const char *name, struct err *e)
{
    const struct args *args = c->args;
    AUTO_JSON json_t *found = NULL;
    struct suggest near = suggest_begin(str_of(name));
    json_t *one;
    size_t i;

    if (!args->all)
        return remote_service(c, name, &found, e);
    int r = remote_get(c, REMOTE_KNATIVE "/services", &found, e);
    if (r < 0)
        return r;
    json_array_foreach(json_at(found, "items"), i, one) {
        if (strcmp(object_text(one, "metadata.name"), name) == 0)
            return 0;
        suggest_offer(&near, str_of(object_text(one, "metadata.name")));
    }
    return err_set(e, CODE_NOT_FOUND, "service %s: not found in any namespace%s", name,
                   suggest_phrase(&near, (char[SUGGEST_TEXT]){ 0 }));
}

static int words_known(struct cli *c, const json_t *items, struct err *e)
{
    for (size_t w = 0; w < c->words.count; w++) {
        bool runs = false;
        json_t *one;
        size_t i;
        json_array_foreach(items, i, one)
            runs |= strcmp(object_text(one, "service"), c->words.at[w]) == 0;
        int r = runs ? 0 : known(c, c->words.at[w], e);
        if (r < 0)
            return r;
    }
    return 0;
}

static int run(struct cli *c, struct err *e)
{
    const struct args *args = c->args;
    enum output o = output_of(c, args->output);
    struct table_column shown[COUNT_OF(columns)];
    AUTO_JSON json_t *all = NULL;
    AUTO_JSON json_t *items = json_array();
    struct table t;
    json_t *one;
    size_t i;

    int r = remote_get(c, "/v1/instances", &all, e);
    if (r < 0)
        return r;
    json_array_foreach(json_at(all, "items"), i, one)
        if (wanted(c, one))
            json_array_append(items, one);
    r = words_known(c, items, e);
    if (r < 0)
        return r;
    if (o != OUTPUT_TABLE && o != OUTPUT_WIDE) {
        AUTO_JSON json_t *list = json_pack("{s:O}", "items", items);
        output_tree(c, o, list);
        return EXITS_OK;
    }
    memcpy(shown, columns, sizeof shown);
    shown[0].wide = !args->all;
    table_init(&t, shown, COUNT_OF(shown), o == OUTPUT_WIDE);
    json_array_foreach(items, i, one) {
        row(&t, one);
        containers_rows(&t, one);
    }
    if (t.cell_count)
        table_write(&t, &c->out_term, &c->out);
    else
        cli_note(c, "no instance is running%s",
                 args->all ? ""
                           : " in this namespace; that is what zero "
                             "looks like");
    table_done(&t);
    return EXITS_OK;
}

const struct cli_command cmd_ps = {
    .name = "ps",
    .summary = "the instances that exist now",
    .words = "[NAME...]",
    .examples = "hob ps  of the namespace\n"
                "hob ps greeter  of one service\n"
                "hob ps -A -o jsonl  all, for a program",
    .opts = opts,
    .opt_count = COUNT_OF(opts),
    .args_size = sizeof(struct args),
    .words_max = OPT_WORDS_MAX,
    .complete = OPT_COMPLETE_SERVICES,
    .run = run,
};
