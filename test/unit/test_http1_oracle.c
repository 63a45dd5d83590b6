/* What net/http1 understands in a stream, http-parser understands too, and in the same way: start line,
 * content, and where each message ends. The reverse is not asked: ours refuses more. */
#include "base/rng.h"
#include "http1_stream.h"
#include "http1_vectors.h"
#include "tap.h"

/* Their enum has our names. */
#define http_method  oracle_method
#define HTTP_GET     ORACLE_GET
#define HTTP_HEAD    ORACLE_HEAD
#define HTTP_POST    ORACLE_POST
#define HTTP_PUT     ORACLE_PUT
#define HTTP_DELETE  ORACLE_DELETE
#define HTTP_PATCH   ORACLE_PATCH
#define HTTP_OPTIONS ORACLE_OPTIONS
#define HTTP_TRACE   ORACLE_TRACE
#define HTTP_CONNECT ORACLE_CONNECT
#define http_status  oracle_status
#include <http_parser.h>
#undef http_method
#undef HTTP_GET
#undef HTTP_HEAD
#undef HTTP_POST
#undef HTTP_PUT
#undef HTTP_DELETE
#undef HTTP_PATCH
#undef HTTP_OPTIONS
#undef HTTP_TRACE
#undef HTTP_CONNECT
#undef http_status

enum { ROUNDS = 40000, INPUT_MAX = 4096 };

struct oracle {
    http_parser parser;
    struct buf out;
    struct buf url;
    bool head_only; /* its answers are to HEAD */
};

static int on_url(http_parser *p, const char *at, size_t size)
{
    buf_append(&((struct oracle *)p->data)->url, at, size);
    return 0;
}

/* The target as the next hop gets it. */
static struct str origin_form(struct str url, unsigned method)
{
    const char *slashes = url.size ? memmem(url.at, url.size, "://", 3) : NULL;
    if (!slashes || url.at[0] == '/')
        return url;
    struct str rest = str_from(url, (size_t)(slashes - url.at) + 3);
    const char *path = rest.size ? memchr(rest.at, '/', rest.size) : NULL;
    if (path)
        return str_from(rest, (size_t)(path - rest.at));
    return method == ORACLE_OPTIONS ? STR("*") : STR("/");
}

static int on_headers_complete(http_parser *p)
{
    struct oracle *o = p->data;
    if (p->type == HTTP_REQUEST) {
        struct str target = origin_form(buf_str(&o->url), p->method);
        buf_printf(&o->out, "%s " STR_FMT "[", http_method_str((enum oracle_method)p->method),
                   STR_ARG(target));
    } else {
        buf_printf(&o->out, "%d[", p->status_code);
    }
    buf_clear(&o->url);
    /* Whether there is a body at all it leaves to its caller. */
    return o->head_only || (p->type == HTTP_RESPONSE && p->status_code == 304) ? 1 : 0;
}

static int on_body(http_parser *p, const char *at, size_t size)
{
    buf_append(&((struct oracle *)p->data)->out, at, size);
    return 0;
}

static int on_message_complete(http_parser *p)
{
    buf_text(&((struct oracle *)p->data)->out, "] ");
    return 0;
}

static void oracle_read(struct oracle *o, const struct stream_case *c, struct str in)
{
    http_parser_settings settings;
    http_parser_settings_init(&settings);
    settings.on_url = on_url;
    settings.on_headers_complete = on_headers_complete;
    settings.on_body = on_body;
    settings.on_message_complete = on_message_complete;
    http_parser_init(&o->parser, c->kind == HTTP1_REQUEST ? HTTP_REQUEST : HTTP_RESPONSE);
    o->parser.data = o;
    o->head_only = c->kind == HTTP1_RESPONSE && c->answers == HTTP_HEAD;
    size_t used = http_parser_execute(&o->parser, &settings, in.at, in.size);
    if (used == in.size && !o->parser.upgrade)
        (void)http_parser_execute(&o->parser, &settings, NULL, 0);
}

/* Without the verdict on the rest: what was understood. */
static size_t understood(struct str text)
{
    static const char *const tails[] = { "~",    ".",    "^",    "!400", "!414",
                                         "!417", "!431", "!501", "!502", "!505" };
    for (size_t i = 0; i < COUNT_OF(tails); i++)
        if (str_ends(text, str_of(tails[i])))
            return text.size - strlen(tails[i]);
    return text.size;
}

static bool starts(struct str s, struct str head) { return head.size == 0 || str_starts(s, head); }

/* It stops where we go on: it knows a fixed list of methods, takes up any upgrade, of HTTP/1.0 too,
 * and refuses space that is allowed behind `chunked`, and a tab behind a length. */
static bool gives_up(const struct oracle *o, struct str in)
{
    enum http_errno failed = HTTP_PARSER_ERRNO(&o->parser);
    if (failed == HPE_INVALID_TRANSFER_ENCODING)
        return memmem(in.at, in.size, "chunked ", 8) || memmem(in.at, in.size, "chunked\t", 8);
    if (failed == HPE_INVALID_CONTENT_LENGTH)
        return memmem(in.at, in.size, "\t\r\n", 3) != NULL;
    return o->parser.upgrade || failed == HPE_INVALID_METHOD;
}

static size_t heads_agreed; /* how often there was something to compare */

