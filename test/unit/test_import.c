#include "artifact/import.h"
#include "fds.h"
#include "store_fixture.h"

#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

struct source {
    char dir[64];
};

static bool source_make(struct source *s)
{
    char path[128];
    *s = (struct source){ "/tmp/hob-source-XXXXXX" };
    if (!mkdtemp(s->dir))
        return false;
    snprintf(path, sizeof path, "%s/lib", s->dir);
    return mkdir(path, 0700) == 0 && file_put(s->dir, "run", "#!/bin/sh\n", 10, 0750) &&
           file_put(s->dir, "lib/data", "abc", 3, 0640) && file_put(s->dir, "lib/empty", "", 0, 0666);
}

static bool link_make(const struct source *s, const char *target, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", s->dir, name);
    return symlink(target, path) == 0;
}

static int import(struct fixture *x, const char *path, enum artifact_kind kind, const char *hex,
                  struct import_result *ret, struct err *e)
{
    uint64_t short_by = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    AUTO(import) struct import *im = import_new(x->cas, &x->limits, kind, fd, hex);
    return import_run(im, ret, &short_by, e);
}

static mode_t mode_of(const struct fixture *x, const char *hex, const char *name)
{
    char path[512];
    struct stat st;
    snprintf(path, sizeof path, "%s/bundles/sha256-%s/%s", x->dir, hex, name);
    return lstat(path, &st) == 0 ? st.st_mode & 07777 : 0;
}

TEST(a_folder_becomes_a_bundle_that_keeps_only_the_executable_bit)
{
    struct fixture x;
    struct source s;
    struct err e = { 0 };
    struct import_result one = { 0 }, two = { 0 };
    CHECK(fixture_open(&x) && source_make(&s));
    CHECK(link_make(&s, "lib/data", "inside") && link_make(&s, "../run", "lib/up"));
    CHECK_EQ(import(&x, s.dir, ARTIFACT_BUNDLE, "", &one, &e), 0);
    CHECK(one.tree && one.bytes == 13 && stored(&x, true, one.hex));
    CHECK_EQ(mode_of(&x, one.hex, "run"), 0555);
    CHECK_EQ(mode_of(&x, one.hex, "lib/data"), 0444);
    CHECK_EQ(mode_of(&x, one.hex, "lib"), 0555);
    CHECK_EQ(mode_of(&x, one.hex, ""), 0555);
    CHECK_EQ(mode_of(&x, one.hex, "inside"), 0777);
    CHECK_EQ(cas_bytes(x.cas), 13);
    CHECK_EQ(import(&x, s.dir, ARTIFACT_BUNDLE, one.hex, &two, &e), 0); /* again: the same, once */
    CHECK_STR(one.hex, two.hex);
    CHECK_EQ(cas_bytes(x.cas), 13);
    CHECK_EQ(names_in(&x, "bundles"), 3); /* folder, manifest, leaves */
    CHECK_EQ(names_in(&x, "ingest"), 0);
    CHECK(file_put(s.dir, "lib/data", "abd", 3, 0640));
    CHECK_EQ(import(&x, s.dir, ARTIFACT_BUNDLE, one.hex, &two, &e), -CODE_DATA_LOSS);
    CHECK(strstr(e.text, "expected") && strstr(e.text, one.hex));
    CHECK_EQ(names_in(&x, "bundles"), 3);
    CHECK(fixture_reopen(&x) && x.found_trees == 1 && x.found_bytes == 13);
    dir_remove(s.dir);
    fixture_close(&x);
}

TEST(a_file_model_becomes_a_blob)
{
    struct fixture x;
    struct source s;
    struct err e;
    struct import_result got = { 0 };
    char path[128], hex[65];
    CHECK(fixture_open(&x) && source_make(&s));
    hex_of("abc", 3, hex);
    snprintf(path, sizeof path, "%s/lib/data", s.dir);
    CHECK_EQ(import(&x, path, ARTIFACT_MODEL, "", &got, &e), 0);
    CHECK(!got.tree && stored(&x, false, hex));
    CHECK_STR(got.hex, hex);
    CHECK_EQ(import(&x, path, ARTIFACT_MODEL, hex, &got, &e), 0);
    CHECK_EQ(cas_bytes(x.cas), 3);
    CHECK_EQ(import(&x, path, ARTIFACT_BUNDLE, "", &got, &e), -CODE_INVALID); /* a bundle is a folder */
    CHECK_EQ(import(&x, s.dir, ARTIFACT_MODEL, "", &got, &e), 0);             /* a model may be one */
    CHECK(got.tree);
    CHECK_EQ(names_in(&x, "ingest"), 0);
    dir_remove(s.dir);
    fixture_close(&x);
}

