/* hob restore: a backup becomes the data folder of a hob that has none yet. */
#include "cli/archive.h"
#include "cli/commands.h"
#include "node/jail.h"
#include "os/ns.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct args {
    const char *data;
};

static const struct opt opts[] = {
    { "data", 0, OPT_TEXT, offsetof(struct args, data), "DIR", "the new data folder: not there yet, or empty",
      .complete = OPT_COMPLETE_FILES },
};

/* 0: nothing is there, or an empty folder. */
static int is_free(const char *path, struct err *e)
{
    DIR *dir = opendir(path);
    unsigned found = 0;
    if (!dir)
        return errno == ENOENT ? 0 : err_sys(e, "open %s", path);
    for (const struct dirent *d; (d = readdir(dir));)
        found += strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0;
    closedir(dir);
    return found == 0 ? 0
                      : err_set(e, CODE_EXISTS,
                                "%s: it is not empty, and may be a hob's that runs; move it away, or name another folder", path);
}

/* Root's hob gives its data to the user that its node runs as. */
static int give_to_node(const char *dir, struct err *e)
{
    static const char *const names[] = { "/" BACKUP_OBJECTS, "/" BACKUP_DURABLE, "" };
    int r = ns_privileged(e);
    if (r <= 0)
        return r;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        AUTO_FREE char *path = xasprintf("%s%s", dir, names[i]);
        if (chown(path, JAIL_UID_NODE, JAIL_UID_NODE) < 0)
            return err_sys(e, "give %s to the node", path);
    }
    return 0;
}

static int run(struct cli *c, struct err *e)
{
    const struct args *args = c->args;
    struct backup_facts facts;
    __attribute__((cleanup(archive_auto))) struct archive a = { 0 };
    if (!args->data) {
        err_set(e, CODE_INVALID, "where to? --data DIR names the new data folder");
        return cli_usage(c, e);
    }
    int r = is_free(args->data, e);
    if (r == 0)
        r = archive_begin(&a, args->data, e);
    if (r == 0)
        r = archive_take(&a, c->words.at[0], &c->limits, e);
    if (r == 0)
        r = backup_check(a.part, &c->limits, &facts, e);
    if (r == 0)
        r = backup_leap(a.part, &c->limits, e);
    if (r == 0)
        r = give_to_node(a.part, e);
    if (r == 0)
        r = archive_finish(&a, true, e);
    if (r < 0)
        return r;
    buf_printf(&c->out, "%s: %llu objects, %llu runs of durable work; start it: hob serve --data %s\n", args->data,
               (unsigned long long)facts.objects, (unsigned long long)facts.entities, args->data);
    return EXITS_OK;
}

const struct cli_command cmd_restore = {
    .name = "restore",
    .summary = "make a data folder from a backup",
    .words = "SRC",
    .examples = "hob restore /backups/today --data /var/lib/hob  then: hob serve --data /var/lib/hob",
    .notes = "Everything in SRC is checked before DIR has its name. Workflows go on where the backup has them: what was done after it is\n"
             "done again, so the hob that the backup is of must not run any more.",
    .opts = opts,
    .opt_count = COUNT_OF(opts),
    .args_size = sizeof(struct args),
    .words_min = 1,
    .words_max = 1,
    .complete = OPT_COMPLETE_FILES,
    .local = true,
    .run = run,
};
