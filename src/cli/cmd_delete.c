/* hob delete: services by name, every kind by KIND/NAME or by the files that describe it. */
#include "cli/commands.h"
#include "cli/documents.h"
#include "cli/kinds.h"
#include "cli/objects.h"
#include "cli/remote.h"

struct args {
    struct opt_list files;
    bool ignore;
};

static const struct opt opts[] = {
#define AT(field) offsetof(struct args, field)
    { "filename", 'f', OPT_LIST, AT(files), "FILE", "what YAML or JSON describes; a folder: all in it; -: stdin",
      .complete = OPT_COMPLETE_FILES },
    { "ignore-not-found", 0, OPT_FLAG, AT(ignore), NULL,
      "what does not exist counts as deleted" },
#undef AT
};

static int delete_one(struct cli *c, const struct kube_resource *kind, const char *ns, const char *name, struct err *e)
{
    const struct args *args = c->args;
    AUTO_FREE char *target = kinds_target(kind, ns, name);
    int r = remote_send(c, "DELETE", target, NULL, NULL, e);
    if (r == -CODE_NOT_FOUND && args->ignore)
        return 0;
    if (r == -CODE_NOT_FOUND && kind == kinds_of_word(STR("ksvc")) && strcmp(ns, c->global.ns) == 0)
        remote_suggest_service(c, name, e);
    if (r < 0)
        return r;
    kinds_write_name(kind, name, &c->out);
    buf_text(&c->out, " deleted\n");
    return cli_flush(c, e);
}

static int delete_word(struct cli *c, const char *word, struct err *e)
{
    const char *name = word;
    const struct kube_resource *kind = kinds_split(word, &name), *services = kinds_of_word(STR("ksvc"));
    int r = delete_one(c, kind ? kind : services, c->global.ns, name, e);
    if (r == -CODE_NOT_FOUND && !kind && kinds_of_word(str_of(word)))
        return err_set(e, CODE_NOT_FOUND, "service %s/%s: not found; of the kind, say: hob delete %s/NAME",
                       c->global.ns, word, word);
    return r;
}

/* What stands on others goes first: the other way round than it came. */
static int delete_described(struct cli *c, const struct documents *d, struct err *e)
{
    int r = 0;
    for (size_t order = 2 * kube_resource_count; r >= 0 && order-- > 0;)
        for (size_t i = d->count; r >= 0 && i-- > 0;) {
            const struct kube_resource *kind = NULL;
            const char *ns = object_text(d->at[i], "metadata.namespace");
            r = kinds_of_object(d->at[i], &kind, e);
            if (r == 0 && kinds_order(kind) == order)
                r = delete_one(c, kind, ns[0] ? ns : c->global.ns, object_text(d->at[i], "metadata.name"), e);
        }
    return r;
}

static int delete_files(struct cli *c, struct err *e)
{
    const struct args *args = c->args;
    AUTO(documents) struct documents *d = documents_new();
    int r = documents_read(d, &args->files, &c->limits, e);
    return r < 0 ? r : delete_described(c, d, e);
}

static int run(struct cli *c, struct err *e)
{
    const struct args *args = c->args;
    int r = 0;
    if ((args->files.count > 0) == (c->words.count > 0)) {
        err_set(e, CODE_INVALID, args->files.count ? "names and -f do not go together"
                                                   : "what to delete is missing; give names, or files with -f");
        return cli_usage(c, e);
    }
    if (args->files.count)
        r = delete_files(c, e);
    for (size_t i = 0; r >= 0 && i < c->words.count; i++)
        r = delete_word(c, c->words.at[i], e);
    return r < 0 ? r : EXITS_OK;
}

const struct cli_command cmd_delete = {
    .name = "delete",
    .summary = "delete services and other objects; running requests are drained",
    .words = "NAME|KIND/NAME...",
    .examples = "hob delete greeter\n"
                "hob delete cm/greeter dm/shop.example.com  of other kinds\n"
                "hob delete -f manifests/  what was applied from there\n"
                "hob delete greeter --ignore-not-found  in scripts\n"
                "hob get -o name | xargs hob delete  all of the namespace",
    .opts = opts,
    .opt_count = COUNT_OF(opts),
    .args_size = sizeof(struct args),
    .words_max = OPT_WORDS_MAX,
    .complete = OPT_COMPLETE_SERVICES,
    .run = run,
};
