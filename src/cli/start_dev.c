/* start_dev.c -- the folder of `hob server start-dev`: named by the user, or its own and gone at the end. */
#include "cli/commands.h"
#include "cli/serve_form.h"
#include "cli/start_dev.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TREE_FDS = 16 };
static char folder[4096];
static bool folder_ours;

/* The node enters it as somebody else: everybody on the way must let it through, as /tmp does. */
static int start_dev_begin(struct serve_settings *s, struct err *e)
{
    const char *tmp = getenv("TMPDIR");
    if (s->data) {
        if (snprintf(folder, sizeof folder, "%s.hob", s->data) >= (int)sizeof folder)
            return err_set(e, CODE_INVALID, "--db-filename: the path is too long");
    } else {
        if (snprintf(folder, sizeof folder, "%s/hob-start-dev-XXXXXX", tmp && tmp[0] ? tmp : "/tmp") >= (int)sizeof folder)
            return err_set(e, CODE_INVALID, "TMPDIR: the path is too long");
        if (!mkdtemp(folder))
            return err_sys(e, "make %s", folder);
        folder_ours = true;
    }
    s->data = folder;
    return 0;
}

static int entry_remove(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)at;
    (void)(type == FTW_DP || type == FTW_D ? rmdir(path) : unlink(path)); /* what stays is in the way of nobody */
    return 0;
}

/* All who could write there have ended. */
static void start_dev_end(struct serve_settings *s)
{
    (void)s;
    if (folder_ours)
        (void)nftw(folder, entry_remove, TREE_FDS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

int server_main(int argc, char **argv)
{
    static const struct serve_form form = { &cmd_server, start_dev_read, start_dev_begin, start_dev_end };
    return serve_as(&form, argc, argv);
}
