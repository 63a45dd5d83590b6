#include "net/http1.h"
#include "base/rng.h"
#include "http1_stream.h"
#include "http1_vectors.h"
#include "net/http1_write.h"
#include "tap.h"

static struct limits defaults(void)
{
    struct limits l;
    limits_default(&l);
    return l;
}

/* The text of reading `in`; the caller frees it. */
static char *read_stream(const struct stream_case *c, struct str in)
{
    struct buf out;
    buf_init(&out, MIB(4));
    stream_read(c, in, &out);
    ASSERT(!out.overflow);
    return buf_take_text(&out);
}

/* Text of the failing vector, made printable. */
static const char *shown(struct str s)
{
    static char text[512];
    size_t used = 0;
    for (size_t i = 0; i < s.size && used < sizeof text - 5; i++)
        used += (size_t)snprintf(text + used, sizeof text - used,
                                 s.at[i] >= 0x20 && s.at[i] < 0x7f ? "%c" : "\\x%02x",
                                 (unsigned char)s.at[i]);
    return text;
}

/* ---- the corpus ---------------------------------------------------------------------------- */

/* Each vector whole, byte by byte, and cut in two at every place: one verdict, and one reading of
 * everything in it. */
static bool vector_holds(const struct stream_case *base, struct str in, const char *verdict,
                         const char *why)
{
    struct stream_case c = *base;
    AUTO_FREE char *terse = read_stream(&c, in);
    if (strcmp(terse, verdict) != 0) {
        printf("# %s: %s\n#   read as \"%s\", expected \"%s\"\n", why, shown(in), terse, verdict);
        return false;
    }
    c.verbose = true;
    AUTO_FREE char *whole = read_stream(&c, in);
    for (size_t piece = 1; piece <= in.size; piece++) {
        c.piece_max = piece; /* 1: bytes; n: one cut after n, and others behind it */
        AUTO_FREE char *cut = read_stream(&c, in);
        if (strcmp(whole, cut) != 0) {
            printf("# %s: in pieces of %zu\n# %s\n# whole:\n# %s\n", why, piece, cut, whole);
            return false;
        }
    }
    return true;
}

TEST(no_stream_of_requests_is_read_in_two_ways)
{
    struct limits l = defaults();
    struct stream_case c = { .kind = HTTP1_REQUEST, .limits = &l };
    size_t refused = 0, bad = 0;
    for (size_t i = 0; i < COUNT_OF(request_vectors); i++) {
        const struct vector *v = &request_vectors[i];
        refused += strchr(v->verdict, '!') != NULL;
        bad += !vector_holds(&c, v->in, v->verdict, v->why);
    }
    CHECK_EQ(bad, 0);
    CHECK(COUNT_OF(request_vectors) >= 200 && refused > COUNT_OF(request_vectors) / 2);
}

TEST(no_stream_of_answers_is_read_in_two_ways)
{
    struct limits l = defaults();
    struct stream_case c = { .kind = HTTP1_RESPONSE, .limits = &l };
    size_t bad = 0;
    for (size_t i = 0; i < COUNT_OF(response_vectors); i++) {
        const struct response_vector *v = &response_vectors[i];
        c.answers = v->answers;
        bad += !vector_holds(&c, v->in, v->verdict, v->why);
    }
    CHECK_EQ(bad, 0);
}

/* ---- limits: the last that fits, and one more ------------------------------------------------ */

static int status_of(const struct limits *l, struct str in)
{
    struct http1_head h;
    http1_head_init(&h, HTTP1_REQUEST, l);
    enum http1_result r = http1_head_feed(&h, in.at, in.size);
    int status = r == HTTP1_BAD ? h.refusal.status : r == HTTP1_DONE ? 0 : -1;
    http1_head_done(&h);
    return status;
}

/* "head" + fill bytes of 'x' + "tail". */
static int status_filled(const struct limits *l, const char *head, size_t fill, const char *tail)
{
    AUTO_FREE char *text = xcalloc(1, strlen(head) + fill + strlen(tail) + 1);
    strcpy(text, head);
    memset(text + strlen(head), 'x', fill);
    strcpy(text + strlen(head) + fill, tail);
    return status_of(l, str_of(text));
}

