/* A client and a function that say anything. Whatever they say, the other side gets only whole,
 * well-formed messages (or the beginning of one), as read by the strict parser; requests carry our
 * evidence; and at the end every ticket, lease and record is accounted for.
 *
 * A client that begins with HTTP/2's greeting speaks that; what it hears is for fuzz_http2.c to judge.
 *
 * Input: one byte of how finely the streams are cut, one of options, then the client's bytes, '\0',
 * and the function's. */
#include "../fake_backend.h"
#include "gateway/client.h"
#include "net/http2.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/un.h>

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);

enum { INPUT_MAX = 2048, HEARD_MAX = 1 << 18, QUIET_TURNS = 6 };
enum { OPTION_FUNCTION_ENDS = 1, OPTION_HOLD = 2, OPTION_CLIENT_ENDS = 4, OPTION_H2C = 8 };

struct stage {
    struct world world;
    struct loop *loop;
    struct limits limits;
    struct fake fake;
    struct ingress *ingress;
    int listen_fd, client;
    size_t cut;
    uint8_t options;
    struct str says, answers;
    struct buf heard, requests[FUNCTIONS];
    bool answered[FUNCTIONS];
};

static void turn(struct stage *s)
{
    struct err e;
    ASSERT(loop_turn(s->loop, false, &e) >= 0);
}

static void take(int fd, struct buf *into)
{
    size_t room;
    char *at = buf_reserve(into, 4096, &room);
    ssize_t n = room > 0 ? recv(fd, at, room, MSG_DONTWAIT) : 0;
    if (n > 0)
        buf_commit(into, (size_t)n);
}

/* In pieces; what does not fit into the socket is lost, as if the sender had died. */
static void tell(struct stage *s, int fd, struct str text)
{
    while (text.size > 0) {
        size_t piece = MIN(s->cut, text.size);
        if (send(fd, text.at, piece, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)piece)
            return;
        text = str_from(text, piece);
        turn(s);
    }
}

static void functions_play(struct stage *s)
{
    for (int i = 0; i < s->fake.connected; i++) {
        if (s->fake.functions[i] < 0)
            continue;
        take(s->fake.functions[i], &s->requests[i]);
        if (s->answered[i] || s->requests[i].size == 0)
            continue;
        s->answered[i] = true;
        tell(s, s->fake.functions[i], s->answers);
        if (s->options & OPTION_FUNCTION_ENDS) {
            take(s->fake.functions[i], &s->requests[i]);
            close(s->fake.functions[i]);
            s->fake.functions[i] = -1;
        }
    }
}

static void play(struct stage *s)
{
    struct str rest = s->says;
    while (rest.size > 0) {
        size_t piece = MIN(s->cut, rest.size);
        if (send(s->client, rest.at, piece, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)piece)
            break;
        rest = str_from(rest, piece);
        turn(s);
        functions_play(s);
        take(s->client, &s->heard);
    }
    if (s->options & OPTION_CLIENT_ENDS)
        shutdown(s->client, SHUT_WR);
    for (int i = 0; i < QUIET_TURNS; i++) {
        if (i == QUIET_TURNS / 2 && s->options & OPTION_HOLD)
            loop_defer(s->loop, &s->fake.task);
        turn(s);
        functions_play(s);
        take(s->client, &s->heard);
    }
}

/* Passes one body. False: it goes on beyond `text`. */
static bool body_pass(const struct http1_head *h, struct str *text)
{
    struct http1_body body;
    enum http1_result r = HTTP1_DATA;
    http1_body_init(&body, h);
    while (r == HTTP1_DATA) {
        size_t used;
        struct str data;
        r = http1_body_feed(&body, text->at, text->size, &used, &data);
        *text = str_from(*text, used);
    }
    ASSERT(r != HTTP1_BAD);
    http1_body_done(&body);
    return r == HTTP1_DONE;
}

static void requests_check(const struct stage *s, struct str text)
{
    struct http1_head h;
    http1_head_init(&h, HTTP1_REQUEST, &s->limits);
    for (bool whole = true; whole && text.size > 0; http1_head_reset(&h)) {
        enum http1_result r = http1_head_feed(&h, text.at, text.size);
        ASSERT(r != HTTP1_BAD);
        if (r != HTTP1_DONE)
            break;
        ASSERT(h.minor == 1 && str_eq_nocase(h.host, str_of(s->fake.host)));
        ASSERT(http1_field(&h, HTTP_FIELD_HOB_INVOCATION_ID).size == UUID_TEXT - 1);
        ASSERT(http1_has(&h, HTTP_FIELD_FORWARDED) && http1_has(&h, HTTP_FIELD_TRACEPARENT));
        ASSERT(!http1_has(&h, HTTP_FIELD_EXPECT) && !http1_has(&h, HTTP_FIELD_TE));
        text = str_from(text, h.size);
        whole = !h.upgrade && body_pass(&h, &text); /* after an upgrade, anything may come */
    }
    http1_head_done(&h);
}

