#include "cli/remote.h"

#include "base/suggest.h"
#include "cli/warnings.h"
#include "net/http_client.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { TARGET_BYTES_MAX = 8192 };

static void encode(struct buf *b, const char *text)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    for (const char *at = text; *at; at++)
        if (strchr(plain, *at))
            buf_append(b, at, 1);
        else
            buf_printf(b, "%%%02X", (unsigned)(unsigned char)*at);
}

char *remote_target(const char *literal, ...)
{
    struct buf b;
    va_list ap;
    bool segment = true;
    buf_init(&b, TARGET_BYTES_MAX);
    buf_text(&b, literal);
    va_start(ap, literal);
    for (const char *part; (part = va_arg(ap, const char *)) != NULL; segment = !segment)
        if (segment)
            encode(&b, part);
        else
            buf_text(&b, part);
    va_end(ap);
    return buf_take_text(&b);
}

static const char *said(const json_t *j, struct str body, char into[256])
{
    static const char *const paths[] = { "message", "detail", "title", "error" };
    for (size_t i = 0; j && i < COUNT_OF(paths); i++)
        if (json_text_at(j, paths[i]))
            return json_text_at(j, paths[i]);
    struct str line = str_trim(str_cut(&body, '\n'));
    snprintf(into, 256, STR_FMT, (int)MIN(line.size, 200), line.at ? line.at : "");
    return into;
}

int remote_error(int status, struct str body, const struct limits *l, struct err *e)
{
    struct err ignored = { 0 };
    AUTO_JSON json_t *j = NULL;
    struct buf clean;
    if (json_read(body, l, &j, &ignored) < 0 || !json_is_object(j)) {
        json_decref(j);
        j = NULL;
    }
    enum code code = exits_code_of_http(status, j ? json_text_at(j, "reason") : NULL);
    buf_init(&clean, sizeof e->text);
    term_clean_lines(&clean, str_of(said(j, body, (char[256]){ 0 })), 2);
    AUTO_FREE char *text = buf_take_text(&clean);
    if (text[0])
        return err_set(e, code == CODE_OK ? CODE_INTERNAL : code, "%s", text);
    return err_set(e, code == CODE_OK ? CODE_INTERNAL : code, "the server answered %d", status);
}

/* Nobody heard the request: it was certainly not done. */
static bool never_sent(const struct err *e)
{
    bool cut = e->sys_errno == ECONNRESET || e->sys_errno == EPIPE || e->sys_errno == ECONNABORTED;
    return (e->code == CODE_UNAVAILABLE && !cut) || e->code == CODE_INVALID;
}

/* A server that had only just begun when we looked for its socket asks us for a token; now the socket is there. */
static bool found_socket(struct cli *c, int status)
{
    const char *before = c->global.server;
    if (status != 401 || c->global.token || str_starts(str_of(before), STR("unix:")))
        return false;
    c->global.server = reach_server(before, c->socket);
    return c->global.server != before;
}

static void warn(const struct cli *c, const struct http_client_answer *a)
{
    struct buf b;
    buf_init(&b, TARGET_BYTES_MAX);
    warnings_read(buf_str(&a->head), &b);
    if (b.size > 0 && !c->global.quiet)
        (void)fprintf(stderr, STR_FMT, STR_ARG(buf_str(&b)));
    buf_done(&b);
}

#define ACCEPT_JSON  "Accept: application/json\r\n"
#define ACCEPT_TABLE "Accept: application/json;as=Table;v=v1;g=meta.k8s.io\r\n"
#define SENDS_JSON   "Content-Type: application/json\r\n"

static int exchange(struct cli *c, const char *method, const char *target, const char *headers, struct str body,
                    uint32_t timeout_ms, struct http_client_answer *ret, struct err *e)
{
    struct http_client_call spec = {
        .address = c->global.server,
        .token = c->global.token,
        .method = method,
        .target = target,
        .headers = headers,
        .body = body,
        .timeout_ms = timeout_ms,
        .body_bytes_max = REMOTE_BODY_BYTES_MAX,
    };
    int r = http_client_do(&spec, ret, e);
    if (r >= 0 && found_socket(c, ret->status)) {
        http_client_answer_done(ret);
        *ret = (struct http_client_answer){ 0 };
        spec.address = c->global.server;
        r = http_client_do(&spec, ret, e);
    }
    if (r < 0 && strcmp(method, "GET") != 0 && !never_sent(e))
        return err_set(e, CODE_DEADLINE, "%s: no whole answer came, so it may have been done", target);
    return r;
}

int remote_raw(struct cli *c, const char *method, const char *target, uint32_t timeout_ms, struct http_client_answer *ret,
               struct err *e)
{
    int r = exchange(c, method, target, NULL, (struct str){ 0 }, timeout_ms, ret, e);
    return MIN(r, 0);
}

