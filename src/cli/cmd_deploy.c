/* hob deploy: a service from flags, for those who do not want to write YAML yet. */
#include "cli/commands.h"
#include "cli/manifest.h"
#include "cli/output.h"
#include "cli/put.h"

#include <errno.h>
#include <stdlib.h>

enum { TIMEOUT_MS = 60000, UNSET = UINT32_MAX };

struct args {
    struct manifest_flags m;
    const char *output;
    bool wait, dry_run;
    uint32_t timeout_ms;
};
static const struct args defaults = {
    .m = { .min_scale = UNSET, .max_scale = UNSET, .concurrency = UNSET },
    .wait = true,
    .timeout_ms = TIMEOUT_MS,
};

static const struct opt opts[] = {
#define AT(field) offsetof(struct args, field)
    { "image", 'i', OPT_TEXT, AT(m.image), "IMAGE", "file:///folder, or just a folder here",
      .complete = OPT_COMPLETE_FILES },
    { "model", 'm', OPT_LIST, AT(m.models), "REF:/PATH",
      "mount a model read-only: file://…, a path here, http(s)://…, pinned by @sha256:…" },
    { "env", 'e', OPT_LIST, AT(m.env), "NAME=VALUE", "environment of the function" },
    { "port", 'p', OPT_U32, AT(m.port), "PORT", "where it listens (default 8080, told by $PORT)",
      .min = 1, .max = 65535 },
    { "cmd", 0, OPT_LIST, AT(m.command), "WORD",
      "the program instead of the image's, word by word" },
    { "arg", 0, OPT_LIST, AT(m.arguments), "WORD", "its arguments, word by word" },
    { "min-scale", 0, OPT_U32, AT(m.min_scale), "N", "instances kept when nobody calls (default 0)",
      .max = 10000 },
    { "max-scale", 0, OPT_U32, AT(m.max_scale), "N", "instances at most", .max = 10000 },
    { "concurrency", 0, OPT_U32, AT(m.concurrency), "N",
      "requests at once per instance; 0: no bound", .max = 100000 },
    { "target", 0, OPT_TEXT, AT(m.target), "N", "requests at once that the scaler aims at" },
    { "window", 0, OPT_TEXT, AT(m.window), "TIME", "idle this long before zero (default 60s)" },
    { "request-timeout", 0, OPT_U32, AT(m.timeout_s), "S", "seconds for one request", .min = 1 },
    { "memory", 0, OPT_TEXT, AT(m.memory), "SIZE", "limit, as 512Mi" },
    { "cpu", 0, OPT_TEXT, AT(m.cpu), "CPUS", "limit, as 500m or 2" },
    { "ephemeral-storage", 0, OPT_TEXT, AT(m.ephemeral), "SIZE", "limit of /tmp and scratch" },
    { "annotation", 'a', OPT_LIST, AT(m.annotations), "NAME=VALUE", "of the revision" },
    { "dry-run", 0, OPT_FLAG, AT(dry_run), NULL, "print the manifest, send nothing" },
    { "wait", 0, OPT_FLAG, AT(wait), NULL, "until it is ready (default; --no-wait: do not)" },
    { "timeout", 0, OPT_MS, AT(timeout_ms), "TIME", "of waiting (default 60s)" },
    { "output", 'o', OPT_CHOICE, AT(output), "FORMAT", "json|yaml|name", "json|yaml|name",
      .complete = OPT_COMPLETE_CHOICES },
#undef AT
};

/* A plain path means what lies there, wherever hob runs. What could be a registry's name is a path
 * when there is something of that name; `rest` comes after it as it is. */
static int reference_of(const char *option, const char *given, const char *rest, char **ret,
                        struct err *e)
{
    if (strstr(given, "://")) {
        *ret = xasprintf("%s%s", given, rest);
        return 0;
    }
    AUTO_FREE char *path = realpath(given, NULL);
    if (!path && (given[0] == '.' || given[0] == '/'))
        return err_sys(e, "--%s: %s", option, given);
    *ret = path ? xasprintf("file://%s%s", path, rest) : xasprintf("%s%s", given, rest);
    return 0;
}

/* What is no REFERENCE:/PATH stays as it is: manifest_build() says so. */
static int model_of(const char *given, char **ret, struct err *e)
{
    struct str reference, place;
    if (!manifest_split_model(given, &reference, &place)) {
        *ret = xstrdup(given);
        return 0;
    }
    AUTO_FREE char *before = xstrndup(reference.at, reference.size);
    char *pin = strstr(before, "@sha256:");
    AUTO_FREE char *rest = xasprintf("%s:" STR_FMT, pin ? pin : "", STR_ARG(place));
    if (pin)
        *pin = '\0';
    return reference_of("model", before, rest, ret, e);
}

struct references {
    char *image, *models[OPT_LIST_MAX];
};

static void references_done(struct references *r)
{
    free(r->image);
    for (size_t i = 0; i < COUNT_OF(r->models); i++)
        free(r->models[i]);
}

static int references_resolve(struct references *ret, struct manifest_flags *m, struct err *e)
{
    int r = reference_of("image", m->image, "", &ret->image, e);
    for (size_t i = 0; r == 0 && i < m->models.count; i++) {
        r = model_of(m->models.at[i], &ret->models[i], e);
        m->models.at[i] = ret->models[i];
    }
    m->image = ret->image;
    return r;
}

static int deploy(struct cli *c, struct err *e)
{
    struct args *args = c->args;
    AUTO_JSON json_t *service = NULL;
    args->m.name = c->words.at[0];
    args->m.ns = c->global.ns;
    args->m.has_min_scale = args->m.min_scale != UNSET;
    args->m.has_max_scale = args->m.max_scale != UNSET;
    args->m.has_concurrency = args->m.concurrency != UNSET;
    int r = manifest_build(&args->m, &service, e);
    if (r < 0)
        return cli_usage(c, e);
    const char *format = c->global.json ? "json" : args->output;
    if (!args->dry_run)
        return put_object(c, service,
                           &(struct put_options){ .wait = args->wait, .timeout_ms = args->timeout_ms,
                                                  .output = format }, e);
    output_tree(c, output_of(c, format ? format : "yaml"), service);
    return EXITS_OK;
}

static int run(struct cli *c, struct err *e)
{
    struct args *args = c->args;
    struct references references = { 0 };
    if (!args->m.image) {
        err_set(e, CODE_INVALID, "--image is missing: hob deploy %s --image FOLDER",
                c->words.at[0]);
        return cli_usage(c, e);
    }
    int r = references_resolve(&references, &args->m, e);
    if (r == 0)
        r = deploy(c, e);
    references_done(&references);
    return r;
}

const struct cli_command cmd_deploy = {
    .name = "deploy",
    .summary = "create or replace a service from flags",
    .words = "NAME --image IMAGE",
    .examples = "hob deploy greeter --image ./greeter  a folder here\n"
                "hob deploy cls --image ./cls -m file:///w.bin:/model  with a model\n"
                "hob deploy greeter --image ./greeter --min-scale 1  always one warm\n"
                "hob deploy greeter --image ./greeter --dry-run  the manifest, to keep",
    .opts = opts,
    .opt_count = COUNT_OF(opts),
    .args_size = sizeof(struct args),
    .defaults = &defaults,
    .words_min = 1,
    .words_max = 1,
    .complete = OPT_COMPLETE_SERVICES,
    .run = run,
};
