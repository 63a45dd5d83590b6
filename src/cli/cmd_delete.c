/* hob delete: services, by name. */
#include "cli/commands.h"
#include "cli/remote.h"

struct args {
    bool ignore;
};

static const struct opt opts[] = {
    { "ignore-not-found", 0, OPT_FLAG, offsetof(struct args, ignore), NULL,
      "what does not exist counts as deleted" },
};

static int delete_one(struct cli *c, const char *name, struct err *e)
{
    const struct args *args = c->args;
    AUTO_FREE char *target =
        remote_target(REMOTE_KNATIVE "/namespaces/", c->global.ns, "/services/", name, NULL);
    int r = remote_send(c, "DELETE", target, NULL, NULL, e);
    if (r == -CODE_NOT_FOUND && args->ignore)
        return 0;
    if (r == -CODE_NOT_FOUND)
        remote_suggest_service(c, name, e);
    if (r == 0)
        buf_printf(&c->out, "service.serving.knative.dev/%s deleted\n", name);
    return r;
}

static int run(struct cli *c, struct err *e)
{
    for (size_t i = 0; i < c->words.count; i++) {
        struct str name = str_of(c->words.at[i]), rest = name;
        struct str kind = str_cut(&rest, '/');
        bool prefixed = rest.size && (str_is(kind, "service") || str_is(kind, "ksvc") ||
                                      str_is(kind, "service.serving.knative.dev"));
        int r = delete_one(c, prefixed ? rest.at : name.at, e);
        int flushed = r < 0 ? 0 : cli_flush(c, e);
        if (r < 0 || flushed < 0)
            return MIN(r, flushed);
    }
    return EXITS_OK;
}

const struct cli_command cmd_delete = {
    .name = "delete",
    .summary = "delete services; running requests are drained",
    .words = "NAME [NAME...]",
    .examples = "hob delete greeter\n"
                "hob delete greeter --ignore-not-found  in scripts\n"
                "hob get -o name | xargs hob delete  all of the namespace",
    .opts = opts,
    .opt_count = COUNT_OF(opts),
    .args_size = sizeof(struct args),
    .words_min = 1,
    .words_max = OPT_WORDS_MAX,
    .complete = OPT_COMPLETE_SERVICES,
    .run = run,
};
