#include "artifact/fetcher.h"
#include "artifact/fetcher_box.h"
#include "artifact/fetcher_call.h"
#include "artifact/fetcher_curl.h"
#include "artifact/fetcher_wire.h"
#include "base/buf.h"
#include "os/fd.h"
#include "os/loop.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CONNECTIONS_KEPT_MAX = 8,
    RECEIVE_BYTES = 512 << 10,
    HELD_BYTES_MAX = 1 << 20, /* what curl hands over at once is far less */
};

struct fetcher {
    struct curl_calls curl;
    const struct limits *limits;
    const struct origin_policy *origins;
    struct loop *loop;
    CURLM *multi;
    struct loop_io control;
    int control_fd;
    struct loop_timer timer; /* curl's */
    struct list sockets, downloads;
    struct poster poster;
    struct caller caller;
    struct err broken; /* why it stopped, if not because the node went */
    bool stopping;
};

struct socket {
    struct list_node node;
    struct loop_io io;
    struct fetcher *f;
};

/* One transfer. Ends when curl is done and the pipe has taken all; then the pipe is closed and END sent. */
struct download {
    struct list_node node;
    struct fetcher *f;
    uint64_t id, from;
    CURL *easy;
    struct curl_slist *headers;
    bool https;
    int pipe_fd;
    struct loop_io pipe; /* watched only while it is full */
    struct buf held;     /* taken from curl, not yet by the pipe */
    bool paused, head_sent, unwanted; /* unwanted: of this answer only the head is of interest */
    bool over;           /* curl is done; `result` says how */
    enum code result;
    struct origin_hop hop; /* where it is: the last address that a request went to */
    struct err refused;    /* an address, by origin.h; others of the same name may do */
    char why[CURL_ERROR_SIZE + 64];
    struct loop_timer stall;
    uint64_t byte_us; /* when the last byte came */
};

/* ---- to the node -------------------------------------------------------------------------- */

static void broken(struct fetcher *f, const struct err *e)
{
    if (!f->stopping)
        f->broken = *e;
    f->stopping = true;
    loop_stop(f->loop);
}

/* Waits for room: a node that does not read its messages needs no more of them. */
static void message_send(struct fetcher *f, struct wire_message *m)
{
    struct err e;
    struct fd_packet p = { .at = m, .size = sizeof *m };
    struct pollfd room = { f->control_fd, POLLOUT, 0 };
    int r;
    while ((r = fd_packet_send(f->control_fd, &p, &e)) == 1)
        (void)poll(&room, 1, -1);
    if (r < 0) {
        f->stopping = true; /* the node went: nobody to tell */
        loop_stop(f->loop);
    }
}

static void text_clean(char *text)
{
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
}

static void post_say(void *ctx, struct wire_message *m)
{
    text_clean(m->text);
    message_send(ctx, m);
}

/* ---- one download ------------------------------------------------------------------------- */

static void download_end(struct download *d)
{
    struct fetcher *f = d->f;
    struct wire_message m = { .kind = WIRE_END, .id = d->id, .code = d->result };
    snprintf(m.text, sizeof m.text, "%s", d->why);
    text_clean(m.text);
    loop_cancel(f->loop, &d->stall);
    loop_unwatch(f->loop, &d->pipe);
    fd_auto(&d->pipe_fd);
    if (d->easy) {
        f->curl.curl_multi_remove_handle(f->multi, d->easy);
        f->curl.curl_easy_cleanup(d->easy);
    }
    f->curl.curl_slist_free_all(d->headers);
    buf_done(&d->held);
    list_remove(&f->downloads, &d->node);
    free(d);
    message_send(f, &m);
}

static void why_set(struct download *d, enum code code, const char *text)
{
    d->result = code;
    snprintf(d->why, sizeof d->why, "%.300s", text);
}

