/* hob models: what the content store holds, and taking something out of it. */
#include "cli/commands.h"
#include "cli/human.h"
#include "cli/objects.h"
#include "cli/output.h"
#include "cli/remote.h"
#include "cli/table.h"

struct args {
    const char *output;
};

static const struct opt opts[] = { OUTPUT_ROW(struct args, OUTPUT_ALL) };

static const struct table_column columns[] = {
    { "DIGEST" },
    { "KIND" },
    { "STATE" },
    { "SIZE", .right = true },
    { "IN MEMORY", .right = true },
    { "USERS", .right = true },
    { "REVISIONS", .right = true },
    { "LAST USED", .right = true },
    { "REFERENCE" },
    { "FROM ORIGIN", .right = true, .wide = true },
    { "ERROR", .wide = true },
};

enum { DIGEST_SHORT = 19 }; /* "sha256:" and twelve digits, on a terminal */

static uint64_t amount(const json_t *j, const char *path)
{
    return (uint64_t)MAX(json_int_at(j, path, 0), 0);
}

static void state_cell(struct table *t, const json_t *j)
{
    const char *state = object_text(j, "state");
    uint64_t size = amount(j, "sizeBytes"), have = amount(j, "haveBytes");
    bool failed = object_text(j, "error")[0] != '\0';
    enum style s = failed ? STYLE_BAD : have == size ? STYLE_GOOD : STYLE_WARN;
    if (size && have < size)
        table_cell(t, s, "%s %u %%", state, (unsigned)((double)have * 100 / (double)size));
    else
        table_cell(t, s, "%s", state);
}

static void row(const struct cli *c, struct table *t, const json_t *j)
{
    int digits = c->out_term.tty ? DIGEST_SHORT : -1;
    table_cell(t, STYLE_BOLD, "%.*s", digits, object_text(j, "digest"));
    table_cell(t, STYLE_PLAIN, "%s", object_text(j, "kind"));
    state_cell(t, j);
    table_cell(t, STYLE_PLAIN, "%s", human_bytes(amount(j, "sizeBytes"), HUMAN));
    table_cell(t, STYLE_PLAIN, "%s", human_permille(json_int_at(j, "residentPermille", 0), HUMAN));
    table_cell(t, STYLE_PLAIN, "%llu", (unsigned long long)amount(j, "users"));
    table_cell(t, STYLE_PLAIN, "%llu", (unsigned long long)amount(j, "pins"));
    table_cell(t, STYLE_PLAIN, "%s", object_time(c, object_text(j, "lastUsed"), HUMAN));
    table_cell(t, STYLE_PLAIN, "%s", object_text(j, "reference"));
    table_cell(t, STYLE_PLAIN, "%s", human_bytes(amount(j, "originBytes"), HUMAN));
    table_cell(t, STYLE_BAD, "%s", object_text(j, "error"));
}

static int show(struct cli *c, struct err *e)
{
    const struct args *args = c->args;
    enum output o = output_of(c, args->output);
    AUTO_JSON json_t *list = NULL;
    struct table t;
    json_t *one;
    size_t i;
    int r = remote_get(c, "/v1/models", &list, e);
    if (r < 0)
        return r;
    if (o != OUTPUT_TABLE && o != OUTPUT_WIDE) {
        output_tree(c, o, list);
        return EXITS_OK;
    }
    table_init(&t, columns, COUNT_OF(columns), o == OUTPUT_WIDE);
    json_array_foreach(json_at(list, "items"), i, one)
        row(c, &t, one);
    if (t.cell_count)
        table_write(&t, &c->out_term, &c->out);
    else
        cli_note(c, "the store is empty");
    table_done(&t);
    return EXITS_OK;
}

/* Git's way: a beginning of the digest is enough where it names one. */
static int whole_digest(const json_t *list, const char *given, const char **ret, struct err *e)
{
    const char *hex = strncmp(given, "sha256:", 7) == 0 ? given + 7 : given, *found = NULL;
    json_t *one;
    size_t i;
    json_array_foreach(json_at(list, "items"), i, one) {
        const char *digest = object_text(one, "digest");
        const char *own = strncmp(digest, "sha256:", 7) == 0 ? digest + 7 : digest;
        if (strncmp(own, hex, strlen(hex)) != 0)
            continue;
        if (found && strcmp(found, digest) != 0)
            return err_set(e, CODE_INVALID, "model %s: several digests begin so; write more of it",
                           given);
        found = digest;
    }
    if (!found || !hex[0])
        return err_set(e, CODE_NOT_FOUND, "model %s: the store has no such digest; see: hob models",
                       given);
    *ret = found;
    return 0;
}

static int remove_all(struct cli *c, struct err *e)
{
    AUTO_JSON json_t *list = NULL;
    int r = remote_get(c, "/v1/models", &list, e);
    for (size_t i = 1; r == 0 && i < c->words.count; i++) {
        const char *digest = NULL;
        r = whole_digest(list, c->words.at[i], &digest, e);
        if (r < 0)
            break;
        AUTO_FREE char *target = remote_target("/v1/models/", digest, NULL);
        r = remote_send(c, "DELETE", target, NULL, NULL, e);
        if (r == 0)
            buf_printf(&c->out, "%s removed\n", digest);
    }
    return r;
}

static int run(struct cli *c, struct err *e)
{
    const char *verb = c->words.count ? c->words.at[0] : "ls";
    if (strcmp(verb, "ls") == 0 && c->words.count <= 1)
        return show(c, e);
    if (strcmp(verb, "rm") == 0 && c->words.count > 1)
        return remove_all(c, e);
    err_set(e, CODE_INVALID, "%s",
            strcmp(verb, "rm") == 0 ? "a digest is missing: hob models rm DIGEST"
                                    : "it is either `hob models ls` or `hob models rm DIGEST`");
    return cli_usage(c, e);
}

const struct cli_command cmd_models = {
    .name = "models",
    .summary = "models and images in the store of this machine",
    .words = "[ls | rm DIGEST...]",
    .examples = "hob models  what is stored, and how much of it is in memory\n"
                "hob models -o wide  with what came from where\n"
                "hob models rm 3f9a12  take one out that nothing uses",
    .opts = opts,
    .opt_count = COUNT_OF(opts),
    .args_size = sizeof(struct args),
    .words_max = OPT_WORDS_MAX,
    .complete = OPT_COMPLETE_MODELS,
    .choices = "ls|rm",
    .run = run,
};