TEST(a_line_may_be_as_long_as_its_limit_and_not_a_byte_longer)
{
    struct limits l = defaults();
    l.http_line_bytes_max = 256;
    /* "GET /" + n + " HTTP/1.1\r\n" is 16 + n bytes; "X: " + n + "\r\n" is 5 + n. */
    CHECK_EQ(status_filled(&l, "GET /", 240, " HTTP/1.1\r\nHost: h\r\n\r\n"), 0);
    CHECK_EQ(status_filled(&l, "GET /", 241, " HTTP/1.1\r\nHost: h\r\n\r\n"), 431);
    CHECK_EQ(status_filled(&l, "GET /", 252, " HTTP/1.1\r\nHost: h\r\n\r\n"), 414);
    CHECK_EQ(status_filled(&l, "GET / HTTP/1.1\r\nHost: h\r\nX: ", 251, "\r\n\r\n"), 0);
    CHECK_EQ(status_filled(&l, "GET / HTTP/1.1\r\nHost: h\r\nX: ", 252, "\r\n\r\n"), 431);
    CHECK_EQ(status_filled(&l, "GET / HTTP/1.1\r\nHost: h\r\n", 256, ""), -1);
    CHECK_EQ(status_filled(&l, "GET / HTTP/1.1\r\nHost: h\r\n", 257, ""), 431);
}

TEST(a_head_may_be_as_large_as_its_limit_and_not_a_byte_larger)
{
    struct limits l = defaults();
    l.http_head_bytes_max = 1024;
    static const char start[] = "GET / HTTP/1.1\r\nHost: h\r\nX: ";
    size_t fill = 1024 - (sizeof start - 1) - 4;
    CHECK_EQ(status_filled(&l, start, fill, "\r\n\r\n"), 0);
    CHECK_EQ(status_filled(&l, start, fill + 1, "\r\n\r\n"), 431);
    CHECK_EQ(status_filled(&l, start, 1024 - (sizeof start - 1), ""), -1);
}

TEST(fields_are_counted)
{
    struct limits l = defaults();
    for (int extra = 0; extra <= 1; extra++) {
        struct buf in;
        buf_init(&in, 65536);
        buf_text(&in, "GET / HTTP/1.1\r\nHost: h\r\n");
        for (uint64_t i = 1; i < l.http_fields_max + (uint64_t)extra; i++)
            buf_text(&in, "A: b\r\n");
        buf_text(&in, "\r\n");
        int status = status_of(&l, buf_str(&in));
        buf_done(&in);
        CHECK_EQ(status, extra ? 431 : 0);
    }
}

static const char *body_verdict(const struct limits *l, const char *head, size_t fill,
                                const char *tail)
{
    static char verdict[65536];
    struct stream_case c = { .kind = HTTP1_REQUEST, .limits = l };
    struct buf in;
    buf_init(&in, MIB(1));
    buf_text(&in, CHUNKED);
    buf_text(&in, head);
    for (size_t i = 0; i < fill; i++)
        buf_text(&in, "x");
    buf_text(&in, tail);
    AUTO_FREE char *text = read_stream(&c, buf_str(&in));
    buf_done(&in);
    (void)snprintf(verdict, sizeof verdict, "%s", text);
    return verdict;
}

TEST(chunk_lines_and_trailers_have_limits)
{
    struct limits l = defaults();
    l.http_chunk_line_bytes_max = 32; /* "1;" + n + CRLF */
    CHECK_STR(body_verdict(&l, "1;", 28, "\r\na\r\n0\r\n\r\n"), "POST /p[a] ");
    CHECK_STR(body_verdict(&l, "1;", 29, "\r\na\r\n0\r\n\r\n"), "POST /p[!400");
    l.http_trailer_bytes_max = 64; /* "X: " + n + CRLF */
    CHECK_STR(body_verdict(&l, "0\r\nX: ", 59, "\r\n\r\n"), "POST /p[] ");
    CHECK_STR(body_verdict(&l, "0\r\nX: ", 60, "\r\n\r\n"), "POST /p[!431");
    l.http_trailer_bytes_max = 0;
    CHECK_STR(body_verdict(&l, "0\r\n", 0, "\r\n"), "POST /p[] ");
    CHECK_STR(body_verdict(&l, "0\r\n", 1, ""), "POST /p[!431");
}

