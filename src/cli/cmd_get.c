/* hob get: services and revisions as a list, every other kind as the server shows it. */
#include "cli/commands.h"
#include "cli/human.h"
#include "cli/kinds.h"
#include "cli/objects.h"
#include "cli/output.h"
#include "cli/remote.h"
#include "cli/served_table.h"
#include "cli/table.h"

#include <stdio.h>

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
    { "DIGEST" },
    { "AGE", .right = true },
    { "REASON" },
    { "IMAGE", .wide = true },
};

/* Twelve digits tell copies of one folder apart; "" until the first start has pinned it. */
static const char *digest_short(const json_t *revision, char into[HUMAN_TEXT])
{
    const char *digest = object_text(revision, "status.containerStatuses.0.imageDigest");
    const char *mark = strstr(digest, "sha256:");
    snprintf(into, HUMAN_TEXT, "%.12s", mark ? mark + strlen("sha256:") : "");
    return into;
}

static void revision_row(const struct cli *c, struct table *t, const json_t *j)
{
    struct object_condition ready = object_condition(j, "Ready");
    table_cell(t, STYLE_PLAIN, "%s", object_text(j, "metadata.namespace"));
    table_cell(t, STYLE_BOLD, "%s", object_text(j, "metadata.name"));
    table_cell(t, STYLE_PLAIN, "%s", object_label(j, "serving.knative.dev/service"));
    table_cell(t, STYLE_PLAIN, "%s",
               object_label(j, "serving.knative.dev/configurationGeneration"));
    table_cell(t, ready.style, "%s", ready.status);
    table_cell(t, STYLE_PLAIN, "%s", digest_short(j, HUMAN));
    table_cell(t, STYLE_PLAIN, "%s", object_age(c, j, HUMAN));
    table_cell(t, ready.style, "%s", ready.reason);
    table_cell(t, STYLE_PLAIN, "%s", object_text(j, "spec.containers.0.image"));
}

/* The kinds with columns of our own. */
static const struct noun {
    const char *full;
    const struct table_column *columns;
    size_t column_count;
    void (*row)(const struct cli *c, struct table *t, const json_t *j);
} nouns[] = {
    { "services.serving.knative.dev", service_columns, COUNT_OF(service_columns), service_row },
    { "revisions.serving.knative.dev", revision_columns, COUNT_OF(revision_columns), revision_row },
};

static const struct noun *noun_of(const struct kube_resource *kind)
{
    for (size_t i = 0; i < COUNT_OF(nouns); i++)
        if (strcmp(nouns[i].full, kind->full) == 0)
            return &nouns[i];
    return NULL;
}

/* `get cm a b`, `get cm/a`, and `get a`: what is no kind is a service's name. */
static const struct kube_resource *kind_of(struct opt_words *words)
{
    const struct kube_resource *services = kinds_of_word(STR("ksvc")), *kind;
    if (words->count == 0)
        return services;
    kind = kinds_split(words->at[0], &words->at[0]);
    if (kind)
        return kind;
    kind = kinds_of_word(str_of(words->at[0]));
    if (!kind)
        return services;
    words->count--;
    memmove(words->at, words->at + 1, words->count * sizeof words->at[0]);
    return kind;
}

typedef int get_fn(struct cli *c, const char *target, json_t **ret, struct err *e);

static int get_named(struct cli *c, const struct kube_resource *kind, get_fn *get, json_t **ret, struct err *e)
{
    AUTO_JSON json_t *items = json_array();
    for (size_t i = 0; i < c->words.count; i++) {
        const char *name = c->words.at[i];
        json_t *one = NULL;
        AUTO_FREE char *target = kinds_target(kind, c->global.ns, name);
        int r = get(c, target, &one, e);
        if (r == -CODE_NOT_FOUND && kind == kinds_of_word(STR("ksvc")))
            remote_suggest_service(c, name, e);
        if (r < 0)
            return r;
        json_array_append_new(items, one);
    }
    *ret = json_pack("{s:s, s:s, s:O}", "apiVersion", "v1", "kind", "List", "items", items);
    return 0;
}

static int get_list(struct cli *c, const struct kube_resource *kind, get_fn *get, json_t **ret, struct err *e)
{
    const struct args *args = c->args;
    AUTO_FREE char *target = kinds_target(kind, args->all ? NULL : c->global.ns, NULL);
    return get(c, target, ret, e);
}

static void none_note(const struct cli *c, const struct kube_resource *kind)
{
    const struct args *args = c->args;
    if (!args->all && kind->namespaced)
        cli_note(c, "no %s in namespace %s; -A shows every namespace", kind->plural, c->global.ns);
    else if (noun_of(kind))
        cli_note(c, "no %s yet; `hob apply -f FILE` or `hob deploy` makes one", kind->plural);
    else
        cli_note(c, "no %s yet", kind->plural);
}

static void show_table(struct cli *c, const struct kube_resource *kind, const json_t *list, bool wide)
{
    const struct args *args = c->args;
    const struct noun *noun = noun_of(kind);
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
    else
        none_note(c, kind);
    table_done(&t);
}

static int run(struct cli *c, struct err *e)
{
    const struct args *args = c->args;
    const struct kube_resource *kind = kind_of(&c->words);
    enum output o = output_of(c, args->output);
    bool in_columns = o == OUTPUT_TABLE || o == OUTPUT_WIDE, served = in_columns && !noun_of(kind);
    get_fn *get = served ? remote_get_table : remote_get;
    AUTO_JSON json_t *list = NULL;
    int r = c->words.count ? get_named(c, kind, get, &list, e) : get_list(c, kind, get, &list, e);
    if (r < 0)
        return r;
    if (served && !served_table_show(c, list, args->all && kind->namespaced, o == OUTPUT_WIDE))
        none_note(c, kind);
    else if (in_columns && !served)
        show_table(c, kind, list, o == OUTPUT_WIDE);
    else if (!in_columns && c->words.count == 1)
        output_tree(c, o, json_at(list, "items.0"));
    else if (!in_columns)
        output_tree(c, o, list);
    return EXITS_OK;
}

const struct cli_command cmd_get = {
    .name = "get",
    .summary = "list services, revisions, and every other kind",
    .words = "[KIND] [NAME...]",
    .examples = "hob get  the services of the namespace\n"
                "hob get -A -o wide  of every namespace, with images and scale\n"
                "hob get revisions  every revision\n"
                "hob get cm  ConfigMaps; so do configurations, routes, dm, secrets, ns, events\n"
                "hob get greeter -o yaml  one service, whole",
    .notes = "Kinds as kubectl writes them: plural, singular or short (ksvc, rev, cfg, rt, dm, cm, ns), also KIND/NAME.\n"
             "What is no kind is a service's name; of one that is named like a kind: hob get service/NAME.",
    .opts = opts,
    .opt_count = COUNT_OF(opts),
    .args_size = sizeof(struct args),
    .words_max = OPT_WORDS_MAX,
    .complete = OPT_COMPLETE_SERVICES,
    .choices = "services|revisions|configurations|routes|domainmappings|clusterdomainclaims|configmaps|secrets|schedules|"
               "namespaces|events",
    .run = run,
};