static bool agrees(const struct stream_case *c, struct str in)
{
    struct buf ours;
    struct oracle o = { 0 };
    buf_init(&ours, MIB(1));
    buf_init(&o.out, MIB(1));
    buf_init(&o.url, MIB(1));
    stream_read(c, in, &ours);
    oracle_read(&o, c, in);

    struct str mine = str_head(buf_str(&ours), understood(buf_str(&ours))),
               theirs = buf_str(&o.out);
    bool same = starts(theirs, mine) || (gives_up(&o, in) && starts(mine, theirs));
    heads_agreed += same && mine.size > 0;
    if (!same) {
        printf("# ours:   " STR_FMT "\n# theirs: " STR_FMT " (%s)\n# in: ", STR_ARG(buf_str(&ours)),
               STR_ARG(theirs), http_errno_name(HTTP_PARSER_ERRNO(&o.parser)));
        for (size_t i = 0; i < in.size; i++)
            printf(in.at[i] >= 0x20 && in.at[i] < 0x7f ? "%c" : "\\x%02x", (uint8_t)in.at[i]);
        printf("\n");
    }
    buf_done(&ours);
    buf_done(&o.out);
    buf_done(&o.url);
    return same;
}

static const struct limits *limits(void)
{
    static struct limits l;
    limits_default(&l);
    return &l;
}

TEST(the_oracle_reads_the_corpus_as_we_do)
{
    struct stream_case c = { .kind = HTTP1_REQUEST, .limits = limits() };
    size_t bad = 0;
    for (size_t i = 0; i < COUNT_OF(request_vectors); i++)
        bad += !agrees(&c, request_vectors[i].in);
    c.kind = HTTP1_RESPONSE;
    for (size_t i = 0; i < COUNT_OF(response_vectors); i++) {
        c.answers = response_vectors[i].answers;
        bad += !agrees(&c, response_vectors[i].in);
    }
    CHECK_EQ(bad, 0);
    CHECK(heads_agreed > 50);
}

/* ---- mutants -------------------------------------------------------------------------------- */

struct mutant {
    char at[INPUT_MAX];
    size_t size;
};

static void splice(struct mutant *m, size_t where, size_t drop, struct str insert)
{
    drop = MIN(drop, m->size - where);
    if (m->size - drop + insert.size > sizeof m->at)
        return;
    memmove(m->at + where + insert.size, m->at + where + drop, m->size - where - drop);
    memcpy(m->at + where, insert.at, insert.size);
    m->size += insert.size - drop;
}

static const struct str pieces[] = {
    STR("\r\n"),
    STR("\n"),
    STR("\r"),
    STR(" "),
    STR("\t"),
    STR(":"),
    STR(","),
    STR(";"),
    STR("0"),
    STR("1"),
    STR("a"),
    STR("chunked"),
    STR("Content-Length: 3\r\n"),
    STR("3\r\nabc\r\n"),
    STR("Transfer-Encoding: chunked\r\n"),
    STR("Connection: close\r\n"),
    STR("0\r\n\r\n"),
    STR("Connection: upgrade\r\nUpgrade: x\r\n"),
    STR("HTTP/1.0"),
    STR("HTTP/1.1"),
    STR("\x00"),
    STR("\xff"),
    STR("%"),
    STR("http://h"),
    STR("Host: h\r\n"),
    STR("\r\n\r\n"),
    STR("+"),
    STR("_"),
    STR(NEXT),
    STR("Expect: 100-continue\r\n"),
    STR("\""),
    STR("X: y\r\n"),
    STR("HTTP/1.1 204 N\r\n"),
};

static void mutate(struct mutant *m, struct rng *r)
{
    size_t where = (size_t)rng_below(r, m->size + 1);
    switch (rng_below(r, 4)) {
    case 0: splice(m, where, (size_t)rng_below(r, 4) + 1, STR("")); break;
    case 1: splice(m, where, 1, pieces[rng_below(r, COUNT_OF(pieces))]); break;
    case 2: splice(m, where, 0, pieces[rng_below(r, COUNT_OF(pieces))]); break;
    default:
        if (where < m->size)
            m->at[where] = (char)rng_below(r, 256);
        break;
    }
}

static bool round_agrees(uint64_t seed, enum http1_kind kind)
{
    static struct mutant m;
    struct rng r = { seed };
    struct stream_case c = { .kind = kind, .limits = limits() };
    m.size = 0;
    for (uint64_t parts = rng_below(&r, 2) + 1; parts > 0; parts--) {
        const struct response_vector *rv =
            &response_vectors[rng_below(&r, COUNT_OF(response_vectors))];
        c.answers = rv->answers;
        splice(&m, m.size, 0,
               kind == HTTP1_REQUEST ? request_vectors[rng_below(&r, COUNT_OF(request_vectors))].in
                                     : rv->in);
    }
    for (uint64_t changes = rng_below(&r, 4); changes > 0; changes--)
        mutate(&m, &r);
    if (agrees(&c, (struct str){ m.at, m.size }))
        return true;
    printf("# seed %" PRIu64 ", kind %d\n", seed, kind);
    return false;
}

TEST(the_oracle_reads_mutants_as_we_do)
{
    size_t bad = 0;
    heads_agreed = 0;
    for (uint64_t seed = 1; seed <= ROUNDS && bad < 5; seed++)
        bad += !round_agrees(seed, seed % 4 ? HTTP1_REQUEST : HTTP1_RESPONSE);
    CHECK_EQ(bad, 0);
    CHECK(heads_agreed > ROUNDS / 10); /* else it compared nothing with nothing */
}

TEST_MAIN()
