#include "workflow/zones.h"
#include "fds.h"
#include "os/fault.h"
#include "tap.h"
#include "zone_files.h"

static int32_t offset_in_july(const struct zone *z)
{
    int32_t offset;
    int64_t until;
    zone_span(z, 1782900000, &offset, &until);
    return offset;
}

TEST(a_zone_is_found_by_name_or_in_the_data_that_came_with_it)
{
    AUTO(zone) struct zone *berlin = NULL, *utc = (struct zone *)(uintptr_t)8, *own = NULL;
    struct err e = { 0 };
    struct buf data;
    CHECK_EQ(zones_load(NULL, STR("Europe/Berlin"), STR(""), &berlin, &e), 0);
    CHECK_EQ(offset_in_july(berlin), 7200);
    CHECK(zones_load(NULL, STR(""), STR(""), &utc, &e) == 0 && !utc);
    buf_init(&data, 1000);
    zone_rule_file(&data, "XYZ-3");
    int r = zones_load(NULL, STR("Europe/Berlin"), buf_str(&data), &own, &e);
    buf_done(&data);
    CHECK_EQ(r, 0);
    CHECK_EQ(offset_in_july(own), 10800);
}

TEST(what_is_no_zone_is_refused_as_the_askers_mistake)
{
    static const char *const bad[] = { "Nowhere/Atlantis", "../../etc/passwd", "localtime", "tzdata.zi", "Europe" };
    struct zone *untouched = (struct zone *)(uintptr_t)8, *z = untouched;
    struct err e = { 0 };
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        if (zones_load(NULL, str_of(bad[i]), STR(""), &z, &e) != -CODE_INVALID || z != untouched ||
            !strstr(e.text, "time zone"))
            FAIL("%s: %s", bad[i], e.text);
    CHECK(zones_load(NULL, STR("zone1970"), STR("no zone"), &z, &e) == -CODE_INVALID && z == untouched);
    CHECK_EQ(zones_load("/etc", STR("passwd"), STR(""), &z, &e), -CODE_INVALID);
    CHECK(strstr(e.text, "time zone passwd: time zone file: it does not begin with TZif"));
}

TEST(whatever_fails_nothing_is_left)
{
    int nth = 1, before = fds_open();
    for (bool fired = true; fired; nth++) {
        AUTO(zone) struct zone *z = NULL;
        struct err e = { 0 };
        fault_arm(nth);
        int r = zones_load(NULL, STR("Europe/Berlin"), STR(""), &z, &e);
        fired = fault_fired();
        fault_arm(0);
        CHECK(fired ? r < 0 && !z && strstr(e.text, "time zone Europe/Berlin") : r == 0 && z);
        CHECK_EQ(fds_open(), before);
    }
    CHECK(nth > 4);
}

TEST_MAIN()