/* False: the node closed its end. */
static bool pipe_flush(struct download *d)
{
    while (d->held.size > 0) {
        ssize_t n = write(d->pipe_fd, buf_at(&d->held), d->held.size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN;
        buf_consume(&d->held, (size_t)n);
    }
    return true;
}

static void pipe_await(struct download *d)
{
    struct err e;
    if (!loop_watched(&d->pipe) && loop_watch(d->f->loop, &d->pipe, d->pipe_fd, EPOLLOUT, &e) < 0)
        broken(d->f, &e);
}

static void on_pipe(struct loop_io *io, uint32_t events)
{
    struct download *d = CONTAINER_OF(io, struct download, pipe);
    (void)events;
    d->byte_us = loop_now_us(d->f->loop);
    if (!pipe_flush(d)) {
        why_set(d, CODE_CANCELLED, "the node wants no more");
        download_end(d);
        return;
    }
    if (d->held.size > 0)
        return;
    if (d->over) {
        download_end(d);
        return;
    }
    loop_unwatch(d->f->loop, &d->pipe);
    if (d->paused) {
        d->paused = false;
        d->f->curl.curl_easy_pause(d->easy, CURLPAUSE_CONT); /* may hand over more at once */
    }
}

static bool header_get(struct download *d, const char *name, struct str *ret)
{
    struct curl_header *h = NULL;
    if (d->f->curl.curl_easy_header(d->easy, name, 0, CURLH_HEADER, -1, &h) != CURLHE_OK)
        return false;
    *ret = str_trim(str_of(h->value));
    return true;
}

static long status_get(struct download *d)
{
    long status = 0;
    d->f->curl.curl_easy_getinfo(d->easy, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

/* False: the body is not the file's own bytes. */
static bool body_plain(struct download *d)
{
    struct str coding;
    return !header_get(d, "Content-Encoding", &coding) || str_eq_nocase(coding, STR("identity"));
}

static void head_send(struct download *d)
{
    struct fetcher *f = d->f;
    struct wire_message m = { .kind = WIRE_HEAD, .id = d->id, .status = (uint32_t)status_get(d),
                              .size = -1, .from = -1, .retry_after_ms = -1 };
    curl_off_t length = -1, after = 0;
    struct str text;
    f->curl.curl_easy_getinfo(d->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    f->curl.curl_easy_getinfo(d->easy, CURLINFO_RETRY_AFTER, &after);
    if (m.status == 200)
        m.size = length >= 0 ? length : -1;
    if (m.status == 206 && header_get(d, "Content-Range", &text) &&
        !wire_range_parse(text, &m.from, &m.size))
        m.from = m.size = -1;
    if (after > 0)
        m.retry_after_ms = MIN(after, (curl_off_t)86400) * 1000;
    if (header_get(d, "ETag", &text) && text.size < sizeof m.etag) {
        memcpy(m.etag, text.at, text.size);
        text_clean(m.etag);
    }
    d->head_sent = true;
    d->unwanted = m.status != 200 && m.status != 206;
    message_send(f, &m);
}

static size_t on_body(char *data, size_t one, size_t size, void *ctx)
{
    struct download *d = ctx;
    size *= one;
    d->byte_us = loop_now_us(d->f->loop);
    if (!d->head_sent && !body_plain(d)) {
        why_set(d, CODE_PRECONDITION, "the origin sends an encoded body, which was not asked for");
        return 0;
    }
    if (!d->head_sent)
        head_send(d);
    if (d->unwanted || d->f->stopping)
        return 0;
    if (!pipe_flush(d)) {
        why_set(d, CODE_CANCELLED, "the node wants no more");
        return 0;
    }
    if (d->held.size > 0) {
        d->paused = true;
        pipe_await(d);
        return CURL_WRITEFUNC_PAUSE;
    }
    ssize_t n = write(d->pipe_fd, data, size);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        why_set(d, CODE_CANCELLED, "the node wants no more");
        return 0;
    }
    size_t done = n > 0 ? (size_t)n : 0;
    buf_append(&d->held, data + done, size - done);
    return d->held.overflow ? 0 : size;
}

static enum code code_of_curl(CURLcode c)
{
    switch (c) {
    case CURLE_OK: return CODE_OK;
    case CURLE_OPERATION_TIMEDOUT: return CODE_DEADLINE;
    case CURLE_TOO_MANY_REDIRECTS:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING: return CODE_PRECONDITION;
    default: return CODE_UNAVAILABLE;
    }
}

/* ---- where it may connect to ---------------------------------------------------------------- */

/* The hop before is of interest only to a redirect: a name may have several addresses, tried in turn. */
static bool may_go(struct download *d, const struct origin_address *to)
{
    const struct origin_hop none = { 0 };
    const char *url = NULL;
    long redirects = 0;
    d->f->curl.curl_easy_getinfo(d->easy, CURLINFO_REDIRECT_COUNT, &redirects);
    d->f->curl.curl_easy_getinfo(d->easy, CURLINFO_EFFECTIVE_URL, &url);
    bool https = url && str_starts(str_of(url), STR("https:"));
    if (origin_hop_check(d->f->origins, redirects > 0 ? &d->hop : &none, to, https, &d->refused) < 0)
        return false;
    d->refused.code = CODE_OK;
    return true;
}

/* Before a connection is made, and so before anything of ours reaches the address. */
static curl_socket_t on_socket_open(void *ctx, curlsocktype purpose, struct curl_sockaddr *a)
{
    struct origin_address to;
    (void)purpose;
    if (!origin_address_of(&a->addr, &to) || !may_go(ctx, &to))
        return CURL_SOCKET_BAD;
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

/* Before each request: connections are kept, and this one may have been made for another download. */
static int on_request(void *ctx, char *remote, char *local, int remote_port, int local_port)
{
    struct download *d = ctx;
    struct origin_address to;
    const char *url = NULL;
    (void)local;
    (void)remote_port;
    (void)local_port;
    if (!origin_address_parse(remote, &to) || !may_go(d, &to))
        return CURL_PREREQFUNC_ABORT;
    d->f->curl.curl_easy_getinfo(d->easy, CURLINFO_EFFECTIVE_URL, &url);
    d->hop = (struct origin_hop){ .begun = true, .https = url && str_starts(str_of(url), STR("https:")),
                                  .kind = origin_kind_of(&to) };
    return CURL_PREREQFUNC_OK;
}

/* curl is done with it; the pipe may not be. */
static void download_over(struct download *d, CURLcode c)
{
    struct fetcher *f = d->f;
    bool refused = d->unwanted && c == CURLE_WRITE_ERROR; /* by on_body, on purpose */
    if (!d->head_sent && c == CURLE_OK && status_get(d) > 0)
        head_send(d); /* an empty body */
    if (c != CURLE_OK && !refused && d->result == CODE_OK && d->refused.code != CODE_OK) {
        why_set(d, d->refused.code, d->refused.text);
    } else if (c != CURLE_OK && !refused && d->result == CODE_OK) {
        d->result = code_of_curl(c);
        if (d->why[0] == '\0')
            snprintf(d->why, sizeof d->why, "%s", f->curl.curl_easy_strerror(c));
    } else if (d->result == CODE_OK) {
        d->why[0] = '\0';
    }
    f->curl.curl_multi_remove_handle(f->multi, d->easy);
    f->curl.curl_easy_cleanup(TAKE(d->easy));
    d->over = true;
    if (d->held.size > 0)
        pipe_await(d);
    else
        download_end(d);
}

static void done_take(struct fetcher *f)
{
    int left = 0;
    for (CURLMsg *m; (m = f->curl.curl_multi_info_read(f->multi, &left)) != NULL;) {
        struct download *d = NULL;
        if (m->msg != CURLMSG_DONE)
            continue;
        CURLcode c = m->data.result;
        if (poster_has(&f->poster, m->easy_handle)) {
            poster_over(&f->poster, c);
            continue;
        }
        struct call *l = caller_find(&f->caller, m->easy_handle);
        if (l) {
            caller_over(&f->caller, l, c);
            continue;
        }
        f->curl.curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &d);
        download_over(d, c);
    }
}

/* A paused connection is not stalled: it waits for us. */
static void on_stall(struct loop_timer *t)
{
    struct download *d = CONTAINER_OF(t, struct download, stall);
    struct fetcher *f = d->f;
    uint64_t due_us = d->byte_us + f->limits->fetch_stall_ms * 1000;
    if (d->paused || d->over || loop_watched(&d->pipe)) {
        loop_after(f->loop, &d->stall, f->limits->fetch_stall_ms * 1000);
    } else if (due_us > loop_now_us(f->loop)) {
        loop_at(f->loop, &d->stall, due_us);
    } else {
        d->result = CODE_DEADLINE;
        snprintf(d->why, sizeof d->why, "no byte came for %llu ms (limit fetch_stall_ms)",
                 (unsigned long long)f->limits->fetch_stall_ms);
        download_end(d);
    }
}

/* ---- setting one up ----------------------------------------------------------------------- */

static CURLcode options_set(struct download *d, const char *url)
{
    const struct fetcher *f = d->f;
    const struct limits *l = f->limits;
    __typeof__(f->curl.curl_easy_setopt) set = f->curl.curl_easy_setopt;
    CURL *h = d->easy;
    CURLcode c = set(h, CURLOPT_URL, url);
#define SET(option, value) c = c == CURLE_OK ? set(h, option, value) : c
    SET(CURLOPT_PRIVATE, d);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_REDIR_PROTOCOLS_STR, d->https ? "https" : "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 1L);
    SET(CURLOPT_MAXREDIRS, (long)l->fetch_redirects_max);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)l->fetch_connect_ms);
    SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    SET(CURLOPT_PROXY, ""); /* the environment is no setting */
    SET(CURLOPT_OPENSOCKETFUNCTION, on_socket_open);
    SET(CURLOPT_OPENSOCKETDATA, d);
    SET(CURLOPT_PREREQFUNCTION, on_request);
    SET(CURLOPT_PREREQDATA, d);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_BUFFERSIZE, (long)RECEIVE_BYTES);
    SET(CURLOPT_USERAGENT, "hob/" HOB_VERSION);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, d);
    SET(CURLOPT_ERRORBUFFER, d->why);
