/* hob get: services and revisions as a list. */
#include "cli/commands.h"
#include "cli/human.h"
#include "cli/objects.h"
#include "cli/output.h"
#include "cli/remote.h"
#include "cli/table.h"

struct args {
    const char *output;
    bool all;
};

static const struct opt opts[] = {
    OUTPUT_ROW(struct args, OUTPUT_ALL),
    { "all-namespaces", 'A', OPT_FLAG, offsetof(struct args, all), NULL, "of every namespace" },
};

static const struct table_column service_columns[] = {
    { "NAMESPACE", .wide = true },
    { "NAME" },
    { "READY" },
    { "URL" },
    { "REVISION" },
    { "AGE", .right = true },
    { "REASON" },
    { "SCALE", .wide = true },
    { "IMAGE", .wide = true },
};

static void service_row(const struct cli *c, struct table *t, const json_t *j)
{
    struct object_condition ready = object_condition(j, "Ready");
    table_cell(t, STYLE_PLAIN, "%s", object_text(j, "metadata.namespace"));
    table_cell(t, STYLE_BOLD, "%s", object_text(j, "metadata.name"));
    table_cell(t, ready.style, "%s", ready.status);
    table_cell(t, STYLE_PLAIN, "%s", object_text(j, "status.url"));
    table_cell(t, STYLE_PLAIN, "%s", object_serving(j, (char[OBJECT_SERVING]){ 0 }));
    table_cell(t, STYLE_PLAIN, "%s", object_age(c, j, HUMAN));
    table_cell(t, ready.style, "%s", ready.reason);
    table_cell(t, STYLE_PLAIN, "%s", object_scale(j, HUMAN));
    table_cell(t, STYLE_PLAIN, "%s", object_text(j, "spec.template.spec.containers.0.image"));
}

static const struct table_column revision_columns[] = {
    { "NAMESPACE", .wide = true },
    { "NAME" },
    { "SERVICE" },
    { "GENERATION", .right = true },
    { "READY" },
    { "AGE", .right = true },
    { "REASON" },
    { "IMAGE", .wide = true },
};

static void revision_row(const struct cli *c, struct table *t, const json_t *j)
{
    struct object_condition ready = object_condition(j, "Ready");
    table_cell(t, STYLE_PLAIN, "%s", object_text(j, "metadata.namespace"));
    table_cell(t, STYLE_BOLD, "%s", object_text(j, "metadata.name"));
    table_cell(t, STYLE_PLAIN, "%s", object_label(j, "serving.knative.dev/service"));
    table_cell(t, STYLE_PLAIN, "%s",
               object_label(j, "serving.knative.dev/configurationGeneration"));
    table_cell(t, ready.style, "%s", ready.status);
    table_cell(t, STYLE_PLAIN, "%s", object_age(c, j, HUMAN));
    table_cell(t, ready.style, "%s", ready.reason);
    table_cell(t, STYLE_PLAIN, "%s", object_text(j, "spec.containers.0.image"));
}

static const struct noun {
    const char *plural, *names; /* names: every way to write it */
    const struct table_column *columns;
    size_t column_count;
    void (*row)(const struct cli *c, struct table *t, const json_t *j);
} nouns[] = {
    { "services", "services|service|ksvc|svc", service_columns, COUNT_OF(service_columns),
      service_row },
    { "revisions", "revisions|revision|rev", revision_columns, COUNT_OF(revision_columns),
      revision_row },
};

static const struct noun *noun_find(struct str word)
{
    for (size_t i = 0; i < COUNT_OF(nouns); i++) {
        struct str rest = str_of(nouns[i].names), name;
        while (opt_choice_next(&rest, &name))
            if (str_eq(name, word))
                return &nouns[i];
    }
    return NULL;
}

