#include "gateway/grpc.h"
#include "net/grpc_wire.h"
#include "tap.h"

TEST(a_timeout_is_digits_and_a_unit_and_nothing_else)
{
    static const struct {
        const char *text;
        int64_t ms; /* -1: refused */
    } rows[] = { { "1H", 3600000 }, { "2M", 120000 }, { "3S", 3000 },    { "4m", 4 },     { "1500u", 2 },
                 { "1n", 1 },       { "0m", 0 },      { "99999999H", 359999996400000 }, { "", -1 },
                 { "m", -1 },       { "1", -1 },      { "1s", -1 },      { "-1S", -1 },   { "1 S", -1 },
                 { "1.5S", -1 },    { "123456789m", -1 }, { "1SS", -1 },  { "+1S", -1 } };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        uint64_t ms = 0;
        struct err e;
        int r = grpc_wire_timeout(str_of(rows[i].text), &ms, &e);
        if ((r < 0) != (rows[i].ms < 0) || (r == 0 && ms != (uint64_t)rows[i].ms))
            FAIL("\"%s\": %d, %llu ms", rows[i].text, r, (unsigned long long)ms);
        CHECK(r == 0 || strstr(e.text, "grpc-timeout"));
    }
}

TEST(a_timeout_that_is_written_can_be_read)
{
    static const uint64_t rows[] = { 0, 1, 999, 86400000, UINT64_C(999999999999) };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct buf b;
        struct err e;
        uint64_t ms;
        buf_init(&b, 100);
        grpc_timeout_write(&b, rows[i]);
        struct str text = buf_str(&b);
        CHECK(str_starts(text, STR("grpc-timeout: ")) && str_ends(text, STR("\r\n")));
        CHECK_EQ(grpc_wire_timeout(str_head(str_from(text, 14), text.size - 16), &ms, &e), 0);
        CHECK_EQ(ms, MIN(rows[i], 99999999));
        buf_done(&b);
    }
}

TEST(every_problem_has_a_status_that_tells_a_caller_what_to_do)
{
    CHECK_EQ(grpc_status(PROBLEM_QUEUE_FULL), CODE_UNAVAILABLE);
    CHECK_EQ(grpc_status(PROBLEM_OVERLOADED), CODE_UNAVAILABLE);
    CHECK_EQ(grpc_status(PROBLEM_START_FAILED), CODE_UNAVAILABLE);
    CHECK_EQ(grpc_status(PROBLEM_INSTANCE_DIED), CODE_UNAVAILABLE);
    CHECK_EQ(grpc_status(PROBLEM_BAD_ANSWER), CODE_INTERNAL);
    CHECK_EQ(grpc_status(PROBLEM_QUEUE_TIMEOUT), CODE_DEADLINE);
    CHECK_EQ(grpc_status(PROBLEM_DEADLINE), CODE_DEADLINE);
    CHECK_EQ(grpc_status(PROBLEM_UNKNOWN_HOST), CODE_UNIMPLEMENTED);
    CHECK_EQ(grpc_status(PROBLEM_BAD_HEADER), CODE_INVALID);
    CHECK_EQ(grpc_status(PROBLEM_HOPS), CODE_EXHAUSTED);
    for (int k = 0; k < PROBLEM_KINDS; k++)
        CHECK(grpc_status((enum problem_kind)k) != CODE_OK);
}

TEST(a_message_cannot_leave_its_line)
{
    struct buf b;
    buf_init(&b, 8192);
    grpc_refusal_write(&b, &(struct problem){ .kind = PROBLEM_INTERNAL, .detail = "a\r\nX: y 100% \xc3\xa4" });
    struct str text = buf_str(&b);
    CHECK(memmem(text.at, text.size, "grpc-message: a%0D%0AX: y 100%25 %C3%A4\r\n", 41));
    CHECK(memmem(text.at, text.size, "grpc-status: 13\r\n", 17));
    buf_done(&b);
}

TEST(only_grpcs_own_content_types_are_calls)
{
    static const struct {
        const char *type;
        bool call;
    } rows[] = { { "application/grpc", true },     { "application/grpc+proto", true },
                 { "Application/GRPC", true },     { "application/grpc;x=y", true },
                 { "application/grpc-web", false }, { "application/json", false } };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char text[200];
        struct limits limits;
        struct http1_head h;
        limits_default(&limits);
        snprintf(text, sizeof text, "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: %s\r\n\r\n", rows[i].type);
        http1_head_init(&h, HTTP1_REQUEST, &limits);
        CHECK_EQ(http1_head_feed(&h, text, strlen(text)), HTTP1_DONE);
        CHECK_EQ(grpc_is_call(&h), rows[i].call);
        http1_head_done(&h);
    }
}

TEST_MAIN()
