#include "telemetry/starts.h"
#include "tap.h"

struct seen {
    char text[256];
};
static void on_start(void *ctx, const struct last_start *l)
{
    struct seen *s = ctx;
    size_t used = strlen(s->text);
    snprintf(s->text + used, sizeof s->text - used, "%s/%s=%s:%s ", l->ns, l->service, l->revision, l->start.id);
}
static struct seen look(const struct starts *s, const char *ns, const char *service)
{
    struct seen seen = { "" };
    starts_each(s, ns, service, on_start, &seen);
    return seen;
}
static void add(struct starts *s, const char *ns, const char *service, const char *id)
{
    struct start_record r = { .begin_us = 1 };
    snprintf(r.id, sizeof r.id, "%s", id);
    starts_add(s, ns, service, "r", &r);
}

TEST(each_service_keeps_its_last_start_and_the_oldest_service_goes_first)
{
    struct limits limits;
    limits_default(&limits);
    limits.starts_kept_max = 3;
    AUTO(starts) struct starts *s = starts_new(&limits);
    CHECK_STR(look(s, "", "").text, "");
    add(s, "n", "a", "1"), add(s, "n", "b", "2"), add(s, "m", "a", "3"), add(s, "n", "a", "4");
    CHECK_STR(look(s, "", "").text, "n/a=r:4 m/a=r:3 n/b=r:2 ");
    CHECK_STR(look(s, "n", "").text, "n/a=r:4 n/b=r:2 ");
    CHECK_STR(look(s, "m", "a").text, "m/a=r:3 ");
    add(s, "n", "c", "5");
    CHECK_STR(look(s, "", "").text, "n/c=r:5 n/a=r:4 m/a=r:3 ");
    starts_forget(s, "n", "a");
    starts_forget(s, "n", "nobody");
    CHECK_STR(look(s, "", "").text, "n/c=r:5 m/a=r:3 ");
}
TEST_MAIN()
