#include "artifact/fetcher_call.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ANSWER_BYTES_MAX = 1 << 20, HEADERS_MAX = 16384, LINE_MAX_BYTES = 4096 };

struct call {
    struct list_node node;
    struct caller *caller;
    CURL *easy;
    struct curl_slist *headers;
    uint64_t id;
    int fd;
    int64_t begin, at, size; /* of the body: its first byte in fd, next byte, all */
    uint64_t answered_bytes;
    bool https;
    struct err refused; /* an address, by origin.h */
    char why[CURL_ERROR_SIZE];
};

void caller_init(struct caller *c, const struct caller_env *env)
{
    c->env = *env;
    list_init(&c->calls);
}

static void call_free(struct call *l)
{
    const struct caller_env *env = &l->caller->env;
    if (l->easy) {
        env->curl->curl_multi_remove_handle(env->multi, l->easy);
        env->curl->curl_easy_cleanup(l->easy);
    }
    if (l->headers)
        env->curl->curl_slist_free_all(l->headers);
    list_remove(&l->caller->calls, &l->node);
    (void)close(l->fd);
    free(l);
}

void caller_done(struct caller *c)
{
    LIST_EACH(&c->calls, n, tmp)
        call_free(CONTAINER_OF(n, struct call, node));
}

struct call *caller_find(const struct caller *c, const CURL *easy)
{
    LIST_EACH(&c->calls, n, tmp)
        if (CONTAINER_OF(n, struct call, node)->easy == easy)
            return CONTAINER_OF(n, struct call, node);
    return NULL;
}

/* ---- how it ended ---- */

static void end_say(const struct caller *c, uint64_t id, enum code code, const char *why)
{
    struct wire_message m = { .kind = WIRE_END, .id = id, .code = code };
    snprintf(m.text, sizeof m.text, "%s", why);
    c->env.say(c->env.ctx, &m);
}

static void head_say(const struct call *l, long status)
{
    const struct caller *c = l->caller;
    struct wire_message m = { .kind = WIRE_HEAD, .id = l->id, .status = (uint32_t)status, .size = -1, .from = -1,
                              .retry_after_ms = -1 };
    curl_off_t after = 0;
    c->env.curl->curl_easy_getinfo(l->easy, CURLINFO_RETRY_AFTER, &after);
    if (after > 0)
        m.retry_after_ms = MIN(after, (curl_off_t)86400) * 1000;
    c->env.say(c->env.ctx, &m);
}

void caller_over(struct caller *c, struct call *l, CURLcode r)
{
    long status = 0;
    uint64_t id = l->id;
    struct err e = { .code = CODE_OK };
    c->env.curl->curl_easy_getinfo(l->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 200 && status <= 599) /* the status is the answer, also where its content never ended */
        head_say(l, status);
    else if (l->refused.code != CODE_OK)
        e = l->refused;
    else
        err_set(&e, r == CURLE_OPERATION_TIMEDOUT ? CODE_DEADLINE : CODE_UNAVAILABLE, "%s",
                l->why[0] ? l->why : c->env.curl->curl_easy_strerror(r));
    call_free(l);
    end_say(c, id, e.code, e.code == CODE_OK ? "" : e.text);
}

static size_t on_answer(char *data, size_t one, size_t size, void *ctx)
{
    struct call *l = ctx;
    (void)data;
    l->answered_bytes += one * size;
    return l->answered_bytes > ANSWER_BYTES_MAX ? 0 : one * size;
}

/* ---- the body ---- */

static size_t on_want(char *into, size_t one, size_t size, void *ctx)
{
    struct call *l = ctx;
    ssize_t n = pread(l->fd, into, one * size, l->begin + l->at);
    if (n < 0)
        return CURL_READFUNC_ABORT;
    l->at += n;
    return (size_t)n;
}

/* A kept connection that had ended: the body goes once more over a new one. */
static int on_seek(void *ctx, curl_off_t at, int origin)
{
    struct call *l = ctx;
    if (origin != SEEK_SET || at < 0 || at > l->size)
        return CURL_SEEKFUNC_FAIL;
    l->at = at;
    return CURL_SEEKFUNC_OK;
}

/* ---- where it may connect to ---- */

