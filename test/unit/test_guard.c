#include "api/guard.h"
#include "tap.h"

static const char *const loopback = "127.0.0.1:8081";

static const struct {
    const char *host, *origin; /* NULL: absent */
    bool passes;
} cases[] = {
    { "127.0.0.1:8081", NULL, true },
    { "127.0.0.1", NULL, true },
    { "localhost:8081", NULL, true },
    { "LocalHost", NULL, true },
    { "hob.localhost:8081", NULL, true },
    { "[::1]:8081", NULL, true },
    { "10.0.0.7:8081", NULL, true }, /* a forwarded port: no name, so nothing to rebind */
    { NULL, NULL, true },
    /* a page asks across sites */
    { "127.0.0.1:8081", "http://evil.example", false },
    { "127.0.0.1:8081", "null", false },
    { "127.0.0.1:8081", "", false },
    { "127.0.0.1:8081", "http://127.0.0.1:3000", false }, /* another port is another site */
    { "127.0.0.1:8081", "http://127.0.0.1:8081.evil.example", false },
    { "127.0.0.1:8081", "ftp://127.0.0.1:8081", false },
    { NULL, "http://", false },
    /* our own page */
    { "127.0.0.1:8081", "http://127.0.0.1:8081", true },
    { "localhost:8081", "https://LOCALHOST:8081", true },
    /* a name that was made to point here */
    { "evil.example:8081", NULL, false },
    { "evil.example:8081", "http://evil.example:8081", false },
    { "evillocalhost:8081", NULL, false },
    { ".localhost", NULL, false },
    { "localhost.evil.example", NULL, false },
    { "127.0.0.1.evil.example:8081", NULL, false },
    { "", NULL, false },
};

static struct str text(const char *t) { return t ? str_of(t) : (struct str){ NULL, 0 }; }

TEST(requests_of_foreign_pages_are_told_from_others)
{
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct err e = { 0 };
        int r = guard_check(text(cases[i].host), text(cases[i].origin), loopback, &e);
        if ((r == 0) != cases[i].passes)
            FAIL("Host %s, Origin %s: %d %s", cases[i].host ? cases[i].host : "-",
                 cases[i].origin ? cases[i].origin : "-", r, e.text);
        if (r < 0)
            CHECK_EQ(r, -CODE_DENIED);
    }
}

TEST(beyond_loopback_any_name_may_lead_here_but_pages_stay_apart)
{
    struct err e = { 0 };
    CHECK_EQ(guard_check(STR("node7.example:8081"), text(NULL), "0.0.0.0:8081", &e), 0);
    CHECK_EQ(guard_check(STR("node7.example:8081"), STR("http://evil.example"), "0.0.0.0:8081", &e),
             -CODE_DENIED);
    CHECK_EQ(guard_check(STR("node7.example:8081"), text(NULL), "[::1]:8081", &e), -CODE_DENIED);
}

TEST_MAIN()