#undef SET
    return c;
}

static bool header_add(struct download *d, const char *line)
{
    struct curl_slist *longer = d->f->curl.curl_slist_append(d->headers, line);
    if (longer)
        d->headers = longer;
    return longer != NULL;
}

static CURLcode range_set(struct download *d, const char *etag)
{
    const struct fetcher *f = d->f;
    char range[32], line[192];
    /* The bytes are checked against a digest: a coded body could only be wrong. */
    if (!header_add(d, "Accept-Encoding: identity"))
        return CURLE_OUT_OF_MEMORY;
    snprintf(line, sizeof line, "If-Range: %s", etag);
    if (d->from > 0 && etag[0] && !header_add(d, line))
        return CURLE_OUT_OF_MEMORY;
    CURLcode c = f->curl.curl_easy_setopt(d->easy, CURLOPT_HTTPHEADER, d->headers);
    snprintf(range, sizeof range, "%llu-", (unsigned long long)d->from);
    if (c == CURLE_OK && d->from > 0)
        c = f->curl.curl_easy_setopt(d->easy, CURLOPT_RANGE, range);
    return c;
}

static void download_start(struct fetcher *f, const struct wire_message *m, int take_pipe)
{
    struct download *d = xcalloc(1, sizeof *d);
    d->f = f;
    d->id = m->id;
    d->from = (uint64_t)m->from;
    d->https = str_starts(str_of(m->text), STR("https:"));
    d->pipe_fd = take_pipe;
    d->pipe.on_ready = on_pipe;
    d->stall.on_due = on_stall;
    buf_init(&d->held, HELD_BYTES_MAX);
    list_push(&f->downloads, &d->node);
    struct err ignored;
    int nonblocking = fd_nonblock(take_pipe, &ignored); /* it is already, if the node is ours */
    (void)nonblocking;
    if (f->downloads.count > f->limits->fetch_concurrent_max * 2) { /* cancelled ones may overlap new */
        why_set(d, CODE_UNAVAILABLE, "too many downloads at once (limit fetch_concurrent_max)");
        download_end(d);
        return;
    }
    d->easy = f->curl.curl_easy_init();
    CURLcode c = d->easy ? options_set(d, m->text) : CURLE_OUT_OF_MEMORY;
    if (c == CURLE_OK)
        c = range_set(d, m->etag);
    if (c == CURLE_OK && f->curl.curl_multi_add_handle(f->multi, d->easy) != CURLM_OK)
        c = CURLE_OUT_OF_MEMORY;
    if (c != CURLE_OK) {
        why_set(d, code_of_curl(c), f->curl.curl_easy_strerror(c));
        download_end(d);
        return;
    }
    d->byte_us = loop_now_us(f->loop) + f->limits->fetch_connect_ms * 1000; /* that has its own limit */
    loop_at(f->loop, &d->stall, d->byte_us + f->limits->fetch_stall_ms * 1000);
}

