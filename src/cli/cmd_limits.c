/* hob limits: every bound, its value, and whether it was reached. */
#include "cli/commands.h"
#include "cli/human.h"
#include "cli/objects.h"
#include "cli/output.h"
#include "cli/remote.h"
#include "base/suggest.h"
#include "cli/table.h"

struct args {
    const char *output;
    bool reached;
};

static const struct opt opts[] = {
    OUTPUT_ROW(struct args, OUTPUT_DATA),
    { "reached", 0, OPT_FLAG, offsetof(struct args, reached), NULL,
      "only those that were reached" },
};

static const struct table_column columns[] = {
    { "LIMIT" },    { "VALUE", .right = true }, { "UNIT" }, { "REACHED", .right = true },
    { "WHAT FOR" },
};

/* The table as built, for when no server answers. */
static json_t *built_in(void)
{
    json_t *items = json_array();
    for (size_t i = 0; i < limit_row_count; i++) {
        const struct limit_row *row = &limit_rows[i];
        json_array_append_new(items, json_pack("{s:s, s:I, s:I, s:s, s:s}", "name", row->name,
                                               "value", (json_int_t)row->initial, "default",
                                               (json_int_t)row->initial, "unit", row->unit, "help",
                                               row->help));
    }
    return json_pack("{s:o}", "items", items);
}

static bool named(const struct cli *c, const char *name)
{
    for (size_t i = 0; i < c->words.count; i++)
        if (strcmp(c->words.at[i], name) == 0)
            return true;
    return c->words.count == 0;
}

static int names_check(const struct cli *c, const json_t *items, struct err *e)
{
    json_t *one;
    size_t k;
    for (size_t i = 0; i < c->words.count; i++) {
        struct suggest near = suggest_begin(str_of(c->words.at[i]));
        bool found = false;
        json_array_foreach(items, k, one) {
            found |= strcmp(object_text(one, "name"), c->words.at[i]) == 0;
            suggest_offer(&near, str_of(object_text(one, "name")));
        }
        if (!found)
            return err_set(e, CODE_NOT_FOUND, "limit '%s': no limit has this name%s",
                           c->words.at[i], suggest_phrase(&near, (char[SUGGEST_TEXT]){ 0 }));
    }
    return 0;
}

static const char *value_text(const json_t *j, char into[HUMAN_TEXT])
{
    uint64_t value = (uint64_t)MAX(json_int_at(j, "value", 0), 0);
    if (strcmp(object_text(j, "unit"), "bytes") == 0 && value >= 1024)
        return human_bytes(value, into);
    snprintf(into, HUMAN_TEXT, "%llu", (unsigned long long)value);
    return into;
}

static void show(struct cli *c, const json_t *items)
{
    struct table t;
    json_t *one;
    size_t i;
    table_init(&t, columns, COUNT_OF(columns), false);
    json_array_foreach(items, i, one) {
        int64_t value = json_int_at(one, "value", 0), reached = json_int_at(one, "reached", 0);
        bool changed = value != json_int_at(one, "default", value);
        const char *unit = object_text(one, "unit");
        table_cell(&t, STYLE_PLAIN, "%s", object_text(one, "name"));
        table_cell(&t, changed ? STYLE_BOLD : STYLE_PLAIN, "%s%s", value_text(one, HUMAN),
                   changed ? " *" : "");
        table_cell(&t, STYLE_DIM, "%s", strcmp(unit, "bytes") == 0 ? "" : unit);
        if (reached)
            table_cell(&t, STYLE_BAD, "%lld", (long long)reached);
        else
            table_cell(&t, STYLE_PLAIN, "%s", "");
        table_cell(&t, STYLE_DIM, "%s", object_text(one, "help"));
    }
    if (t.cell_count)
        table_write(&t, &c->out_term, &c->out);
    else
        cli_note(c, "no limit was reached");
    table_done(&t);
}

static int run(struct cli *c, struct err *e)
{
    const struct args *args = c->args;
    enum output o = output_of(c, args->output);
    AUTO_JSON json_t *all = NULL;
    AUTO_JSON json_t *items = json_array();
    struct err absent = { 0 };
    json_t *one;
    size_t i;

    int r = remote_get(c, "/v1/limits", &all, &absent);
    if (r == -CODE_UNAVAILABLE) {
        cli_note(c, "no server at %s; these are the limits as built", c->global.server);
        all = built_in();
    } else if (r < 0) {
        *e = absent;
        return r;
    }
    r = names_check(c, json_at(all, "items"), e);
    if (r < 0)
        return r;
    json_array_foreach(json_at(all, "items"), i, one)
        if (named(c, object_text(one, "name")) &&
            (!args->reached || json_int_at(one, "reached", 0) > 0))
            json_array_append(items, one);
    if (o == OUTPUT_TABLE) {
        show(c, items);
        return EXITS_OK;
    }
    AUTO_JSON json_t *list = json_pack("{s:O}", "items", items);
    output_tree(c, o, list);
    return EXITS_OK;
}

const struct cli_command cmd_limits = {
    .name = "limits",
    .summary = "every bound, its value, and how often it was reached",
    .words = "[NAME...]",
    .examples = "hob limits\n"
                "hob limits --reached  what refused or dropped something\n"
                "hob limits queue_depth_max starts_max  some of them",
    .notes =
        "A star marks what differs from the default; `hob serve --limit NAME=VALUE` changes one.",
    .opts = opts,
    .opt_count = COUNT_OF(opts),
    .args_size = sizeof(struct args),
    .words_max = OPT_WORDS_MAX,
    .complete = OPT_COMPLETE_NONE,
    .run = run,
};
