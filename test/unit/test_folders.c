#include "fds.h"
#include "os/fault.h"
#include "sandbox/folders.h"
#include "tap.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define AT "/tmp/folders" /* in a /tmp of our own: nothing is left of it */

static bool own_tmp(void)
{
    static bool made;
    if (!made)
        made = unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
               mount("tmpfs", "/tmp", "tmpfs", 0, "size=64m") == 0;
    return made;
}

static char large[300000];
static const struct sandbox_file files[] = { { "k", "v\n", 2, 0640 }, { "deep/er/x", "a\0b", 3, 0400 },
                                             { "large", large, sizeof large, 0444 } };
static const struct sandbox_folder folders[] = { { "/etc/conf", files, 3, false },
                                                 { "/etc/none", NULL, 0, false },
                                                 { "/etc/one", files, 1, true } };

static bool order_of(struct buf *b, struct order *p)
{
    static const char *const argv[] = { "/app/main", NULL };
    const struct sandbox_spec s = { .id = "f", .argv = argv, .env = argv + 1, .workdir = "/app", .uid = 1, .gid = 1,
                                    .memory_bytes = MIB(64), .ephemeral_bytes = MIB(1), .cpu_milli = 100, .pids_max = 10,
                                    .fds_max = 64, .folders = folders, .folder_count = COUNT_OF(folders) };
    struct limits l;
    struct err e;
    limits_default(&l);
    buf_init(b, ORDER_BYTES_MAX);
    return order_write(&s, &l, 0, b, &e) == 0 && order_parse(buf_at(b), b->size, p, &e) == 0;
}

static bool is(int dir, const char *path, mode_t mode, off_t size)
{
    struct stat st;
    return fstatat(dir, path, &st, 0) == 0 && (st.st_mode & 07777) == mode && st.st_size == size && st.st_uid == 4711 &&
           st.st_gid == 4712;
}

TEST(a_folder_is_a_read_only_tree_of_its_files_and_takes_no_more_room)
{
    struct buf b;
    struct order p;
    struct err e = { 0 };
    struct statvfs vfs;
    const struct folders_owner owner = { 4711, 4712 };
    int top = -1;
    if (geteuid() != 0)
        SKIP("needs root");
    CHECK(own_tmp() && order_of(&b, &p));
    CHECK_EQ(folders_make(&p, AT, &owner, 0, &top, &e), 0);
    int all = folders_take(top, &p, 0, 0, &e), none = folders_take(top, &p, 1, 0, &e), one = folders_take(top, &p, 2, 0, &e);
    CHECK(all >= 0 && none >= 0 && one >= 0);
    CHECK(is(all, "k", 0640, 2) && is(all, "deep/er/x", 0400, 3) && is(all, "large", 0444, sizeof large));
    CHECK(faccessat(none, "k", F_OK, 0) < 0);
    CHECK_EQ(openat(all, "k", O_WRONLY), -1);
    CHECK_EQ(mkdirat(none, "x", 0755), -1);
    struct stat st;
    CHECK(fstat(one, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 2);
    CHECK(fstatvfs(top, &vfs) == 0 && vfs.f_blocks * vfs.f_frsize < sizeof large + 131072 && vfs.f_ffree < 8);
    close(all);
    close(none);
    close(one);
    close(top);
    CHECK(umount2(AT, MNT_DETACH) == 0 && rmdir(AT) == 0);
    order_done(&p);
    buf_done(&b);
}

TEST(folders_that_fail_anywhere_leave_no_descriptor)
{
    struct buf b;
    struct order p;
    const struct folders_owner owner = { 4711, 4712 };
    int failures = 0, nth = 0;
    if (geteuid() != 0)
        SKIP("needs root");
    CHECK(own_tmp() && order_of(&b, &p));
    int fds = fds_open();
    for (bool whole = false; !whole;) {
        struct err e = { 0 };
        int top = -1;
        CHECK(++nth < 100);
        fault_arm(nth);
        int r = folders_make(&p, AT, &owner, 0, &top, &e);
        for (uint32_t i = 0; r == 0 && i < COUNT_OF(folders); i++) {
            int tree = folders_take(top, &p, i, 0, &e);
            r = MIN(tree, 0);
            if (tree >= 0)
                close(tree);
        }
        whole = !fault_fired();
        fault_arm(0);
        CHECK((r < 0) == !whole && (r == 0 || e.text[0]));
        failures += r < 0;
        if (top >= 0)
            close(top);
        CHECK_EQ(fds_open(), fds);
        (void)umount2(AT, MNT_DETACH);
        CHECK_EQ(rmdir(AT), 0);
    }
    CHECK(failures >= 15);
    order_done(&p);
    buf_done(&b);
}

TEST_MAIN()