/* Extensions on every chunk of a long body would be work without content. */
TEST(extensions_are_bounded_over_the_whole_body)
{
    struct limits l = defaults();
    struct stream_case c = { .kind = HTTP1_REQUEST, .limits = &l };
    struct buf in;
    buf_init(&in, MIB(1));
    buf_text(&in, CHUNKED);
    for (int i = 0; i < 3000; i++)
        buf_text(&in, "1;a=b\r\nx\r\n");
    AUTO_FREE char *text = read_stream(&c, buf_str(&in));
    buf_done(&in);
    CHECK(strstr(text, "!400") != NULL);
}

/* ---- what a head says ------------------------------------------------------------------------ */

#define HEAD_OF(kind_, text) \
    struct limits l = defaults(); \
    __attribute__((cleanup(http1_head_done))) struct http1_head h; \
    http1_head_init(&h, kind_, &l); \
    struct str in = STR(text); \
    CHECK_EQ(http1_head_feed(&h, in.at, in.size), HTTP1_DONE)

TEST(a_request_is_taken_apart)
{
    HEAD_OF(HTTP1_REQUEST, "PATCH /a/b?c=d?e HTTP/1.1\r\nHost: Fn.Default:8080\r\n"
                           "traceparent: 00-1\r\nX-Other:  two words\t\r\nContent-Length: 7\r\n"
                           "Expect: 100-continue\r\nX-Other: again\r\n\r\nbody");
    CHECK_EQ(h.method_id, HTTP_PATCH);
    CHECK(str_is(h.method, "PATCH") && str_is(h.target, "/a/b?c=d?e"));
    CHECK(str_is(h.path, "/a/b") && str_is(h.query, "c=d?e"));
    CHECK(str_is(h.host, "Fn.Default") && h.port == 8080);
    CHECK(h.minor == 1 && h.keep_alive && h.expect_continue && !h.upgrade);
    CHECK_EQ(h.framing, HTTP1_BODY_LENGTH);
    CHECK(h.body_bytes == 7 && h.content_length == 7);
    CHECK_EQ(h.size, in.size - 4);
    CHECK_EQ(h.field_count, 6);
    CHECK(str_is(http1_field(&h, HTTP_FIELD_TRACEPARENT), "00-1"));
    CHECK(str_is(http1_field_named(&h, STR("x-OTHER")), "two words"));
    CHECK(!http1_field(&h, HTTP_FIELD_COOKIE).at && !http1_field_named(&h, STR("x")).at);
}

TEST(a_feed_of_nothing_asks_for_more)
{
    struct limits l = defaults();
    struct http1_head h;
    http1_head_init(&h, HTTP1_REQUEST, &l);
    CHECK_EQ(http1_head_feed(&h, NULL, 0), HTTP1_MORE);
    CHECK_EQ(http1_head_feed(&h, "GET", 3), HTTP1_MORE);
    http1_head_done(&h);
}

/* The scan takes eight bytes at a time: every byte at every place of two such steps, and beyond. */
TEST(every_control_byte_is_seen_wherever_it_stands_in_a_value)
{
    struct limits l = defaults();
    for (int byte = 0; byte < 256; byte++) {
        bool allowed = byte == '\t' || (byte >= 0x20 && byte != 0x7f);
        for (size_t place = 0; place < 20; place++) {
            char text[] = "GET / HTTP/1.1\r\nHost: h\r\nX: abcdefghijklmnopqrst\r\n\r\n";
            text[sizeof "GET / HTTP/1.1\r\nHost: h\r\nX: " - 1 + place] = (char)byte;
            int status = status_of(&l, (struct str){ text, sizeof text - 1 });
            if (status != (allowed ? 0 : 400))
                FAIL("byte %02x at %zu: %d", (unsigned)byte, place, status);
        }
    }
}

