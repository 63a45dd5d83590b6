#include "artifact/fetcher_post.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ANSWER_BYTES_MAX = 1 << 20, HEADER_MAX = 8192 };

void poster_init(struct poster *p, const struct poster_env *env)
{
    *p = (struct poster){ .env = *env, .body_fd = -1 };
}

static void post_free(struct poster *p)
{
    const struct curl_calls *curl = p->env.curl;
    if (p->easy) {
        curl->curl_multi_remove_handle(p->env.multi, p->easy);
        curl->curl_easy_cleanup(TAKE(p->easy));
    }
    if (p->headers)
        curl->curl_slist_free_all(TAKE(p->headers));
    fd_auto(&p->body_fd);
    p->body_fd = -1;
}

void poster_done(struct poster *p)
{
    if (p->env.curl)
        post_free(p);
}

static void end_say(struct poster *p, uint64_t id, enum code code, const char *why)
{
    struct wire_message m = { .kind = WIRE_END, .id = id, .code = code };
    snprintf(m.text, sizeof m.text, "%s", why);
    p->env.say(p->env.ctx, &m);
}

bool poster_has(const struct poster *p, const CURL *easy) { return p->easy && p->easy == easy; }

/* ---- the answer ---- */

static void head_say(struct poster *p, long status)
{
    struct wire_message m = { .kind = WIRE_HEAD, .id = p->id, .status = (uint32_t)status, .size = -1, .from = -1,
                              .retry_after_ms = -1 };
    curl_off_t after = 0;
    p->env.curl->curl_easy_getinfo(p->easy, CURLINFO_RETRY_AFTER, &after);
    if (after > 0)
        m.retry_after_ms = MIN(after, (curl_off_t)86400) * 1000;
    p->env.say(p->env.ctx, &m);
}

void poster_over(struct poster *p, CURLcode c)
{
    long status = 0;
    char why[CURL_ERROR_SIZE];
    p->env.curl->curl_easy_getinfo(p->easy, CURLINFO_RESPONSE_CODE, &status);
    snprintf(why, sizeof why, "%s", p->why[0] ? p->why : p->env.curl->curl_easy_strerror(c));
    /* The status is the answer, also where its content was too long or the connection ended early. */
    bool answered = status >= 200 && status <= 599;
    if (answered)
        head_say(p, status);
    post_free(p);
    if (answered)
        end_say(p, p->id, CODE_OK, "");
    else
        end_say(p, p->id, c == CURLE_OPERATION_TIMEDOUT ? CODE_DEADLINE : CODE_UNAVAILABLE, why);
}

static size_t on_answer(char *data, size_t one, size_t size, void *ctx)
{
    struct poster *p = ctx;
    (void)data;
    p->answered_bytes += one * size;
    return p->answered_bytes > ANSWER_BYTES_MAX ? 0 : one * size;
}

/* ---- the body ---- */

static size_t on_want(char *into, size_t one, size_t size, void *ctx)
{
    struct poster *p = ctx;
    ssize_t n = pread(p->body_fd, into, one * size, p->at);
    if (n < 0)
        return CURL_READFUNC_ABORT;
    p->at += n;
    return (size_t)n;
}

/* A kept connection that had ended: the body goes once more over a new one. */
static int on_seek(void *ctx, curl_off_t at, int origin)
{
    struct poster *p = ctx;
    if (origin != SEEK_SET || at < 0 || at > p->size)
        return CURL_SEEKFUNC_FAIL;
    p->at = at;
    return CURL_SEEKFUNC_OK;
}

/* ---- setting it up ---- */

static bool header_add(struct poster *p, const char *line)
{
    struct curl_slist *longer = p->env.curl->curl_slist_append(p->headers, line);
    if (longer)
        p->headers = longer;
    return longer != NULL;
}

static bool headers_set(struct poster *p)
{
    struct str rest = str_of(p->env.export->headers);
    bool good = header_add(p, "Content-Type: application/json") && header_add(p, "Expect:");
    while (good && rest.size > 0) {
        char line[HEADER_MAX];
        struct str one = str_cut(&rest, '\n');
        good = one.size < sizeof line;
        if (good && one.size > 0) {
            snprintf(line, sizeof line, STR_FMT, STR_ARG(one));
            good = header_add(p, line);
        }
    }
    return good;
}

static CURLcode options_set(struct poster *p)
{
    __typeof__(p->env.curl->curl_easy_setopt) set = p->env.curl->curl_easy_setopt;
    const struct limits *l = p->env.limits;
    CURL *h = p->easy;
    CURLcode c = set(h, CURLOPT_URL, p->env.export->url);
#define SET(option, value) c = c == CURLE_OK ? set(h, option, value) : c
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)MIN(l->fetch_connect_ms, l->trace_post_ms));
    SET(CURLOPT_TIMEOUT_MS, (long)l->trace_post_ms);
    SET(CURLOPT_PROXY, ""); /* the environment is no setting */
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_USERAGENT, "hob/" HOB_VERSION);
    SET(CURLOPT_POST, 1L);
    SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)p->size);
    SET(CURLOPT_HTTPHEADER, p->headers);
    SET(CURLOPT_READFUNCTION, on_want);
    SET(CURLOPT_READDATA, p);
    SET(CURLOPT_SEEKFUNCTION, on_seek);
    SET(CURLOPT_SEEKDATA, p);
    SET(CURLOPT_WRITEFUNCTION, on_answer);
    SET(CURLOPT_WRITEDATA, p);
    SET(CURLOPT_ERRORBUFFER, p->why);
#undef SET
    return c;
}

static const char *why_not(const struct poster *p)
{
    if (!p->env.export || !p->env.export->url)
        return "this fetcher was not told where to";
    return p->easy ? "one at a time" : NULL;
}

void poster_start(struct poster *p, uint64_t id, int take_body_fd)
{
    AUTO_CLOSE int fd = take_body_fd;
    const char *no = why_not(p);
    struct stat st;
    if (no || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        end_say(p, id, CODE_PRECONDITION, no ? no : "the body is no file");
        return;
    }
    p->id = id;
    p->body_fd = TAKE_FD(fd);
    p->at = 0;
    p->size = st.st_size;
    p->answered_bytes = 0;
    p->why[0] = '\0';
    p->easy = p->env.curl->curl_easy_init();
    CURLcode c = p->easy && headers_set(p) ? options_set(p) : CURLE_OUT_OF_MEMORY;
    if (c == CURLE_OK && p->env.curl->curl_multi_add_handle(p->env.multi, p->easy) != CURLM_OK)
        c = CURLE_OUT_OF_MEMORY;
    if (c == CURLE_OK)
        return;
    post_free(p);
    end_say(p, id, CODE_UNAVAILABLE, p->env.curl->curl_easy_strerror(c));
}
