#include "instance/grpc_health.h"
#include "tap.h"

TEST(a_request_is_as_protobuf_writes_it)
{
    char name[301];
    struct buf b;
    buf_init(&b, 4096);
    grpc_health_ask("", &b);
    grpc_health_ask(NULL, &b);
    CHECK_EQ(b.size, 0);
    grpc_health_ask("live", &b);
    CHECK(str_eq(buf_str(&b), STR("\x0a\x04live")));
    buf_clear(&b);
    memset(name, 'x', sizeof name - 1);
    name[300] = '\0';
    grpc_health_ask(name, &b);
    CHECK_EQ(b.size, 303);
    CHECK(memcmp(buf_at(&b), "\x0a\xac\x02xx", 5) == 0);
    buf_done(&b);
}

static const struct {
    struct str message;
    int64_t status; /* -1: refused */
} rows[] = {
    { STR(""), GRPC_HEALTH_UNKNOWN },
    { STR("\x08\x01"), GRPC_HEALTH_SERVING },
    { STR("\x08\x02"), GRPC_HEALTH_NOT_SERVING },
    { STR("\x08\x01\x08\x02"), GRPC_HEALTH_NOT_SERVING }, /* the last counts */
    { STR("\x12\x03xyz\x08\x01\x19" "12345678\x25" "1234\x30\x80\x01"), GRPC_HEALTH_SERVING },
    { STR("\x08\xff\x01"), 255 },
    { STR("\x08"), -1 },
    { STR("\x08\x80"), -1 },
    { STR("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), -1 },
    { STR("\x12\x05xyz"), -1 },
    { STR("\x19" "1234567"), -1 },
    { STR("\x0b"), -1 },     /* a group */
    { STR("\x00\x01"), -1 }, /* field 0 */
};

TEST(an_answer_is_read_or_refused)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        uint64_t status = 77;
        printf("# row %zu\n", i);
        bool ok = grpc_health_parse(rows[i].message, &status);
        CHECK_EQ(ok, rows[i].status >= 0);
        CHECK_EQ(status, ok ? rows[i].status : 77);
    }
    CHECK_STR(grpc_health_name(2), "NOT_SERVING");
    CHECK_STR(grpc_health_name(99), "UNRECOGNIZED");
}

TEST_MAIN()