static int call(struct cli *c, const char *method, const char *target, const char *headers, struct str body,
                uint32_t timeout_ms, json_t **ret, struct err *e)
{
    struct http_client_answer answer = { 0 };
    int r = exchange(c, method, target, headers, body, timeout_ms, &answer, e);
    if (r < 0)
        return r;
    if (strcmp(method, "GET") != 0)
        warn(c, &answer);
    if (answer.status >= 400)
        r = remote_error(answer.status, buf_str(&answer.body), &c->limits, e);
    else if (ret && answer.body.size)
        r = json_read(buf_str(&answer.body), &c->limits, ret, e);
    else if (ret)
        r = err_set(e, CODE_INTERNAL, "%s: the answer is empty", target);
    http_client_answer_done(&answer);
    return MIN(r, 0);
}

int remote_get(struct cli *c, const char *target, json_t **ret, struct err *e)
{
    return call(c, "GET", target, ACCEPT_JSON, (struct str){ 0 }, REMOTE_TIMEOUT_MS, ret, e);
}

int remote_get_table(struct cli *c, const char *target, json_t **ret, struct err *e)
{
    return call(c, "GET", target, ACCEPT_TABLE, (struct str){ 0 }, REMOTE_TIMEOUT_MS, ret, e);
}

int remote_send(struct cli *c, const char *method, const char *target, const json_t *body,
                json_t **ret, struct err *e)
{
    struct buf b;
    buf_init(&b, REMOTE_BODY_BYTES_MAX);
    if (body)
        json_write(body, &b);
    int r = call(c, method, target, body ? ACCEPT_JSON SENDS_JSON : ACCEPT_JSON,
                 body ? buf_str(&b) : (struct str){ 0 }, REMOTE_TIMEOUT_MS, ret, e);
    buf_done(&b);
    return r;
}

int remote_merge(struct cli *c, const char *target, const json_t *patch, struct err *e)
{
    struct buf b;
    buf_init(&b, REMOTE_BODY_BYTES_MAX);
    json_write(patch, &b);
    int r = call(c, "PATCH", target, ACCEPT_JSON "Content-Type: application/merge-patch+json\r\n", buf_str(&b), REMOTE_TIMEOUT_MS, NULL, e);
    buf_done(&b);
    return r;
}

json_t *remote_peek(struct cli *c, const char *target)
{
    struct err ignored = { 0 };
    json_t *j = NULL;
    int r = call(c, "GET", target, ACCEPT_JSON, (struct str){ 0 }, REMOTE_COMPLETE_MS, &j, &ignored);
    return r < 0 ? NULL : j;
}

void remote_suggest_service(struct cli *c, const char *name, struct err *e)
{
    AUTO_FREE char *target =
        remote_target(REMOTE_KNATIVE "/namespaces/", c->global.ns, "/services", NULL);
    AUTO_JSON json_t *list = remote_peek(c, target);
    struct suggest near = suggest_begin(str_of(name));
    json_t *one;
    size_t i;
    if (!list)
        return;
    json_array_foreach(json_at(list, "items"), i, one) {
        const char *other = json_text_at(one, "metadata.name");
        if (other && strcmp(other, name) == 0)
            return; /* it is there: whatever failed is something else */
        if (other)
            suggest_offer(&near, str_of(other));
    }
    const char *phrase = suggest_phrase(&near, (char[SUGGEST_TEXT]){ 0 });
    err_set(e, CODE_NOT_FOUND, "service %s/%s: not found%s%s", c->global.ns, name, phrase,
            json_array_size(json_at(list, "items")) ? ""
                                                    : "; nothing is deployed in this namespace");
}

int remote_service(struct cli *c, const char *name, json_t **ret, struct err *e)
{
    AUTO_FREE char *target =
        remote_target(REMOTE_KNATIVE "/namespaces/", c->global.ns, "/services/", name, NULL);
    int r = remote_get(c, target, ret, e);
    if (r == -CODE_NOT_FOUND)
        remote_suggest_service(c, name, e);
    return r;
}

int remote_ingress(struct cli *c, char **ret, struct err *e)
{
    const char *given = getenv("HOB_INGRESS");
    AUTO_JSON json_t *version = NULL;
    if (given && given[0]) {
        *ret = xstrdup(given);
        return 0;
    }
    int r = remote_get(c, "/version", &version, e);
    if (r < 0)
        return r;
    const char *ingress = json_text_at(version, "ingress");
    *ret = xstrdup(ingress ? ingress : CLI_INGRESS_DEFAULT);
    return 0;
}
