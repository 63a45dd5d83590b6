/* hob apply: what files describe, created or replaced. */
#include "cli/commands.h"
#include "cli/put.h"
#include "os/fault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DOCUMENTS_MAX = 1000, FILES_MAX = 1000, TIMEOUT_MS = 60000 };

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
    { "timeout", 0, OPT_MS, AT(timeout_ms), "TIME", "of waiting, per service (default 60s)" },
    { "redeploy", 0, OPT_FLAG, AT(redeploy), NULL,
      "a new revision, also when nothing changed: reads folders and models without a digest again" },
    { "dry-run", 0, OPT_FLAG, AT(dry_run), NULL, "only read and check the files here" },
    { "output", 'o', OPT_CHOICE, AT(output), "FORMAT", "json|jsonl|yaml|name",
      "json|jsonl|yaml|name", .complete = OPT_COMPLETE_CHOICES },
#undef AT
};

struct documents {
    json_t *at[DOCUMENTS_MAX];
    size_t count;
};

static int document_add(struct documents *d, json_t *take_j, const char *from, struct err *e)
{
    AUTO_JSON json_t *j = take_j;
    json_t *items = json_at(j, "items"), *one;
    size_t i;
    if (json_is_array(items) &&
        strcmp(json_text_at(j, "kind") ? json_text_at(j, "kind") : "", "List") == 0) {
        int r = 0;
        json_array_foreach(items, i, one)
            if (r == 0)
                r = document_add(d, json_incref(one), from, e);
        return r;
    }
    if (d->count == DOCUMENTS_MAX)
        return err_set(e, CODE_EXHAUSTED, "%s: more than %d objects", from, DOCUMENTS_MAX);
    d->at[d->count++] = TAKE(j);
    return 0;
}

static int read_all(int fd, const char *from, struct buf *into, struct err *e)
{
    for (;;) {
        size_t room;
        char *at = buf_reserve(into, KIB(64), &room);
        if (room == 0)
            return err_set(e, CODE_EXHAUSTED,
                           "%s: longer than %zu bytes (limit api_body_bytes_max)", from, into->max);
        ssize_t got = fault_hit("read") ? -1 : read(fd, at, room);
        if (got == 0)
            return 0;
        if (got < 0 && errno != EINTR)
            return err_sys(e, "%s", from);
        buf_commit(into, (size_t)MAX(got, 0));
    }
}

static int read_fd(struct cli *c, int fd, const char *from, struct documents *d, struct err *e)
{
    json_t *docs[DOCUMENTS_MAX];
    struct buf text;
    size_t count = 0;
    buf_init(&text, c->limits.api_body_bytes_max);
    int r = read_all(fd, from, &text, e);
    if (r == 0) {
        r = yaml_read(buf_str(&text), &c->limits, docs, DOCUMENTS_MAX, &count, e);
        if (r < 0)
            r = err_wrap(e, "%s", from);
    }
    for (size_t i = 0; i < count; i++)
        if (r < 0)
            json_decref(docs[i]);
        else
            r = document_add(d, docs[i], from, e);
    buf_done(&text);
    return MIN(r, 0);
}

static int manifest_only(const struct dirent *d)
{
    struct str name = str_of(d->d_name);
    return d->d_name[0] != '.' && (str_ends(name, STR(".yaml")) || str_ends(name, STR(".yml")) ||
                                   str_ends(name, STR(".json")));
}

static int read_path(struct cli *c, const char *path, struct documents *d, struct err *e);

static int read_folder(struct cli *c, const char *path, struct documents *d, struct err *e)
{
    struct dirent **names = NULL;
    int count = fault_hit("scandir") ? -1 : scandir(path, &names, manifest_only, alphasort), r = 0;
    if (count < 0)
        return err_sys(e, "%s", path);
    if (count == 0)
        r = err_set(e, CODE_NOT_FOUND, "%s: no .yaml, .yml or .json file in it", path);
    for (int i = 0; i < count; i++) {
        AUTO_FREE char *file = xasprintf("%s/%s", path, names[i]->d_name);
        struct stat st;
        if (r == 0 && stat(file, &st) == 0 && S_ISREG(st.st_mode)) /* one level, no folders below */
            r = read_path(c, file, d, e);
        free(names[i]);
    }
    free(names);
    return r;
}

static int read_path(struct cli *c, const char *path, struct documents *d, struct err *e)
{
    struct stat st;
    if (strcmp(path, "-") == 0)
        return read_fd(c, STDIN_FILENO, "stdin", d, e);
    AUTO_CLOSE int fd = fault_hit("open") ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_sys(e, "%s", path);
    if (S_ISDIR(st.st_mode))
        return read_folder(c, path, d, e);
    return read_fd(c, fd, path, d, e);
}

static int apply_all(struct cli *c, const struct documents *d, struct err *e)
{
    const struct args *args = c->args;
    const struct put_options o = { args->wait, args->redeploy, args->timeout_ms,
                                   c->global.json ? "json" : args->output };
    for (size_t i = 0; i < d->count; i++) {
        const char *name = json_text_at(d->at[i], "metadata.name");
        int r = 0;
        if (args->dry_run)
            buf_printf(&c->out, "service.serving.knative.dev/%s would be applied\n",
                       name ? name : "(no name)");
        else
            r = put_service(c, d->at[i], &o, e);
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
    struct documents *d;
    int r = 0;
    if (args->files.count == 0) {
        err_set(e, CODE_INVALID, "nothing to apply; name files with -f");
        return cli_usage(c, e);
    }
    d = xcalloc(1, sizeof *d);
    for (size_t i = 0; r == 0 && i < args->files.count; i++)
        r = read_path(c, args->files.at[i], d, e);
    if (r == 0 && d->count == 0)
        r = err_set(e, CODE_INVALID, "%s: no object in it", args->files.at[0]);
    if (r == 0)
        r = apply_all(c, d, e);
    for (size_t i = 0; i < d->count; i++)
        json_decref(d->at[i]);
    free(d);
    return r;
}

const struct cli_command cmd_apply = {
    .name = "apply",
    .summary = "create or replace what files describe, and wait until it is ready",
    .words = "-f FILE",
    .examples = "hob apply -f service.yaml  one or several documents\n"
                "hob apply -f manifests/ --timeout 5m  every manifest of a folder\n"
                "generate | hob apply -f -  from another program\n"
                "hob apply -f service.yaml --no-wait  do not wait until it is ready",
    .notes = "Replaces: what the manifest does not say goes back to its default.\n\n"
             "A revision keeps the content that its file:// image had at its first start. Where the folder's is another\n"
             "one now, apply says so and makes a new revision (annotation hob.dev/image-digest), as kubectl cannot.\n"
             "A model without a digest is read again only by a new revision: --redeploy.",
    .opts = opts,
    .opt_count = COUNT_OF(opts),
    .args_size = sizeof(struct args),
    .defaults = &defaults,
    .run = run,
};