/* Each hostile entry alone makes the whole folder refused, and nothing of it stays. */
TEST(what_a_bundle_must_not_hold_is_refused)
{
    static const struct {
        const char *what, *target, *say;
    } cases[] = {
        { "fifo", NULL, "devices" },
        { "socket", NULL, "devices" },
        { "device", NULL, "devices" },
        { "setuid", NULL, "set-user-ID" },
        { "setgid", NULL, "set-user-ID" },
        { "newline", NULL, "control" },
        { "link", "/etc/passwd", "outside" },
        { "link", "../../etc/passwd", "outside" },
        { "link", "..", "outside" },
        { "link", "lib/../../x", "outside" },
        { "link", "nowhere", "nothing" },
        { "link", "link", "circle" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct fixture x;
        struct source s;
        struct err e = { 0 };
        struct import_result got = { 0 };
        char path[128];
        CHECK(fixture_open(&x) && source_make(&s));
        snprintf(path, sizeof path, "%s/bad", s.dir);
        bool made = true;
        switch (cases[i].what[0] + cases[i].what[1]) {
        case 'f' + 'i': made = mkfifo(path, 0600) == 0; break;
        case 'd' + 'e': made = mknod(path, S_IFCHR | 0600, makedev(1, 3)) == 0; break;
        case 's' + 'o': made = mknod(path, S_IFSOCK | 0600, 0) == 0; break;
        case 's' + 'e': made = file_put(s.dir, "bad", "x", 1, cases[i].what[3] == 'u' ? 04755 : 02755); break;
        case 'n' + 'e': made = file_put(s.dir, "b\nd", "x", 1, 0644); break;
        default: made = link_make(&s, cases[i].target, "link"); break;
        }
        if (!made) /* mknod of a device needs root */
            SKIP("cannot make the hostile entry");
        int r = import(&x, s.dir, ARTIFACT_BUNDLE, "", &got, &e);
        if (r != -CODE_INVALID || !strstr(e.text, cases[i].say) || names_in(&x, "ingest") != 0 ||
            names_in(&x, "bundles") != 0 || cas_bytes(x.cas) != 0)
            FAIL("%s %s: r=%d text=%s", cases[i].what, cases[i].target ? cases[i].target : "", r, e.text);
        dir_remove(s.dir);
        fixture_close(&x);
    }
}

TEST(bounds_of_a_folder_hold)
{
    struct fixture x;
    struct source s;
    struct err e;
    struct import_result got = { 0 };
    uint64_t short_by = 0;
    CHECK(fixture_open(&x) && source_make(&s));
    x.limits.artifact_files_max = 3; /* run, lib, lib/data, lib/empty: four */
    CHECK_EQ(import(&x, s.dir, ARTIFACT_BUNDLE, "", &got, &e), -CODE_EXHAUSTED);
    CHECK(strstr(e.text, "artifact_files_max"));
    x.limits.artifact_files_max = 4;
    x.limits.artifact_bytes_max = 12;
    CHECK_EQ(import(&x, s.dir, ARTIFACT_BUNDLE, "", &got, &e), -CODE_EXHAUSTED);
    x.limits.artifact_bytes_max = 13;
    x.limits.store_bytes_max = 12;
    AUTO(import) struct import *im = import_new(x.cas, &x.limits, ARTIFACT_BUNDLE, open(s.dir, O_RDONLY | O_CLOEXEC), "");
    CHECK_EQ(import_run(im, &got, &short_by, &e), 1);
    CHECK(short_by == 1 && names_in(&x, "ingest") == 0);
    x.limits.store_bytes_max = 13; /* room was made: the same import runs again */
    CHECK_EQ(import_run(im, &got, &short_by, &e), 0);
    CHECK(stored(&x, true, got.hex));
    dir_remove(s.dir);
    fixture_close(&x);
}

TEST(a_stopped_import_leaves_nothing)
{
    struct fixture x;
    struct source s;
    struct err e;
    struct import_result got = { 0 };
    uint64_t short_by = 0;
    CHECK(fixture_open(&x) && source_make(&s));
    AUTO(import) struct import *im = import_new(x.cas, &x.limits, ARTIFACT_BUNDLE, open(s.dir, O_RDONLY | O_CLOEXEC), "");
    import_stop(im);
    CHECK_EQ(import_run(im, &got, &short_by, &e), -CODE_CANCELLED);
    CHECK(names_in(&x, "ingest") == 0 && cas_bytes(x.cas) == 0);
    dir_remove(s.dir);
    fixture_close(&x);
}

static void sweep(const char *sub, enum artifact_kind kind, int steps)
{
    struct fixture x;
    struct source s;
    int nth = 0;
    char path[128];
    CHECK(fixture_open(&x) && source_make(&s) && link_make(&s, "lib/data", "inside"));
    snprintf(path, sizeof path, "%s%s", s.dir, sub);
    for (bool fired = true; fired;) {
        CHECK(++nth < 100);
        CHECK(fixture_reopen(&x));
        int before = fds_open();
        struct err e = { 0 };
        struct import_result got = { 0 };
        fault_arm(nth);
        int r = import(&x, path, kind, "", &got, &e);
        fired = fault_fired();
        fault_arm(0);
        if (fired ? r >= 0 || e.code == CODE_OK || got.hex[0] : r != 0)
            FAIL("step %d: r=%d %s", nth, r, e.text);
        CHECK_EQ(fds_open(), before);
        CHECK_EQ(names_in(&x, "ingest"), 0);
        if (!fired)
            CHECK(stored(&x, got.tree, got.hex));
    }
    CHECK(nth > steps);
    CHECK(fixture_reopen(&x) && x.found == 1);
    dir_remove(s.dir);
    fixture_close(&x);
}

TEST(a_failed_folder_import_leaves_nothing) { sweep("", ARTIFACT_BUNDLE, 20); }
TEST(a_failed_file_import_leaves_nothing) { sweep("/lib/data", ARTIFACT_MODEL, 8); }

TEST_MAIN()
