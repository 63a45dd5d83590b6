#include "net/grpc_wire.h"
#include "tap.h"

TEST(a_timeout_is_whole_milliseconds_rounded_up)
{
    static const struct {
        const char *text;
        int64_t ms; /* -1: refused */
    } rows[] = { { "30000000u", 30000 }, { "1u", 1 }, { "1n", 1 }, { "0m", 0 }, { "9874m", 9874 }, { "2S", 2000 }, { "1M", 60000 },
                 { "1H", 3600000 }, { "99999999H", INT64_C(359999996400000) }, { "100000000m", -1 }, { "", -1 }, { "m", -1 },
                 { "1", -1 }, { "1x", -1 }, { "-1m", -1 }, { "1 m", -1 }, { "1mm", -1 } };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct err e = { 0 };
        uint64_t ms = 77;
        int r = grpc_wire_timeout(str_of(rows[i].text), &ms, &e);
        CHECK_EQ(r, rows[i].ms < 0 ? -CODE_INVALID : 0);
        CHECK_EQ(ms, rows[i].ms < 0 ? 77 : rows[i].ms);
    }
}

TEST(a_content_type_is_grpcs_or_not)
{
    CHECK(grpc_wire_is_type(STR("application/grpc")) && grpc_wire_is_type(STR("application/grpc+proto")) &&
          grpc_wire_is_type(STR("Application/gRPC;x=1")));
    CHECK(!grpc_wire_is_type(STR("application/grpc-web")) && !grpc_wire_is_type(STR("application/json")) &&
          !grpc_wire_is_type(STR("application/grp")) && !grpc_wire_is_type(STR("")));
}

TEST(a_text_is_percent_encoded_and_never_cut_within_a_character_of_it)
{
    struct buf b;
    buf_init(&b, 100);
    grpc_wire_text(&b, STR("a 100%\n\xc3\xbc~"), 100);
    CHECK(str_is(buf_str(&b), "a 100%25%0A%C3%BC~"));
    buf_clear(&b);
    grpc_wire_text(&b, STR("ab\ncd"), 4);
    CHECK(str_is(buf_str(&b), "ab"));
    buf_done(&b);
}

TEST(a_prefix_goes_there_and_back)
{
    char at[GRPC_PREFIX_BYTES];
    struct grpc_prefix p = { 0 };
    grpc_wire_prefix((struct grpc_prefix){ true, 0xfedcba98 }, at);
    CHECK(memcmp(at, "\x01\xfe\xdc\xba\x98", 5) == 0);
    CHECK(grpc_wire_prefix_read((struct str){ at, 5 }, &p) && p.packed && p.size == 0xfedcba98);
    CHECK(!grpc_wire_prefix_read((struct str){ at, 4 }, &p));
    at[0] = 2;
    CHECK(!grpc_wire_prefix_read((struct str){ at, 5 }, &p));
}

TEST_MAIN()
