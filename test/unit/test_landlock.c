#include "tap.h"

#include "os/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

/* The folders that a confined child meets: one it may read, one it may change, one with devices, one not named. */
struct place {
    char dir[64];
};

static bool place_make(struct place *p)
{
    static const char *const dirs[] = { "read", "all", "device", "other" };
    char path[128];
    snprintf(p->dir, sizeof p->dir, "/tmp/hob-test-XXXXXX");
    if (!mkdtemp(p->dir))
        return false;
    for (size_t i = 0; i < COUNT_OF(dirs); i++) {
        snprintf(path, sizeof path, "%s/%s", p->dir, dirs[i]);
        if (mkdir(path, 0755) < 0)
            return false;
        snprintf(path, sizeof path, "%s/%s/file", p->dir, dirs[i]);
        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
        if (fd < 0)
            return false;
        close(fd);
    }
    return true;
}

static void place_remove(const struct place *p)
{
    char command[96];
    snprintf(command, sizeof command, "rm -rf %s", p->dir);
    CHECK(system(command) == 0);
}

struct deed {
    char how; /* read, write, create, truncate, make a device ('d', 'b') or a fifo, unlink */
    const char *path;
    bool allowed;
};

static bool do_deed(const char *dir, const struct deed *d)
{
    char path[128];
    int fd = -1, r = 0;
    snprintf(path, sizeof path, "%s/%s", dir, d->path);
    switch (d->how) {
    case 'r': fd = open(path, O_RDONLY | O_CLOEXEC); break;
    case 'w': fd = open(path, O_WRONLY | O_CLOEXEC); break;
    case 'c': fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644); break;
    case 't': return truncate(path, 0) == 0;
    case 'd': r = mknod(path, S_IFCHR | 0600, makedev(1, 3)); return r == 0;
    case 'b': r = mknod(path, S_IFBLK | 0600, makedev(7, 0)); return r == 0;
    case 'f': return mkfifo(path, 0600) == 0;
    case 'u': return unlink(path) == 0;
    default: return false;
    }
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* The index of the first deed that went otherwise than it should; -1: none. */
static int confined(const struct place *p, const struct deed *deeds, size_t count, bool confine)
{
    int status = 0;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        struct err e = { 0 };
        char path[128];
        if (confine) {
            int set = landlock_open(&e);
            snprintf(path, sizeof path, "%s/read", p->dir);
            bool ok = set >= 0 && landlock_grant(set, path, LANDLOCK_GRANT_READ, &e) == 0;
            snprintf(path, sizeof path, "%s/all", p->dir);
            ok = ok && landlock_grant(set, path, LANDLOCK_GRANT_ALL, &e) == 0;
            snprintf(path, sizeof path, "%s/device", p->dir);
            ok = ok && landlock_grant(set, path, LANDLOCK_GRANT_DEVICE, &e) == 0;
            if (!ok || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || landlock_restrict(set, &e) < 0)
                _exit(250);
        }
        for (size_t i = 0; i < count; i++)
            if (do_deed(p->dir, &deeds[i]) != (deeds[i].allowed || !confine))
                _exit((int)i + 1);
        _exit(0);
    }
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) - 1 : 999;
}

TEST(each_grant_gives_what_it_says_and_nothing_more)
{
    static const struct deed deeds[] = {
        { 'r', "read/file", true },    { 'w', "read/file", false },   { 'c', "read/new", false },
        { 'u', "read/file", false },   { 'r', "all/file", true },     { 'w', "all/file", true },
        { 'c', "all/new", true },      { 'u', "all/new", true },      { 'f', "all/fifo", true },
        { 'd', "all/char", false },    { 'b', "all/block", false },   { 'r', "device/file", true },
        { 'w', "device/file", true },  { 'c', "device/new", false },  { 'd', "device/char", false },
        { 'r', "other/file", false },  { 'w', "other/file", false },  { 'c', "other/new", false },
        { 'd', "other/char", false },  { 'u', "other/file", false },
    };
    struct place p;
    if (landlock_version() == 0)
        SKIP("no Landlock in this kernel");
    if (geteuid() != 0)
        SKIP("needs root, who could make devices");
    CHECK(place_make(&p));
    int wrong = confined(&p, deeds, COUNT_OF(deeds), true);
    if (wrong >= 0)
        FAIL("deed %d: '%c' of %s", wrong, wrong < (int)COUNT_OF(deeds) ? deeds[wrong].how : '?',
             wrong < (int)COUNT_OF(deeds) ? deeds[wrong].path : "");
    place_remove(&p);
    CHECK(place_make(&p)); /* the control: unconfined, all of it works */
    CHECK_EQ(confined(&p, deeds, COUNT_OF(deeds), false), -1);
    place_remove(&p);
}

TEST(truncating_needs_the_right_to_write_where_the_kernel_knows_it)
{
    static const struct deed deeds[] = { { 't', "read/file", false }, { 't', "all/file", true } };
    struct place p;
    if (landlock_version() < 3)
        SKIP("this kernel's Landlock knows no truncating");
    CHECK(place_make(&p));
    CHECK_EQ(confined(&p, deeds, COUNT_OF(deeds), true), -1);
    CHECK_EQ(confined(&p, deeds, COUNT_OF(deeds), false), -1);
    place_remove(&p);
}

TEST_MAIN()