/* `get services a b`, `get service/a`, and `get a`: what is no noun is a service's name. */
static const struct noun *noun_of(struct opt_words *words)
{
    const struct noun *noun = NULL;
    if (words->count == 0)
        return &nouns[0];
    struct str name = str_of(words->at[0]), kind = str_cut(&name, '/');
    noun = noun_find(kind);
    if (noun && strchr(words->at[0], '/')) {
        words->at[0] = name.at;
    } else if (noun) {
        words->count--;
        memmove(words->at, words->at + 1, words->count * sizeof words->at[0]);
    }
    return noun ? noun : &nouns[0];
}

static int get_named(struct cli *c, const struct noun *noun, json_t **ret, struct err *e)
{
    AUTO_JSON json_t *items = json_array();
    for (size_t i = 0; i < c->words.count; i++) {
        const char *name = c->words.at[i];
        json_t *one = NULL;
        AUTO_FREE char *target = remote_target(REMOTE_KNATIVE "/namespaces/", c->global.ns, "/",
                                               noun->plural, "/", name, NULL);
        int r = remote_get(c, target, &one, e);
        if (r == -CODE_NOT_FOUND && noun == &nouns[0])
            remote_suggest_service(c, name, e);
        if (r < 0)
            return r;
        json_array_append_new(items, one);
    }
    *ret = json_pack("{s:s, s:s, s:O}", "apiVersion", "v1", "kind", "List", "items", items);
    return 0;
}

static int get_list(struct cli *c, const struct noun *noun, json_t **ret, struct err *e)
{
    const struct args *args = c->args;
    AUTO_FREE char *all = remote_target(REMOTE_KNATIVE "/", noun->plural, NULL);
    AUTO_FREE char *some =
        remote_target(REMOTE_KNATIVE "/namespaces/", c->global.ns, "/", noun->plural, NULL);
    return remote_get(c, args->all ? all : some, ret, e);
}

static void show_table(struct cli *c, const struct noun *noun, const json_t *list, bool wide)
{
    const struct args *args = c->args;
    struct table_column columns[TABLE_COLUMNS_MAX];
    struct table t;
    json_t *one;
    size_t i;
    memcpy(columns, noun->columns, noun->column_count * sizeof columns[0]);
    columns[0].wide = !args->all; /* the namespace */
    table_init(&t, columns, noun->column_count, wide);
    json_array_foreach(json_at(list, "items"), i, one)
        noun->row(c, &t, one);
    if (t.cell_count)
        table_write(&t, &c->out_term, &c->out);
    else if (args->all)
        cli_note(c, "no %s yet; `hob apply -f FILE` or `hob deploy` makes one", noun->plural);
    else
        cli_note(c, "no %s in namespace %s; -A shows every namespace", noun->plural, c->global.ns);
    table_done(&t);
}

static int run(struct cli *c, struct err *e)
{
    const struct args *args = c->args;
    const struct noun *noun = noun_of(&c->words);
    enum output o = output_of(c, args->output);
    AUTO_JSON json_t *list = NULL;
    int r = c->words.count ? get_named(c, noun, &list, e) : get_list(c, noun, &list, e);
    if (r < 0)
        return r;
    if (o == OUTPUT_TABLE || o == OUTPUT_WIDE)
        show_table(c, noun, list, o == OUTPUT_WIDE);
    else if (c->words.count == 1)
        output_tree(c, o, json_at(list, "items.0"));
    else
        output_tree(c, o, list);
    return EXITS_OK;
}

const struct cli_command cmd_get = {
    .name = "get",
    .summary = "list services or revisions",
    .words = "[services|revisions] [NAME...]",
    .examples = "hob get  the services of the namespace\n"
                "hob get -A -o wide  of every namespace, with images and scale\n"
                "hob get revisions  every revision\n"
                "hob get greeter -o yaml  one service, whole",
    .opts = opts,
    .opt_count = COUNT_OF(opts),
    .args_size = sizeof(struct args),
    .words_max = OPT_WORDS_MAX,
    .complete = OPT_COMPLETE_SERVICES,
    .choices = "services|revisions",
    .run = run,
};