static bool may_go(struct call *l, const struct origin_address *to)
{
    const struct origin_hop none = { 0 };
    if (origin_hop_check(l->caller->env.origins, &none, to, l->https, &l->refused) < 0)
        return false;
    l->refused.code = CODE_OK; /* another address of the same name may have been refused before */
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

/* Before each request: connections are kept, and this one may have been made for a download. */
static int on_request(void *ctx, char *remote, char *local, int remote_port, int local_port)
{
    struct origin_address to;
    (void)local;
    (void)remote_port;
    (void)local_port;
    return origin_address_parse(remote, &to) && may_go(ctx, &to) ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
}

/* ---- setting it up ---- */

static bool header_add(struct call *l, const char *line)
{
    struct curl_slist *longer = l->caller->env.curl->curl_slist_append(l->headers, line);
    if (longer)
        l->headers = longer;
    return longer != NULL;
}

static bool headers_set(struct call *l)
{
    char text[HEADERS_MAX];
    ssize_t n = pread(l->fd, text, sizeof text, 0);
    if (n < l->begin)
        return false;
    struct str rest = { text, (size_t)l->begin };
    bool good = header_add(l, "Expect:");
    while (good && rest.size > 0) {
        char line[LINE_MAX_BYTES];
        struct str one = str_cut(&rest, '\n');
        good = one.size < sizeof line;
        if (good && one.size > 0) {
            snprintf(line, sizeof line, STR_FMT, STR_ARG(one));
            good = header_add(l, line);
        }
    }
    return good;
}

static CURLcode options_set(struct call *l, const char *url)
{
    const struct caller_env *env = &l->caller->env;
    __typeof__(env->curl->curl_easy_setopt) set = env->curl->curl_easy_setopt;
    CURL *h = l->easy;
    CURLcode c = set(h, CURLOPT_URL, url);
#define SET(option, value) c = c == CURLE_OK ? set(h, option, value) : c
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)MIN(env->limits->fetch_connect_ms, env->limits->invoke_callback_ms));
    SET(CURLOPT_TIMEOUT_MS, (long)env->limits->invoke_callback_ms);
    SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    SET(CURLOPT_PROXY, ""); /* the environment is no setting */
    SET(CURLOPT_OPENSOCKETFUNCTION, on_socket_open);
    SET(CURLOPT_OPENSOCKETDATA, l);
    SET(CURLOPT_PREREQFUNCTION, on_request);
    SET(CURLOPT_PREREQDATA, l);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_USERAGENT, "hob/" HOB_VERSION);
    SET(CURLOPT_POST, 1L);
    SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)l->size);
    SET(CURLOPT_HTTPHEADER, l->headers);
    SET(CURLOPT_READFUNCTION, on_want);
    SET(CURLOPT_READDATA, l);
    SET(CURLOPT_SEEKFUNCTION, on_seek);
    SET(CURLOPT_SEEKDATA, l);
    SET(CURLOPT_WRITEFUNCTION, on_answer);
    SET(CURLOPT_WRITEDATA, l);
    SET(CURLOPT_ERRORBUFFER, l->why);
#undef SET
    return c;
}

static const char *why_not(const struct caller *c, const struct wire_message *m, int fd, int64_t *ret_size)
{
    struct stat st;
    if (c->calls.count >= c->env.limits->invoke_callbacks_max)
        return "as many callbacks as may be are under way (limit invoke_callbacks_max)";
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || m->from > st.st_size || m->from > HEADERS_MAX)
        return "what is to be sent is no file of headers and body";
    *ret_size = st.st_size - m->from;
    return NULL;
}

void caller_start(struct caller *c, const struct wire_message *m, int take_fd)
{
    int64_t size = 0;
    const char *no = why_not(c, m, take_fd, &size);
    if (no) {
        (void)close(take_fd);
        end_say(c, m->id, CODE_UNAVAILABLE, no);
        return;
    }
    struct call *l = xcalloc(1, sizeof *l);
    l->caller = c;
    l->id = m->id;
    l->fd = take_fd;
    l->begin = m->from;
    l->size = size;
    l->https = str_starts(str_of(m->text), STR("https:"));
    list_push(&c->calls, &l->node);
    l->easy = c->env.curl->curl_easy_init();
    CURLcode r = l->easy && headers_set(l) ? options_set(l, m->text) : CURLE_OUT_OF_MEMORY;
    if (r == CURLE_OK && c->env.curl->curl_multi_add_handle(c->env.multi, l->easy) != CURLM_OK)
        r = CURLE_OUT_OF_MEMORY;
    if (r == CURLE_OK)
        return;
    call_free(l);
    end_say(c, m->id, CODE_UNAVAILABLE, c->env.curl->curl_easy_strerror(r));
}
