#include "os/zonefile.h"
#include "os/fault.h"
#include "fds.h"
#include "tap.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static int read_zone(const char *dir, const char *name, size_t max, struct err *e)
{
    struct buf b;
    buf_init(&b, max);
    int r = zonefile_read(dir, str_of(name), &b, e);
    if (r == 0 && (b.size < 44 || memcmp(buf_at(&b), "TZif", 4) != 0))
        r = -CODE_INTERNAL;
    buf_done(&b);
    return r;
}

TEST(a_zone_of_the_system_is_read)
{
    struct err e = { 0 };
    if (read_zone(NULL, "Europe/Berlin", 65536, &e) < 0)
        FAIL("%s", e.text);
    CHECK_EQ(read_zone(NULL, "Nowhere/Atlantis", 65536, &e), -CODE_NOT_FOUND);
    CHECK_EQ(read_zone(NULL, "Europe", 65536, &e), -CODE_NOT_FOUND);
    CHECK_EQ(read_zone(NULL, "Europe/Berlin/x", 65536, &e), -CODE_NOT_FOUND);
    CHECK(read_zone(NULL, "Europe/Berlin", 100, &e) == -CODE_INVALID && strstr(e.text, "larger than any time zone"));
    CHECK(read_zone("/nowhere", "Europe/Berlin", 65536, &e) < 0 && strstr(e.text, "tzdata"));
}

TEST(no_name_leads_out_of_the_folder)
{
    char dir[] = "/tmp/hob-zone-XXXXXX", path[64];
    struct err e = { 0 };
    CHECK(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/Link", dir);
    CHECK_EQ(symlink("/usr/share/zoneinfo/Europe/Berlin", path), 0);
    int out = read_zone(dir, "Link", 65536, &e), up = read_zone("/usr/share/zoneinfo/Europe", "../UTC", 65536, &e);
    int absolute = read_zone(dir, "/usr/share/zoneinfo/UTC", 65536, &e);
    (void)unlink(path);
    (void)rmdir(dir);
    CHECK(out < 0 && up < 0 && absolute < 0);
}

TEST(whatever_fails_nothing_is_left)
{
    int nth = 1, before = fds_open();
    for (bool fired = true; fired; nth++) {
        struct err e = { 0 };
        fault_arm(nth);
        int r = read_zone(NULL, "Europe/Berlin", 65536, &e);
        fired = fault_fired();
        fault_arm(0);
        CHECK(fired ? r < 0 && strstr(e.text, "time zone Europe/Berlin") : r == 0);
        CHECK_EQ(fds_open(), before);
    }
    CHECK(nth > 4);
}

TEST_MAIN()
