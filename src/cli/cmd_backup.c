/* hob backup: everything hob was told, and all workflows, as one folder; while it runs or while it does not. */
#include "cli/archive.h"
#include "cli/commands.h"
#include "cli/human.h"
#include "cli/objects.h"
#include "cli/remote.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct args {
    const char *data;
};

static const struct opt opts[] = {
    { "data", 0, OPT_TEXT, offsetof(struct args, data), "DIR",
      "the data folder of a hob that does not run (one that runs is asked)", .complete = OPT_COMPLETE_FILES },
};

enum { LOOK_MS = 100 };
#define PAGE "/v1/backup"

/* Until the server has both files whole in a folder of its own; its name. */
static int server_copies(struct cli *c, char **ret_folder, struct err *e)
{
    AUTO_JSON json_t *now = NULL;
    int r = remote_send(c, "POST", PAGE, NULL, &now, e);
    while (r == 0 && strcmp(object_text(now, "state"), "copying") == 0) {
        (void)poll(NULL, 0, LOOK_MS);
        json_decref(TAKE(now));
        r = remote_get(c, PAGE, &now, e);
    }
    if (r < 0)
        return r;
    if (strcmp(object_text(now, "state"), "done") != 0)
        return err_set(e, CODE_UNAVAILABLE, "the server made none: %s",
                       object_text(now, "error")[0] ? object_text(now, "error") : "it began anew meanwhile");
    *ret_folder = xstrdup(object_text(now, "folder"));
    return 0;
}

static int from_server(struct cli *c, const struct archive *a, struct err *e)
{
    struct err ignored;
    char digest[80];
    AUTO_FREE char *folder = NULL;
    int r = server_copies(c, &folder, e);
    if (r < 0)
        return r;
    r = archive_file(a, folder, BACKUP_DURABLE, digest, e);
    if (r == 0)
        r = archive_file(a, folder, BACKUP_OBJECTS, digest, e);
    if (remote_send(c, "DELETE", PAGE, NULL, NULL, &ignored) < 0) /* it goes with the next, or the next start */
        cli_note(c, "%s stays until the next backup: %s", folder, ignored.text);
    return r == -CODE_NOT_FOUND ? err_wrap(e, "the server at %s has its data on another machine; run this there",
                                           c->global.server)
                                : r;
}

static int run(struct cli *c, struct err *e)
{
    const struct args *args = c->args;
    const char *path = c->words.at[0];
    struct backup_facts facts;
    __attribute__((cleanup(archive_auto))) struct archive a = { 0 };
    if (access(path, F_OK) == 0)
        return err_set(e, CODE_EXISTS, "%s: there is something already; a backup is a new folder", path);
    int r = archive_begin(&a, path, e);
    if (r == 0)
        r = args->data ? backup_copy(args->data, a.part, &c->limits, e) : from_server(c, &a, e);
    if (r == -CODE_UNAVAILABLE && args->data)
        r = err_wrap(e, "a hob that runs makes its backup itself (hob backup %s, without --data)", path);
    if (r == 0)
        r = backup_check(a.part, &c->limits, &facts, e);
    if (r == 0)
        r = archive_describe(&a, &facts, e);
    if (r == 0)
        r = archive_finish(&a, false, e);
    if (r < 0)
        return r;
    buf_printf(&c->out, "%s: %llu objects, %llu runs of durable work with %llu pieces of history; every page and checksum fits\n", path,
               (unsigned long long)facts.objects, (unsigned long long)facts.entities, (unsigned long long)facts.rows);
    return EXITS_OK;
}

const struct cli_command cmd_backup = {
    .name = "backup",
    .summary = "copy services and workflows into a new folder, while hob runs",
    .words = "DEST",
    .examples = "hob backup /backups/today  of the hob that runs here\n"
                "hob backup --data /var/lib/hob /backups/today  of one that does not run",
    .notes = "DEST is made, readable by you alone, synced and checked (every page, every checksum) before it has its name. It has\n"
             "hob.db, durable.db and backup.json; models and images are not in it, they are fetched again. Whatever was acknowledged\n"
             "before the backup began is in it. `hob restore` puts it back.",
    .opts = opts,
    .opt_count = COUNT_OF(opts),
    .args_size = sizeof(struct args),
    .words_min = 1,
    .words_max = 1,
    .complete = OPT_COMPLETE_FILES,
    .run = run,
};
