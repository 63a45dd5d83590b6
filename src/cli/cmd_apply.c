/* hob apply: what files describe, created or replaced. */
#include "cli/commands.h"
#include "cli/documents.h"
#include "cli/kinds.h"
#include "cli/put.h"

enum { TIMEOUT_MS = 60000 };

struct args {
    struct opt_list files;
    const char *output;
    bool wait, dry_run, redeploy;
    uint32_t timeout_ms;
};
static const struct args defaults = { .wait = true, .timeout_ms = TIMEOUT_MS };

static const struct opt opts[] = {
#define AT(field) offsetof(struct args, field)
    { "filename", 'f', OPT_LIST, AT(files), "FILE", "YAML or JSON; a folder: all in it; -: stdin",
      .complete = OPT_COMPLETE_FILES },
    { "wait", 0, OPT_FLAG, AT(wait), NULL,
      "until everything is ready (default; --no-wait: do not)" },
    { "timeout", 0, OPT_MS, AT(timeout_ms), "TIME", "of waiting, per object (default 60s)" },
    { "redeploy", 0, OPT_FLAG, AT(redeploy), NULL,
      "a new revision, also when nothing changed: reads folders and models without a digest again" },
    { "dry-run", 0, OPT_FLAG, AT(dry_run), NULL, "the server checks everything and changes nothing" },
    { "output", 'o', OPT_CHOICE, AT(output), "FORMAT", "json|jsonl|yaml|name",
      "json|jsonl|yaml|name", .complete = OPT_COMPLETE_CHOICES },
#undef AT
};

/* One order for all files: a folder's names do not say what stands on what. Stable. Refuses before anything is done. */
static int sort(struct documents *d, struct err *e)
{
    size_t orders[DOCUMENTS_MAX];
    for (size_t i = 0; i < d->count; i++) {
        const struct kube_resource *kind = NULL;
        json_t *one = d->at[i];
        size_t at = i;
        int r = kinds_of_object(one, &kind, e);
        if (r < 0)
            return r;
        for (; at > 0 && orders[at - 1] > kinds_order(kind); at--) {
            orders[at] = orders[at - 1];
            d->at[at] = d->at[at - 1];
        }
        orders[at] = kinds_order(kind);
        d->at[at] = one;
    }
    return 0;
}

static int apply_all(struct cli *c, const struct documents *d, struct err *e)
{
    const struct args *args = c->args;
    const struct put_options o = { .wait = args->wait && !args->dry_run, .redeploy = args->redeploy,
                                   .dry_run = args->dry_run, .timeout_ms = args->timeout_ms,
                                   .output = c->global.json ? "json" : args->output };
    for (size_t i = 0; i < d->count; i++) {
        int r = put_object(c, d->at[i], &o, e);
        /* What was done is said, also when the next one fails. */
        int flushed = r < 0 ? 0 : cli_flush(c, e);
        if (r < 0 || flushed < 0)
            return MIN(r, flushed);
    }
    return EXITS_OK;
}

static int run(struct cli *c, struct err *e)
{
    const struct args *args = c->args;
    if (args->files.count == 0) {
        err_set(e, CODE_INVALID, "nothing to apply; name files with -f");
        return cli_usage(c, e);
    }
    AUTO(documents) struct documents *d = documents_new();
    int r = documents_read(d, &args->files, &c->limits, e);
    if (r == 0)
        r = sort(d, e);
    return r < 0 ? r : apply_all(c, d, e);
}

const struct cli_command cmd_apply = {
    .name = "apply",
    .summary = "create or replace what files describe, and wait until it is ready",
    .words = "-f FILE",
    .examples = "hob apply -f service.yaml  one or several documents\n"
                "hob apply -f manifests/ --timeout 5m  every manifest of a folder\n"
                "generate | hob apply -f -  from another program\n"
                "hob apply -f service.yaml --no-wait  do not wait until it is ready\n"
                "hob apply -f service.yaml --dry-run  what the server would say, and nothing changes",
    .notes = "Every kind that the API serves, those first that others need: Namespace, ConfigMap, Secret, Service,\n"
             "Configuration, Route, DomainMapping. Replaces: what the manifest does not say goes back to its default.\n\n"
             "A revision keeps the content that its file:// image had at its first start. Where the folder's is another\n"
             "one now, apply says so and makes a new revision (annotation hob.dev/image-digest), as kubectl cannot.\n"
             "A model without a digest is read again only by a new revision: --redeploy.",
    .opts = opts,
    .opt_count = COUNT_OF(opts),
    .args_size = sizeof(struct args),
    .defaults = &defaults,
    .run = run,
};