static void download_cancel(struct fetcher *f, uint64_t id)
{
    LIST_EACH(&f->downloads, node, next) {
        struct download *d = CONTAINER_OF(node, struct download, node);
        if (d->id != id)
            continue;
        why_set(d, CODE_CANCELLED, "cancelled");
        download_end(d);
        return;
    }
}

/* ---- from the node ------------------------------------------------------------------------ */

static int packet_take(struct fetcher *f, const struct wire_message *m, struct fd_packet *p,
                       struct err *e)
{
    int r = wire_check(m, p->size, true, e);
    if (r == 0 && p->fd_count != (m->kind == WIRE_CANCEL ? 0 : 1))
        r = err_set(e, CODE_INTERNAL, "fetcher socket: a descriptor is missing, or one too many");
    if (r < 0) {
        fd_packet_close(p);
        return r;
    }
    if (m->kind == WIRE_START)
        download_start(f, m, p->fds[0]);
    else if (m->kind == WIRE_POST)
        poster_start(&f->poster, m->id, p->fds[0]);
    else if (m->kind == WIRE_CALL)
        caller_start(&f->caller, m, p->fds[0]);
    else
        download_cancel(f, m->id);
    return 0;
}

static void on_control(struct loop_io *io, uint32_t events)
{
    struct fetcher *f = CONTAINER_OF(io, struct fetcher, control);
    struct wire_message m;
    struct err e;
    (void)events;
    while (!f->stopping) {
        struct fd_packet p = { .at = &m, .size = sizeof m };
        int r = fd_packet_recv(f->control_fd, &p, &e);
        if (r == 2)
            return;
        if (r == 1)
            r = packet_take(f, &m, &p, &e);
        else if (r == 0 || e.code == CODE_UNAVAILABLE) { /* reset: it went with messages unread */
            r = 0;
            f->stopping = true;
            loop_stop(f->loop);
        }
        if (r < 0)
            broken(f, &e);
    }
}

