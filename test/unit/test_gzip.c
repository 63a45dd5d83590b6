#include "codec/gzip.h"
#include "tap.h"

/* As gzip(1) writes "hello\n". */
static const char hello[] = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcb\x48\xcd\xc9\xc9\xe7\x02\x00\x20\x30\x3a\x36\x06\x00\x00\x00";
static const struct str packed_hello = { hello, sizeof hello - 1 };

TEST(what_another_program_packed_is_read)
{
    AUTO(gzip) struct gzip *g = gzip_new();
    struct err e = { 0 };
    struct buf b;
    buf_init(&b, 6); /* it just fits */
    CHECK_EQ(gzip_read(g, packed_hello, &b, &e), 0);
    CHECK(str_is(buf_str(&b), "hello\n"));
    buf_done(&b);
    buf_init(&b, 5);
    CHECK_EQ(gzip_read(g, packed_hello, &b, &e), -CODE_EXHAUSTED);
    CHECK_EQ(b.size, 5);
    buf_done(&b);
}

TEST(what_is_written_is_read_whatever_its_size)
{
    AUTO(gzip) struct gzip *g = gzip_new();
    static char text[300000];
    struct err e = { 0 };
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)(i * i >> (i % 7));
    for (size_t size = 0; size <= sizeof text; size = size * 3 + 1) {
        struct buf packed, plain;
        buf_init(&packed, 2 * sizeof text);
        buf_init(&plain, sizeof text);
        gzip_write(g, (struct str){ text, size }, &packed);
        CHECK(!packed.overflow);
        CHECK_EQ(gzip_read(g, buf_str(&packed), &plain, &e), 0);
        CHECK(str_eq(buf_str(&plain), (struct str){ text, size }));
        gzip_write(g, (struct str){ text, size }, &packed); /* two members are one text */
        buf_clear(&plain);
        CHECK_EQ(gzip_read(g, buf_str(&packed), &plain, &e), 2 * size <= sizeof text ? 0 : -CODE_EXHAUSTED);
        buf_done(&packed);
        buf_done(&plain);
    }
}

TEST(a_bomb_stops_at_the_bound)
{
    AUTO(gzip) struct gzip *g = gzip_new();
    char *zeros = xcalloc(1, 64 << 20);
    struct err e = { 0 };
    struct buf packed, plain;
    buf_init(&packed, 1 << 20);
    buf_init(&plain, 4 << 20);
    gzip_write(g, (struct str){ zeros, 64 << 20 }, &packed);
    CHECK(!packed.overflow);
    CHECK_EQ(gzip_read(g, buf_str(&packed), &plain, &e), -CODE_EXHAUSTED);
    CHECK(plain.size <= 4 << 20 && plain.capacity <= 4 << 20);
    buf_done(&packed);
    buf_done(&plain);
    free(zeros);
}

TEST(what_is_cut_changed_or_longer_is_refused)
{
    AUTO(gzip) struct gzip *g = gzip_new();
    struct err e = { 0 };
    struct buf b;
    buf_init(&b, 1024);
    for (size_t size = 0; size < packed_hello.size; size++) {
        char *exact = xcalloc(1, size + 1);
        memcpy(exact, hello, size);
        CHECK_EQ(gzip_read(g, (struct str){ exact, size }, &b, &e), -CODE_INVALID);
        free(exact);
    }
    char other[sizeof hello];
    memcpy(other, hello, sizeof hello);
    other[18] ^= 1; /* the checksum */
    CHECK_EQ(gzip_read(g, (struct str){ other, sizeof hello - 1 }, &b, &e), -CODE_INVALID);
    memcpy(other, hello, sizeof hello);
    CHECK_EQ(gzip_read(g, (struct str){ other, sizeof hello }, &b, &e), -CODE_INVALID); /* a NUL behind it */
    CHECK_EQ(gzip_read(g, STR("hello, this is plain text"), &b, &e), -CODE_INVALID);
    buf_clear(&b);
    CHECK_EQ(gzip_read(g, packed_hello, &b, &e), 0); /* and it can be used again */
    CHECK(str_is(buf_str(&b), "hello\n"));
    buf_done(&b);
}

TEST(what_does_not_fit_is_said)
{
    AUTO(gzip) struct gzip *g = gzip_new();
    struct buf b;
    buf_init(&b, 10);
    gzip_write(g, STR("hello"), &b);
    CHECK(b.overflow);
    buf_done(&b);
}

TEST_MAIN()