TEST(the_last_piece_of_a_counted_body_says_that_it_is_the_last)
{
    HEAD_OF(HTTP1_REQUEST, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n");
    struct http1_body b;
    struct str data;
    size_t used;
    http1_body_init(&b, &h);
    CHECK_EQ(http1_body_feed(&b, "hel", 3, &used, &data), HTTP1_DATA);
    CHECK(used == 3 && str_is(data, "hel"));
    CHECK_EQ(http1_body_feed(&b, "loGET", 5, &used, &data), HTTP1_DONE);
    CHECK(used == 2 && str_is(data, "lo") && b.content_bytes == 5);
    CHECK_EQ(http1_body_feed(&b, "GET", 3, &used, &data), HTTP1_DONE); /* and stays so */
    CHECK(used == 0 && data.size == 0);
    http1_body_done(&b);
}

TEST(a_query_may_be_absent_or_empty)
{
    HEAD_OF(HTTP1_REQUEST, "GET /a? HTTP/1.1\r\nHost: h\r\n\r\n");
    CHECK(h.query.at && h.query.size == 0);
    in = STR("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
    http1_head_reset(&h);
    CHECK_EQ(http1_head_feed(&h, in.at, in.size), HTTP1_DONE);
    CHECK(!h.query.at && h.port == 0);
}

TEST(fields_of_this_connection_are_marked)
{
    HEAD_OF(HTTP1_REQUEST, "GET / HTTP/1.1\r\nHost: h\r\nConnection: x-one, Keep-Alive\r\n"
                           "X-ONE: 1\r\nX-Two: 2\r\nConnection: TE\r\nTE: trailers\r\n"
                           "Keep-Alive: timeout=5\r\nProxy-Connection: x\r\nX-One: again\r\n\r\n");
    static const bool hop[] = { false, true, true, false, true, true, true, true, true };
    CHECK_EQ(h.field_count, COUNT_OF(hop));
    for (uint32_t i = 0; i < h.field_count; i++)
        if (h.fields[i].hop != hop[i])
            FAIL("field %u: hop is %d", i, h.fields[i].hop);
    CHECK(http1_field_lists(&h, HTTP_FIELD_CONNECTION, STR("te")));
    CHECK(!http1_field_lists(&h, HTTP_FIELD_CONNECTION, STR("x-two")));
    CHECK(!http1_field_lists(&h, HTTP_FIELD_UPGRADE, STR("x")));
}

TEST(an_answer_is_taken_apart)
{
    HEAD_OF(HTTP1_RESPONSE, "HTTP/1.1 404 Not Here\r\nServer: x\r\nContent-Length: 2\r\n\r\nno");
    CHECK(h.status == 404 && str_is(h.reason, "Not Here") && !h.interim && h.keep_alive);
    CHECK_EQ(h.body_bytes, 2);

    in = STR("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n");
    http1_head_reset(&h);
    http1_head_answers(&h, HTTP_HEAD);
    CHECK_EQ(http1_head_feed(&h, in.at, in.size), HTTP1_DONE);
    CHECK(h.framing == HTTP1_BODY_NONE && h.body_bytes == 0 && h.content_length == 12);
}

TEST(every_known_name_is_found_in_any_case_and_no_neighbour_is)
{
    for (enum http_field_id id = HTTP_FIELD_OTHER + 1; id < HTTP_FIELD_IDS; id++) {
        char name[64];
        bool imitates;
        struct str s = { name, strlen(http_field_name(id)) };
        memcpy(name, http_field_name(id), s.size);
        CHECK_EQ(http_field_find(s, &imitates), id);
        CHECK(!imitates);
        for (size_t i = 0; i < s.size; i++)
            name[i] = (char)(name[i] >= 'a' && name[i] <= 'z' ? name[i] - 32 : name[i]);
        CHECK_EQ(http_field_find(s, &imitates), id);
        CHECK(!imitates);
        char *dash = memchr(name, '-', s.size);
        if (dash) {
            *dash = '_';
            CHECK_EQ(http_field_find(s, &imitates), id);
            CHECK(imitates);
            *dash = '.';
            CHECK_EQ(http_field_find(s, &imitates), HTTP_FIELD_OTHER);
            *dash = '-';
        }
        name[s.size / 2] = '0'; /* no listed name has a zero there */
        CHECK_EQ(http_field_find(s, &imitates), HTTP_FIELD_OTHER);
    }
}

TEST(lists_are_cut_at_commas_that_are_not_quoted)
{
    struct str rest = STR(" a ,, \"b,\\\",c\" ,d=\"e,f\" , "), item;
    CHECK(http_list_next(&rest, &item) && str_is(item, "a"));
    CHECK(http_list_next(&rest, &item) && str_is(item, "\"b,\\\",c\""));
    CHECK(http_list_next(&rest, &item) && str_is(item, "d=\"e,f\""));
    CHECK(!http_list_next(&rest, &item));
}

/* ---- writing --------------------------------------------------------------------------------- */

TEST(a_head_is_written_anew_without_what_was_for_one_connection)
{
    HEAD_OF(HTTP1_REQUEST,
            "POST http://h/a?b HTTP/1.1\r\nHost:h\r\nConnection: x, close\r\nX: 1\r\n"
            "Content-Length: 3\r\nY:  2 \r\nUser-Agent: u\r\nTE: trailers\r\n\r\n");
    struct buf b;
    buf_init(&b, 4096);
    http1_write_request(&b, h.method, h.target);
    http1_write_fields(&b, &h, BIT(HTTP_FIELD_USER_AGENT));
    http1_write_framing(&b, h.framing, h.body_bytes);
    http1_write_end(&b);
    AUTO_FREE char *text = buf_take_text(&b);
    CHECK_STR(text, "POST /a?b HTTP/1.1\r\nHost: h\r\nY: 2\r\nContent-Length: 3\r\n\r\n");
}

TEST(a_writer_without_room_says_so_and_leaves_no_half_field)
{
    struct buf b;
    buf_init(&b, 24);
    http1_write_status(&b, 200, (struct str){ NULL, 0 }); /* 17 bytes */
    http1_write_field(&b, STR("X"), STR("12345"));
    CHECK(b.overflow && str_is(buf_str(&b), "HTTP/1.1 200 OK\r\n"));
    buf_done(&b);
}

TEST(chunks_are_written_as_they_are_read)
{
    static const uint64_t sizes[] = { 1, 9, 10, 15, 16, 255, 256, 4095, 65536, UINT64_MAX };
    char line[HTTP1_CHUNK_LINE_MAX];
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        char expected[32];
        size_t size = http1_chunk_line(line, sizes[i]);
        CHECK_EQ(size, snprintf(expected, sizeof expected, "%" PRIx64 "\r\n", sizes[i]));
        CHECK(memcmp(line, expected, size) == 0);
    }
    struct buf b;
    buf_init(&b, 4096);
    buf_text(&b, CHUNKED);
    http1_write_chunk(&b, STR("hello, "));
    http1_write_chunk(&b, STR("chunked world"));
    http1_write_last_chunk(&b, STR("X-Sum: 1\r\n"));
    struct limits l = defaults();
    struct stream_case c = { .kind = HTTP1_REQUEST, .limits = &l };
    AUTO_FREE char *text = read_stream(&c, buf_str(&b));
    buf_done(&b);
    CHECK_STR(text, "POST /p[hello, chunked world] ");
}

TEST(trailers_are_kept_clean)
{
    struct limits l = defaults();
    struct http1_head h;
    struct http1_body b;
    struct str head = STR(CHUNKED),
               in = STR("0\r\nX-Sum:abc \r\nServer-Timing:\t a;dur=1\r\n\r\nrest");
    struct str data;
    size_t used;
    http1_head_init(&h, HTTP1_REQUEST, &l);
    CHECK_EQ(http1_head_feed(&h, head.at, head.size), HTTP1_DONE);
    http1_body_init(&b, &h);
    enum http1_result r = http1_body_feed(&b, in.at, in.size, &used, &data);
    AUTO_FREE char *trailers = buf_take_text(&b.trailers);
    http1_body_done(&b);
    http1_head_done(&h);
    CHECK_EQ(r, HTTP1_DONE);
    CHECK_EQ(used, in.size - 4);
    CHECK_STR(trailers, "X-Sum: abc\r\nServer-Timing: a;dur=1\r\n");
}

TEST_MAIN()