/* The method of the next request in `asked`, as a reader of the client's bytes sees it. */
static enum http_method method_next(const struct stage *s, struct str *asked)
{
    enum http_method method = HTTP_GET;
    struct http1_head h;
    http1_head_init(&h, HTTP1_REQUEST, &s->limits);
    if (asked->size > 0 && http1_head_feed(&h, asked->at, asked->size) == HTTP1_DONE) {
        struct http1_body body;
        struct str data;
        size_t used;
        method = (enum http_method)h.method_id;
        *asked = str_from(*asked, h.size);
        http1_body_init(&body, &h);
        for (enum http1_result r = HTTP1_DATA; r == HTTP1_DATA; *asked = str_from(*asked, used))
            r = http1_body_feed(&body, asked->at, asked->size, &used, &data);
        http1_body_done(&body);
    }
    http1_head_done(&h);
    return method;
}

static void answers_check(const struct stage *s)
{
    struct str text = buf_str(&s->heard), asked = s->says;
    struct http1_head h;
    bool next = true;
    enum http_method method = HTTP_GET;
    http1_head_init(&h, HTTP1_RESPONSE, &s->limits);
    for (bool whole = true; whole && text.size > 0; http1_head_reset(&h)) {
        if (next)
            method = method_next(s, &asked);
        http1_head_answers(&h, method);
        enum http1_result r = http1_head_feed(&h, text.at, text.size);
        ASSERT(r != HTTP1_BAD);
        if (r != HTTP1_DONE)
            break;
        next = !h.interim;
        ASSERT(h.interim || (http1_has(&h, HTTP_FIELD_HOB_INVOCATION_ID) &&
                             http1_has(&h, HTTP_FIELD_SERVER_TIMING)));
        text = str_from(text, h.size);
        whole = h.interim || (!h.upgrade && body_pass(&h, &text));
    }
    http1_head_done(&h);
}

static void stage_open(struct stage *s)
{
    struct err e;
    struct sockaddr_un name = { .sun_family = AF_UNIX }; /* the kernel finds a free name */
    s->world = (struct world){ { world_now, world_control, world_wait, world_free },
                               epoll_create1(EPOLL_CLOEXEC),
                               1000000 };
    limits_default(&s->limits);
    s->limits.http_stream_buffer_bytes = 4096;
    s->fake = (struct fake){ .backend.ops = &fake_ops,
                             .host = "f.n.localhost",
                             .task.run = fake_run,
                             .policy = { "n", "f", "f-1", 300000, 0, 0, 8080 } };
    s->fake.hold = s->options & OPTION_HOLD;
    s->fake.policy.h2c = s->options & OPTION_H2C;
    list_init(&s->fake.waiting);
    the_fake = &s->fake;
    buf_init(&s->heard, HEARD_MAX);
    for (int i = 0; i < FUNCTIONS; i++)
        buf_init(&s->requests[i], HEARD_MAX);
    s->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ASSERT(bind(s->listen_fd, (struct sockaddr *)&name, sizeof(sa_family_t)) == 0);
    ASSERT(listen(s->listen_fd, 1) == 0);
    ASSERT(loop_open_in(&s->world.world, &s->loop, &e) == 0);
    s->fake.loop = s->loop;
    ASSERT(ingress_open(s->loop, &s->limits, s->listen_fd, &s->fake.backend, &s->ingress, &e) == 0);
}

static void stage_close(struct stage *s)
{
    close(s->client);
    for (int i = 0; i < QUIET_TURNS; i++)
        turn(s);
    for (int i = 0; i < s->fake.connected; i++) { /* half a tunnel waits for its other end */
        if (s->fake.functions[i] >= 0)
            close(s->fake.functions[i]);
        turn(s);
    }
    ASSERT(s->ingress->clients.count == 0 && s->fake.waiting.count == 0);
    ASSERT(s->fake.granted == s->fake.released && s->fake.recorded >= s->fake.asked);
    ASSERT(ingress_counters(s->ingress)->in_flight == 0);
    ingress_free(s->ingress);
    loop_undefer(s->loop, &s->fake.task);
    for (int i = 0; i < s->fake.idle_count; i++)
        close(s->fake.idle[i]);
    for (int i = 0; i < FUNCTIONS; i++)
        buf_done(&s->requests[i]);
    buf_done(&s->heard);
    loop_free(s->loop);
    close(s->listen_fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    static struct stage s; /* too large for the stack */
    int ends[2];
    if (size < 2 || size > INPUT_MAX)
        return 0;
    struct str rest = { (const char *)in + 2, size - 2 };
    s = (struct stage){ .cut = (size_t)in[0] + 1, .options = in[1] };
    if (str_starts(rest, STR(HTTP2_PREFACE))) { /* its frames are full of '\0' */
        s.says = rest;
        s.answers = STR("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    } else {
        s.says = str_cut(&rest, '\0');
        s.answers = rest;
    }
    stage_open(&s);
    ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    s.client = ends[1];
    client_open(s.ingress, ends[0], "192.0.2.1", false);
    play(&s);
    if (!str_starts(s.says, STR(HTTP2_PREFACE)))
        answers_check(&s);
    for (int i = 0; i < s.fake.connected && !s.fake.policy.h2c; i++)
        requests_check(&s, buf_str(&s.requests[i]));
    stage_close(&s);
    return 0;
}
