#include "codec/base64.h"
#include "tap.h"

TEST(what_is_written_is_read)
{
    struct buf text, back;
    unsigned char bytes[64];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 37 + 200);
    for (size_t size = 0; size <= sizeof bytes; size++) {
        buf_init(&text, 256);
        buf_init(&back, 256);
        base64_write((struct str){ (const char *)bytes, size }, &text);
        CHECK(base64_read(buf_str(&text), &back));
        CHECK_EQ(back.size, size);
        CHECK(size == 0 || memcmp(buf_at(&back), bytes, size) == 0);
        buf_done(&text);
        buf_done(&back);
    }
}

static bool reads(const char *text, const char *as)
{
    struct buf b;
    buf_init(&b, 64);
    bool is = base64_read(str_of(text), &b) && str_is(buf_str(&b), as);
    buf_done(&b);
    return is;
}

TEST(line_ends_are_let_through_and_nothing_else_is)
{
    static const char *const wrong[] = { "YQ=", "YQ", "Y", "=", "==", "====", "Y===", "YQ==YQ==", "YQ==x", "Y Q==", "YQ=a",
                                         "YQ-_", "YWJj\t", "Y=Q=", "\xff" };
    CHECK(reads("", ""));
    CHECK(reads("YW\nJj\r\n", "abc"));
    CHECK(reads("YQ=\n=\n", "a"));
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        struct buf b;
        buf_init(&b, 64);
        if (base64_read(str_of(wrong[i]), &b))
            FAIL("\"%s\" is read", wrong[i]);
        buf_done(&b);
    }
}

TEST(more_than_there_is_room_for_is_no_success)
{
    struct buf b;
    buf_init(&b, 3);
    CHECK(base64_read(STR("YWJj"), &b));
    buf_clear(&b);
    CHECK(!base64_read(STR("YWJjZA=="), &b));
    buf_done(&b);
}

TEST_MAIN()
