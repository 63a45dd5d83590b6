/* What a Schedule may say. */
#include "serving/periodic.h"
#include "tap.h"

static int read_text(const char *text, struct periodic *ret, const char **ret_field, json_t **ret_json)
{
    struct limits limits;
    struct err e;
    limits_default(&limits);
    ASSERT(json_read(str_of(text), &limits, ret_json, &e) == 0);
    *ret_field = "";
    return periodic_read(*ret_json, ret, ret_field, &e);
}

TEST(what_is_left_out_has_its_default)
{
    struct periodic p;
    const char *field;
    json_t *j;
    CHECK_EQ(read_text("{\"schedule\":\"@every 10m\",\"service\":\"greeter\"}", &p, &field, &j), 0);
    bool good = p.cron.every_s == 600 && p.overlap == PERIODIC_SKIP && p.catchup_ms == 3600000 && p.deadline_ms == 86400000 &&
                !p.suspend && strcmp(p.method, "POST") == 0 && strcmp(p.path, "/") == 0 && !p.body[0] && !p.headers;
    json_decref(j);
    CHECK(good);
}

TEST(each_field_is_read)
{
    struct periodic p;
    const char *field;
    json_t *j;
    CHECK_EQ(read_text("{\"schedule\":\"0 9 * * 1-5\",\"timeZone\":\"Europe/Paris\",\"service\":\"s\",\"overlap\":\"CancelOther\","
                       "\"catchUpWindow\":\"10s\",\"deadline\":\"1m\",\"suspend\":true,\"method\":\"PUT\",\"path\":\"/a?b=c\","
                       "\"headers\":{\"X-A\":\"b\"},\"body\":\"hi\"}", &p, &field, &j), 0);
    bool good = strcmp(p.cron.zone, "Europe/Paris") == 0 && p.overlap == PERIODIC_CANCEL_OTHER && p.catchup_ms == 10000 &&
                p.deadline_ms == 60000 && p.suspend && strcmp(p.method, "PUT") == 0 && strcmp(p.path, "/a?b=c") == 0 &&
                strcmp(p.body, "hi") == 0 && json_object_size(p.headers) == 1;
    json_decref(j);
    CHECK(good);
}

TEST(what_is_wrong_is_said_of_its_field)
{
#define SPEC(rest) "{\"schedule\":\"@hourly\",\"service\":\"s\"" rest "}"
    static const struct {
        const char *spec, *field;
    } rows[] = {
        { "{\"service\":\"s\"}", "spec.schedule" },
        { "{\"service\":\"s\",\"schedule\":\"61 * * * *\"}", "spec.schedule" },
        { "{\"service\":\"s\",\"schedule\":\"TZ=Europe/Paris @hourly\",\"timeZone\":\"Europe/Paris\"}", "spec.timeZone" },
        { SPEC(",\"timeZone\":\"Mars/Base\""), "spec.timeZone" },
        { SPEC(",\"timeZone\":\"../../etc/passwd\""), "spec.timeZone" },
        { SPEC(",\"overlap\":\"skip\""), "spec.overlap" },
        { SPEC(",\"catchUpWindow\":\"9s\""), "spec.catchUpWindow" },
        { SPEC(",\"catchUpWindow\":\"soon\""), "spec.catchUpWindow" },
        { SPEC(",\"deadline\":\"0s\""), "spec.deadline" },
        { SPEC(",\"path\":\"a\""), "spec.path" },
        { SPEC(",\"path\":\"/a b\""), "spec.path" },
        { SPEC(",\"path\":\"/a\\r\\nX: y\""), "spec.path" },
        { SPEC(",\"headers\":{\"Host\":\"x\"}"), "spec.headers" },
        { SPEC(",\"headers\":{\"hob-attempt\":\"1\"}"), "spec.headers" },
        { SPEC(",\"headers\":{\"a b\":\"x\"}"), "spec.headers" },
        { SPEC(",\"headers\":{\"a\":\"x\\r\\nb: y\"}"), "spec.headers" },
        { SPEC(",\"method\":\"CONNECT\""), "spec.method" },
        { SPEC(",\"method\":\"post\""), "spec.method" },
        { "{\"schedule\":\"@hourly\"}", "spec.service" },
        { "{\"schedule\":\"@hourly\",\"service\":\"A/b\"}", "spec.service" },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct periodic p;
        const char *field;
        json_t *j;
        int r = read_text(rows[i].spec, &p, &field, &j);
        bool as_said = r == -CODE_INVALID && strcmp(field, rows[i].field) == 0;
        json_decref(j);
        if (!as_said)
            FAIL("row %zu: %d of %s", i, r, field);
    }
}
TEST_MAIN()
