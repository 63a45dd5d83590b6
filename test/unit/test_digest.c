#include "codec/digest.h"
#include "tap.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde"

TEST(a_digest_is_written_as_it_was_read)
{
    struct digest d;
    struct err e;
    char text[DIGEST_TEXT], hex[DIGEST_HEX];
    CHECK_EQ(digest_parse(STR("sha256:" HEX "f"), &d, &e), 0);
    CHECK_EQ(d.at[0], 0x01);
    CHECK_EQ(d.at[31], 0xef);
    digest_format(&d, text);
    CHECK_STR(text, "sha256:" HEX "f");
    digest_hex(&d, hex);
    CHECK_STR(hex, HEX "f");
}

TEST(what_is_no_digest_is_refused)
{
    static const char *const bad[] = { "", "sha256:", "sha256:" HEX, "sha256:" HEX "ff",
                                       "sha256:" HEX "g", "sha256:" HEX "F", "sha512:" HEX "f",
                                       HEX "f", " sha256:" HEX "f" };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct digest d = { { 7 } };
        struct err e = { 0 };
        if (digest_parse(str_of(bad[i]), &d, &e) != -CODE_INVALID || d.at[0] != 7)
            FAIL("'%s' was accepted", bad[i]);
    }
}

TEST(a_pin_is_cut_off_a_reference_at_the_last_at)
{
    struct str base;
    struct digest d;
    struct err e;
    CHECK_EQ(digest_cut(STR("file:///m@sha256:x/y@sha256:" HEX "f"), &base, &d, &e), 1);
    CHECK(str_is(base, "file:///m@sha256:x/y"));
    CHECK_EQ(digest_cut(STR("http://user@host/m"), &base, &d, &e), 0);
    CHECK(str_is(base, "http://user@host/m"));
    CHECK_EQ(digest_cut(STR("file:///m@sha256:12"), &base, &d, &e), -CODE_INVALID);
    CHECK_EQ(digest_cut(STR(""), &base, &d, &e), 0);
}

TEST_MAIN()
