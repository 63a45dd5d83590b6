#include "artifact/fetcher_wire.h"
#include "tap.h"

static const struct {
    const char *text;
    int64_t from, total; /* from -1: must be refused */
} ranges[] = {
    { "bytes 0-0/1", 0, 1 },
    { "bytes 40-99/100", 40, 100 },
    { "bytes 40-99/*", 40, -1 },
    { "bytes 0-9223372036854775806/9223372036854775807", 0, INT64_MAX },
    { "bytes 0-9223372036854775807/9223372036854775808", -1, 0 },
    { "bytes 40-39/100", -1, 0 },
    { "bytes 40-100/100", -1, 0 },
    { "bytes */100", -1, 0 },
    { "bytes -5/100", -1, 0 },
    { "bytes 1-/100", -1, 0 },
    { "bytes 1-2", -1, 0 },
    { "bytes 1-2/", -1, 0 },
    { "bytes +1-2/3", -1, 0 },
    { "bytes 1-2/3 ", -1, 0 },
    { "bytes  1-2/3", -1, 0 },
    { "Bytes 1-2/3", -1, 0 },
    { "lines 1-2/3", -1, 0 },
    { "", -1, 0 },
};

TEST(content_ranges)
{
    for (size_t i = 0; i < COUNT_OF(ranges); i++) {
        int64_t from = -7, total = -7;
        bool good = wire_range_parse(str_of(ranges[i].text), &from, &total);
        if (good != (ranges[i].from >= 0) || (good && (from != ranges[i].from || total != ranges[i].total)) ||
            (!good && (from != -7 || total != -7)))
            FAIL("'%s': %d %" PRId64 " %" PRId64, ranges[i].text, good, from, total);
    }
}

static const struct wire_message good_start = { .kind = WIRE_START, .id = 1, .text = "http://h/x" };
static const struct wire_message good_head = { .kind = WIRE_HEAD, .id = 1, .status = 200, .size = -1,
                                               .from = -1, .retry_after_ms = -1 };
static const struct wire_message good_end = { .kind = WIRE_END, .id = 1 };

static bool taken(const struct wire_message *m, bool from_node)
{
    struct err e;
    return wire_check(m, sizeof *m, from_node, &e) == 0;
}

TEST(each_side_may_say_only_its_own_lines)
{
    struct wire_message cancel = { .kind = WIRE_CANCEL };
    struct err e;
    CHECK(taken(&good_start, true) && taken(&cancel, true));
    CHECK(taken(&good_head, false) && taken(&good_end, false));
    CHECK(!taken(&good_start, false) && !taken(&cancel, false));
    CHECK(!taken(&good_head, true) && !taken(&good_end, true));
    struct wire_message post = { .kind = WIRE_POST };
    CHECK(taken(&post, true) && !taken(&post, false));
    snprintf(post.text, sizeof post.text, "http://elsewhere/"); /* where to is not the node's to say */
    CHECK(!taken(&post, true));
    struct wire_message call = { .kind = WIRE_CALL, .from = 20, .text = "http://receiver/" };
    CHECK(taken(&call, true) && !taken(&call, false));
    CHECK(wire_check(&good_end, sizeof good_end - 1, false, &e) < 0);
}

#define REFUSED(base, node, change)    \
    do {                               \
        struct wire_message m = base;  \
        change;                        \
        CHECK(!taken(&m, node));       \
    } while (0)

TEST(a_field_out_of_its_range_is_refused)
{
    const struct wire_message good_call = { .kind = WIRE_CALL, .from = 20, .text = "http://receiver/" };
    REFUSED(good_call, true, m.text[0] = '\0');
    REFUSED(good_call, true, m.text[3] = '\n');
    REFUSED(good_call, true, m.from = -1);
    REFUSED(good_start, true, m.text[0] = '\0');
    REFUSED(good_start, true, memset(m.text, 'a', sizeof m.text));
    REFUSED(good_start, true, m.text[3] = '\n');
    REFUSED(good_start, true, memset(m.etag, 'a', sizeof m.etag));
    REFUSED(good_start, true, m.etag[0] = '\r');
    REFUSED(good_start, true, m.from = -1);
    REFUSED(good_start, true, m.unused = 1);
    REFUSED(good_head, false, m.status = 99);
    REFUSED(good_head, false, m.status = 600);
    REFUSED(good_head, false, m.size = -2);
    REFUSED(good_head, false, m.from = -2);
    REFUSED(good_head, false, m.retry_after_ms = -2);
    REFUSED(good_head, false, memset(m.etag, 'a', sizeof m.etag));
    REFUSED(good_head, false, m.etag[0] = '\n');
    REFUSED(good_end, false, m.code = CODE_DATA_LOSS + 1);
    REFUSED(good_end, false, m.text[0] = '\n');
    REFUSED(good_end, false, memset(m.text, 'a', sizeof m.text));
    REFUSED(good_end, false, m.kind = 0);
}

TEST_MAIN()
