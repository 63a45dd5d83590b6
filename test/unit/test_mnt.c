#include "tap.h"

#include "os/mnt.h"

#include <sched.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* The code and the text of mnt_private() in a mount namespace of its own; with_chroot: inside a folder. */
static bool tried(const char *with_chroot, struct err *ret)
{
    int ends[2], status = 0;
    struct err e = { 0 };
    if (pipe(ends) < 0)
        return false;
    pid_t pid = fork();
    if (pid == 0) {
        if (unshare(CLONE_NEWNS) < 0 || (with_chroot && (chroot(with_chroot) < 0 || chdir("/") < 0)))
            _exit(1);
        int r = mnt_private(&e);
        _exit((r < 0) == (e.code != CODE_OK) && write(ends[1], &e, sizeof e) == (ssize_t)sizeof e ? 0 : 2);
    }
    close(ends[1]);
    bool got = read(ends[0], ret, sizeof *ret) == (ssize_t)sizeof *ret;
    close(ends[0]);
    return waitpid(pid, &status, 0) == pid && status == 0 && got;
}

TEST(a_chroot_is_named_as_what_is_wrong)
{
    char folder[] = "/tmp/hob-test-XXXXXX";
    struct err e = { 0 };
    if (geteuid() != 0)
        SKIP("not root");
    CHECK(tried(NULL, &e));
    CHECK_EQ(e.code, CODE_OK);
    CHECK(mkdtemp(folder));
    bool said = tried(folder, &e);
    rmdir(folder);
    CHECK(said);
    CHECK_EQ(e.code, CODE_PRECONDITION);
    CHECK(strstr(e.text, "chroot") && strstr(e.text, "FOLDER)"));
}

TEST_MAIN()