/* ---- curl's sockets and its clock --------------------------------------------------------- */

static void curl_act(struct fetcher *f, curl_socket_t fd, int what)
{
    int running = 0;
    f->curl.curl_multi_socket_action(f->multi, fd, what, &running);
    done_take(f);
}

static void on_socket_ready(struct loop_io *io, uint32_t events)
{
    struct socket *s = CONTAINER_OF(io, struct socket, io);
    int what = (events & EPOLLIN ? CURL_CSELECT_IN : 0) | (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
               (events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
    curl_act(s->f, s->io.fd, what);
}

static struct socket *socket_find(const struct fetcher *f, curl_socket_t fd)
{
    LIST_EACH(&f->sockets, node, next)
        if (CONTAINER_OF(node, struct socket, node)->io.fd == fd)
            return CONTAINER_OF(node, struct socket, node);
    return NULL;
}

static void socket_forget(struct fetcher *f, struct socket *s)
{
    loop_unwatch(f->loop, &s->io);
    list_remove(&f->sockets, &s->node);
    free(s);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *unused)
{
    struct fetcher *f = ctx;
    struct socket *s = socket_find(f, fd);
    uint32_t events = (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0) |
                      (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0);
    struct err e;
    (void)easy;
    (void)unused;
    if (what == CURL_POLL_REMOVE) {
        if (s)
            socket_forget(f, s);
        return 0;
    }
    if (s) {
        loop_rewatch(f->loop, &s->io, events);
        return 0;
    }
    s = xcalloc(1, sizeof *s);
    s->f = f;
    s->io.on_ready = on_socket_ready;
    if (loop_watch(f->loop, &s->io, fd, events, &e) < 0) {
        free(s);
        broken(f, &e);
        return -1;
    }
    list_push(&f->sockets, &s->node);
    return 0;
}

static void on_timer(struct loop_timer *t)
{
    curl_act(CONTAINER_OF(t, struct fetcher, timer), CURL_SOCKET_TIMEOUT, 0);
}

static int on_timer_set(CURLM *multi, long ms, void *ctx)
{
    struct fetcher *f = ctx;
    (void)multi;
    if (ms < 0)
        loop_cancel(f->loop, &f->timer);
    else
        loop_after(f->loop, &f->timer, (uint64_t)ms * 1000);
    return 0;
}

/* ---- the process -------------------------------------------------------------------------- */

static int multi_open(struct fetcher *f, struct err *e)
{
    if (f->curl.curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return err_set(e, CODE_INTERNAL, "libcurl does not start");
    f->multi = f->curl.curl_multi_init();
    if (!f->multi)
        return err_set(e, CODE_EXHAUSTED, "libcurl: no memory");
    __typeof__(f->curl.curl_multi_setopt) set = f->curl.curl_multi_setopt;
    CURLMcode c = set(f->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    c = c == CURLM_OK ? set(f->multi, CURLMOPT_SOCKETDATA, f) : c;
    c = c == CURLM_OK ? set(f->multi, CURLMOPT_TIMERFUNCTION, on_timer_set) : c;
    c = c == CURLM_OK ? set(f->multi, CURLMOPT_TIMERDATA, f) : c;
    c = c == CURLM_OK ? set(f->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_KEPT_MAX) : c;
    return c == CURLM_OK ? 0 : err_set(e, CODE_INTERNAL, "libcurl refuses an option (%d)", c);
}

static int open_all(struct fetcher *f, struct err *e)
{
    int r = fd_nonblock(f->control_fd, e);
    if (r == 0)
        r = loop_open(&f->loop, e);
    if (r == 0)
        r = curl_calls_load(&f->curl, e);
    if (r == 0)
        r = multi_open(f, e);
    if (r == 0)
        r = loop_watch(f->loop, &f->control, f->control_fd, EPOLLIN, e);
    return r < 0 ? r : fetcher_box(e);
}

static void close_all(struct fetcher *f)
{
    for (struct list_node *n; (n = list_first(&f->downloads)) != NULL;)
        download_end(CONTAINER_OF(n, struct download, node));
    poster_done(&f->poster);
    caller_done(&f->caller);
    if (f->multi)
        f->curl.curl_multi_cleanup(f->multi);
    for (struct list_node *n; (n = list_first(&f->sockets)) != NULL;)
        socket_forget(f, CONTAINER_OF(n, struct socket, node));
    if (f->loop) {
        loop_cancel(f->loop, &f->timer);
        loop_unwatch(f->loop, &f->control);
        loop_free(f->loop);
    }
}

/* Small until there is something to do: most nodes download seldom, and libcurl brings forty libraries. Nobody's
 * bytes are read before the box is shut. 0: the node has gone; 1: a message waits. */
static int message_await(int control_fd, struct err *e)
{
    struct pollfd control = { control_fd, POLLIN, 0 };
    char first;
    while (poll(&control, 1, -1) < 0)
        if (errno != EINTR)
            return err_sys(e, "wait for the first download");
    return recv(control_fd, &first, sizeof first, MSG_PEEK | MSG_DONTWAIT) != 0;
}

int fetcher_run(int control_fd, const struct limits *limits, const struct origin_policy *origins,
                const struct fetcher_export *export, struct err *e)
{
    struct fetcher f = { .limits = limits, .origins = origins, .control_fd = control_fd,
                         .control = { .on_ready = on_control }, .timer = { .on_due = on_timer } };
    list_init(&f.sockets);
    list_init(&f.downloads);
    list_init(&f.caller.calls);
    ASSERT(control_fd >= 0);
    if (control_fd > 3 && close_range(3, (unsigned)control_fd - 1, 0) < 0)
        return err_sys(e, "close descriptors");
    if (close_range((unsigned)MAX(control_fd, 2) + 1, ~0U, 0) < 0)
        return err_sys(e, "close descriptors");
    (void)signal(SIGPIPE, SIG_IGN);
    int r = message_await(control_fd, e);
    if (r <= 0)
        return r;
    r = open_all(&f, e);
    poster_init(&f.poster, &(struct poster_env){ &f.curl, f.multi, limits, export, post_say, &f });
    caller_init(&f.caller, &(struct caller_env){ &f.curl, f.multi, limits, origins, post_say, &f });
    if (r == 0)
        r = loop_run(f.loop, e);
    if (r == 0 && f.broken.code != CODE_OK) {
        *e = f.broken;
        r = -(int)e->code;
    }
    close_all(&f);
    return r;
}
