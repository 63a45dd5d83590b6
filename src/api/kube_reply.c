#include "api/kube_reply.h"

#include <stdio.h>
#include <stdlib.h>

#define TYPE_JSON "application/json"
#define TYPE_YAML "application/yaml"

enum { ANSWER_MAX = 256 * 1024 * 1024 };

/* ---- what the client accepts ---- */

static bool has_parameter(struct str range, const char *want)
{
    while (range.size > 0)
        if (str_is(str_trim(str_cut(&range, ';')), want))
            return true;
    return false;
}

enum kube_form kube_form(const struct http_call *c)
{
    struct str rest = http_call_header(c, "Accept");
    if (!rest.at || str_trim(rest).size == 0)
        return KUBE_JSON;
    while (rest.size > 0) { /* in the order given; kubectl relies on it and sends no weights */
        struct str range = str_trim(str_cut(&rest, ','));
        struct str parameters = range;
        struct str type = str_trim(str_cut(&parameters, ';'));
        bool json = str_is(type, TYPE_JSON), table = has_parameter(parameters, "as=Table");
        if (json && table && has_parameter(parameters, "v=v1"))
            return KUBE_TABLE;
        bool partial = has_parameter(parameters, "as=PartialObjectMetadata") ||
                       has_parameter(parameters, "as=PartialObjectMetadataList");
        if (json && partial && has_parameter(parameters, "v=v1"))
            return KUBE_PARTIAL;
        if (table || partial)
            continue;
        if (json || str_is(type, "*/*") || str_is(type, "application/*"))
            return KUBE_JSON;
        if (str_is(type, TYPE_YAML))
            return KUBE_YAML;
    }
    return KUBE_NOT_ACCEPTABLE;
}

static void send_text(struct http_call *c, int status, const char *headers, struct str text)
{
    struct buf b;
    json_t *j = kube_form(c) == KUBE_YAML ? json_loadb(text.at, text.size, 0, NULL) : NULL;
    buf_init(&b, ANSWER_MAX);
    if (j) {
        yaml_write(j, &b);
        json_decref(j);
        http_answer(c, status, TYPE_YAML, headers, buf_str(&b));
    } else {
        buf_str_append(&b, text);
        buf_text(&b, "\n");
        http_answer(c, status, TYPE_JSON, headers, buf_str(&b));
    }
    buf_done(&b);
}

static void send_tree(struct http_call *c, int status, const char *headers, const json_t *j)
{
    struct buf b;
    buf_init(&b, ANSWER_MAX);
    json_write(j, &b);
    send_text(c, status, headers, buf_str(&b));
    buf_done(&b);
}

/* ---- Status ---- */

json_t *kube_status(const struct kube_refusal *r)
{
    AUTO_JSON json_t *details = json_object();
    if (r->name && *r->name)
        (void)json_object_set_new(details, "name", json_string(r->name));
    if (r->resource && *r->resource->group)
        (void)json_object_set_new(details, "group", json_string(r->resource->group));
    if (r->resource)
        (void)json_object_set_new(details, "kind",
                                  json_string(r->take_causes ? r->resource->name : r->resource->plural));
    if (r->take_causes)
        (void)json_object_set_new(details, "causes", r->take_causes);
    if (r->retry_after_s)
        (void)json_object_set_new(details, "retryAfterSeconds", json_integer(r->retry_after_s));
    json_t *status =
        json_pack("{s:s,s:s,s:{},s:s,s:s,s:s?,s:O,s:i}", "kind", "Status", "apiVersion", "v1", "metadata",
                  "status", "Failure", "message", r->message, "reason", r->reason, "details", details,
                  "code", r->code);
    ASSERT(status);
    return status;
}

void kube_refuse(struct http_call *c, const struct kube_refusal *r)
{
    char headers[128] = "";
    AUTO_JSON json_t *status = kube_status(r);
    if (r->retry_after_s)
        (void)snprintf(headers, sizeof headers, "Retry-After: %u\r\n", r->retry_after_s);
    if (r->allow)
        (void)snprintf(headers, sizeof headers, "Allow: %.100s\r\n", r->allow);
    send_tree(c, r->code, *headers ? headers : NULL, status);
}

/* ---- Warning: 299 ---- */

enum { WARNINGS_BYTES_MAX = 4096, WARNING_BYTES_MAX = 1024 }; /* the sum is that of Kubernetes */

static void warning_header(struct buf *into, struct str text)
{
    struct buf line;
    buf_init(&line, 2 * WARNING_BYTES_MAX + 64);
    buf_text(&line, "Warning: 299 - \"");
    for (size_t i = 0; i < MIN(text.size, WARNING_BYTES_MAX); i++) {
        char c = text.at[i];
        if (c == '"' || c == '\\')
            buf_text(&line, "\\");
        buf_append(&line, (unsigned char)c < 0x20 || c == 0x7f ? " " : &c, 1);
    }
    buf_text(&line, "\"\r\n");
    if (into->size + line.size <= WARNINGS_BYTES_MAX)
        buf_str_append(into, buf_str(&line));
    buf_done(&line);
}

static char *warning_headers(struct refusals *warnings)
{
    struct buf text, headers;
    if (!warnings || !refusals_any(warnings))
        return NULL;
    buf_init(&text, 1 << 20);
    buf_init(&headers, WARNINGS_BYTES_MAX + 64);
    refusals_text(warnings, &text);
    struct str rest = buf_str(&text);
    while (rest.size > 0) {
        struct str line = str_cut(&rest, '\n');
        if (str_ends(line, STR(": "))) /* a warning about no field in particular */
            line.size -= 2;
        warning_header(&headers, line);
    }
    buf_done(&text);
    return buf_take_text(&headers);
}

void kube_answer(struct http_call *c, int status, struct str text, struct refusals *warnings)
{
    AUTO_FREE char *headers = warning_headers(warnings);
    send_text(c, status, headers, text);
}

void kube_answer_tree(struct http_call *c, int status, const json_t *j) { send_tree(c, status, NULL, j); }
