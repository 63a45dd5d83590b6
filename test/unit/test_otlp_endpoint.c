#include "telemetry/otlp_endpoint.h"
#include "tap.h"

static const struct {
    const char *base, *url; /* url NULL: refused */
    bool whole;
} urls[] = {
    { "http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces", false },
    { "http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces", false },
    { "https://collector/otlp//", "https://collector/otlp/v1/traces", false },
    { "https://collector/v1/traces?x=1", "https://collector/v1/traces?x=1", true },
    { "http://[::1]:4318", "http://[::1]:4318/v1/traces", false },
    { "127.0.0.1:4318", NULL, false },      { "grpc://127.0.0.1:4317", NULL, false }, { "", NULL, false },
    { "http://", NULL, false },             { "http:///v1", NULL, true },             { "http://a b", NULL, true },
    { "http://a\n", NULL, true },           { "http://me:secret@a", NULL, true },     { "http://a?x=1", NULL, false },
    { "http://a/#f", NULL, true },          { "http://a\x80", NULL, true },
};

TEST(an_endpoint_becomes_the_address_of_traces_or_is_refused)
{
    for (size_t i = 0; i < COUNT_OF(urls); i++) {
        char url[OTLP_URL_MAX] = "";
        struct err e = { 0 };
        int r = otlp_endpoint_url(urls[i].base, urls[i].whole, url, &e);
        if ((r == 0) != (urls[i].url != NULL) || (urls[i].url && strcmp(url, urls[i].url) != 0) || strstr(e.text, "secret"))
            FAIL("'%s': %d, '%s', %s", urls[i].base, r, url, e.text);
    }
    char url[OTLP_URL_MAX];
    struct err e;
    AUTO_FREE char *longest = xcalloc(1, OTLP_URL_MAX + 1);
    memset(longest, 'a', OTLP_URL_MAX), memcpy(longest, "http://", 7);
    CHECK(otlp_endpoint_url(longest, true, url, &e) < 0);
    longest[OTLP_URL_MAX - 1] = '\0';
    CHECK_EQ(otlp_endpoint_url(longest, true, url, &e), 0);
}

static const struct {
    const char *text, *lines; /* lines NULL: refused */
} headers[] = {
    { "", "" },
    { "api-key=secret", "api-key: secret\n" },
    { " a = 1 , b=x%20y%3D,,c=d=e ", "a: 1\nb: x y=\nc: d=e\n" },
    { "a=", "a: \n" },
    { "a=%c3%A9", "a: \xc3\xa9\n" },
    { "secret", NULL }, { "=secret", NULL }, { "se cret=1", NULL }, { "a:b=secret", NULL }, { "a=secret%0d", NULL },
    { "a=secret%0A", NULL }, { "a=secret%", NULL }, { "a=secret%4", NULL }, { "a=secret%zz", NULL }, { "a=secret\n", NULL },
    { "a=secret\tb", NULL }, { "a=secret%00", NULL },
};

TEST(headers_become_lines_and_an_error_never_repeats_them)
{
    for (size_t i = 0; i < COUNT_OF(headers); i++) {
        struct buf b;
        struct err e = { 0 };
        buf_init(&b, 4096);
        int r = otlp_headers(headers[i].text, &b, &e);
        AUTO_FREE char *lines = b.size ? buf_take_text(&b) : xstrdup("");
        if ((r == 0) != (headers[i].lines != NULL) || (r == 0 && strcmp(lines, headers[i].lines) != 0) ||
            strstr(e.text, "secret"))
            FAIL("'%s': %d, '%s', %s", headers[i].text, r, lines, e.text);
        buf_done(&b);
    }
    struct buf small;
    struct err e;
    buf_init(&small, 4);
    CHECK(otlp_headers("a=12345", &small, &e) < 0);
    buf_done(&small);
}
TEST_MAIN()
