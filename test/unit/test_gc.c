/* Which Revisions go: Knative's rules over a row of them, by age. */
#include "serving/gc.h"
#include "tap.h"

enum { ROWS = 6, NOW_MS = 1000000 };

/* Made i seconds before `idle_s[i]`, given as ages in seconds; what goes is a letter per row, in the order given. */
static const char *told(const int *idle_s, const struct limits *l)
{
    static char text[ROWS + 1];
    struct gc_revision rows[ROWS], *by[ROWS];
    for (int i = 0; i < ROWS; i++) {
        rows[i] = (struct gc_revision){ NOW_MS - idle_s[i] * 1000 - 1000, NOW_MS - idle_s[i] * 1000, false };
        by[i] = &rows[i];
    }
    size_t gone = gc_decide(by, ROWS, l, NOW_MS), seen = 0;
    for (int i = 0; i < ROWS; i++) {
        text[i] = rows[i].goes ? 'x' : '.';
        seen += rows[i].goes;
    }
    return gone == seen ? text : "miscounted";
}

static struct limits rules(uint64_t create_s, uint64_t active_s, uint64_t min, uint64_t max)
{
    struct limits l;
    limits_default(&l);
    l.gc_create_s = create_s;
    l.gc_active_s = active_s;
    l.gc_min = min;
    l.gc_max = max;
    return l;
}

TEST(the_longest_idle_go_once_they_are_past_both_ages)
{
    static const int idle_s[ROWS] = { 10, 60, 30, 50, 20, 40 };
    static const struct {
        uint64_t create_s, active_s, min, max;
        const char *goes;
    } rows[] = {
        { 0, 30, 0, 1000, ".xxx.x" },
        { 0, 30, 4, 1000, ".x.x.." },  /* min: the longest idle go as long as 4 are left */
        { 45, 30, 0, 1000, ".x.x.." }, /* both ages */
        { 51, 0, 0, 1000, ".x.x.." },  /* made 51 s ago is past 51 s */
        { 52, 0, 0, 1000, ".x...." },
        { LIMIT_DISABLED, 30, 0, 1000, ".xxx.x" },
        { 52, LIMIT_DISABLED, 0, 1000, ".x...." },
        { LIMIT_DISABLED, LIMIT_DISABLED, 0, 1000, "......" },
        { LIMIT_DISABLED, LIMIT_DISABLED, 0, 4, ".x.x.." }, /* max: whatever their age */
        { 1000, 1000, 2, 2, ".xxx.x" },
        { 1000, 1000, 0, LIMIT_DISABLED, "......" },
        { 0, 0, 6, 1000, "......" },
        { 0, 0, 0, 0, "xxxxxx" },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct limits l = rules(rows[i].create_s, rows[i].active_s, rows[i].min, rows[i].max);
        CHECK_STR(told(idle_s, &l), rows[i].goes);
    }
}

TEST(of_equals_the_older_goes_and_none_is_no_trouble)
{
    struct gc_revision older = { 0, 5000, false }, newer = { 1000, 5000, false };
    struct gc_revision *by[] = { &newer, &older };
    const struct limits l = rules(0, 0, 1, 1000);
    CHECK_EQ(gc_decide(by, 2, &l, NOW_MS), 1);
    CHECK(older.goes && !newer.goes);
    CHECK_EQ(gc_decide(NULL, 0, &l, NOW_MS), 0);
}

TEST_MAIN()
