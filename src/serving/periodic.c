#include "serving/periodic.h"
#include "codec/duration.h"
#include "codec/names.h"
#include "net/http.h"
#include "os/zonefile.h"

#include <stdio.h>

#define CATCHUP_MS_DEFAULT  (INT64_C(3600) * 1000)
#define CATCHUP_MS_MIN      (INT64_C(10) * 1000)
#define CATCHUP_MS_MAX      (INT64_C(366) * 86400 * 1000)
#define DEADLINE_MS_DEFAULT (INT64_C(86400) * 1000)
#define DEADLINE_MS_MAX     (INT64_C(366) * 86400 * 1000)

static const char *const overlaps[] = {
    [PERIODIC_SKIP] = "Skip",
    [PERIODIC_BUFFER_ONE] = "BufferOne",
    [PERIODIC_ALLOW_ALL] = "AllowAll",
    [PERIODIC_CANCEL_OTHER] = "CancelOther",
};

static int zone_take(const char *zone, struct cron *c, struct err *e)
{
    struct str name = str_of(zone);
    struct buf bytes;
    if (!zone[0])
        return 0;
    if (c->zone[0])
        return err_set(e, CODE_INVALID, "the schedule names the time zone %s already: one of the two is enough", c->zone);
    if (!zone_name_valid(name) || name.size >= sizeof c->zone)
        return err_set(e, CODE_INVALID, "unknown time zone '%.64s': names are like Europe/Paris", zone);
    snprintf(c->zone, sizeof c->zone, "%s", zone);
    if (zone_name_is_utc(name))
        return 0;
    buf_init(&bytes, ZONE_BYTES_MAX);
    int r = zonefile_read(NULL, name, &bytes, e);
    buf_done(&bytes);
    return r < 0 ? err_set(e, CODE_INVALID, "unknown time zone '%.64s': this machine's time zone data has none of that name",
                           zone)
                 : 0;
}

static int duration_take(const json_t *spec, const char *key, int64_t otherwise_ms, int64_t min_ms, int64_t max_ms, int64_t *ret,
                         struct err *e)
{
    const char *text = json_text_at(spec, key);
    int64_t ns;
    *ret = otherwise_ms;
    if (!text)
        return 0;
    if (duration_parse(str_of(text), &ns, e) < 0)
        return err_set(e, CODE_INVALID, "'%.40s' is no duration: write 30s, 10m, 2h", text);
    *ret = ns / 1000000;
    return *ret >= min_ms && *ret <= max_ms
               ? 0
               : err_set(e, CODE_INVALID, "'%.40s' is not between %llds and %lldh", text, (long long)(min_ms / 1000),
                         (long long)(max_ms / 3600000));
}

static int overlap_take(const json_t *spec, enum periodic_overlap *ret, struct err *e)
{
    const char *text = json_text_at(spec, "overlap");
    *ret = PERIODIC_SKIP;
    for (size_t i = 0; text && i < COUNT_OF(overlaps); i++)
        if (strcmp(text, overlaps[i]) == 0) {
            *ret = (enum periodic_overlap)i;
            return 0;
        }
    return text ? err_set(e, CODE_INVALID, "'%.40s' is none of Skip, BufferOne, AllowAll, CancelOther", text) : 0;
}

static int path_check(const char *path, struct err *e)
{
    size_t size = strlen(path);
    bool good = path[0] == '/' && size <= PERIODIC_PATH_MAX;
    for (size_t i = 0; good && i < size; i++)
        good = path[i] > ' ' && path[i] < 0x7f && path[i] != '#';
    return good ? 0 : err_set(e, CODE_INVALID, "a path begins with / and has at most 2048 visible ASCII characters, others with %%");
}

/* The connection's own, and what hob says itself. */
static bool header_ours(const char *name)
{
    static const char *const names[] = { "Host", "Connection", "Content-Length", "Transfer-Encoding", "Expect", "Upgrade",
                                         "Keep-Alive", "TE", "Trailer", "Proxy-Connection", "Idempotency-Key", "Prefer" };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (str_eq_nocase(str_of(name), str_of(names[i])))
            return true;
    return strlen(name) >= 4 && str_eq_nocase(str_head(str_of(name), 4), STR("hob-"));
}

static bool header_name_fits(const char *name)
{
    size_t size = strlen(name);
    return size > 0 && size <= 256 &&
           strspn(name, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == size;
}

static bool header_value_fits(const char *value)
{
    size_t size = strlen(value);
    for (size_t i = 0; i < size; i++)
        if (((unsigned char)value[i] < ' ' && value[i] != '\t') || value[i] == 0x7f)
            return false;
    return size <= 4096;
}

static int headers_check(const json_t *headers, struct err *e)
{
    const char *name;
    json_t *value;
    if (json_object_size(headers) > PERIODIC_HEADERS_MAX)
        return err_set(e, CODE_INVALID, "at most %d headers", PERIODIC_HEADERS_MAX);
    json_object_foreach((json_t *)(uintptr_t)headers, name, value) {
        const char *text = json_string_value(value);
        if (!header_name_fits(name) || !text || !header_value_fits(text))
            return err_set(e, CODE_INVALID, "'%.60s' is no header that HTTP can carry", name);
        if (header_ours(name))
            return err_set(e, CODE_INVALID, "'%.60s' is written by hob", name);
    }
    return 0;
}

static const char *text_or(const json_t *spec, const char *key, const char *otherwise)
{
    const char *text = json_text_at(spec, key);
    return text ? text : otherwise;
}

/* ---- one field each ---- */

static int schedule_read(const json_t *spec, struct periodic *p, struct err *e)
{
    const char *when = text_or(spec, "schedule", "");
    if (!when[0])
        return err_set(e, CODE_INVALID, "required: a cron line (\"*/5 * * * *\"), @hourly and its like, or \"@every 10m\"");
    return cron_parse(str_of(when), &p->cron, e);
}

static int zone_read(const json_t *spec, struct periodic *p, struct err *e)
{
    return zone_take(text_or(spec, "timeZone", ""), &p->cron, e);
}

static int overlap_read(const json_t *spec, struct periodic *p, struct err *e) { return overlap_take(spec, &p->overlap, e); }

static int catchup_read(const json_t *spec, struct periodic *p, struct err *e)
{
    return duration_take(spec, "catchUpWindow", CATCHUP_MS_DEFAULT, CATCHUP_MS_MIN, CATCHUP_MS_MAX, &p->catchup_ms, e);
}

static int deadline_read(const json_t *spec, struct periodic *p, struct err *e)
{
    return duration_take(spec, "deadline", DEADLINE_MS_DEFAULT, 1000, DEADLINE_MS_MAX, &p->deadline_ms, e);
}

static int path_read(const json_t *spec, struct periodic *p, struct err *e)
{
    p->path = text_or(spec, "path", "/");
    return path_check(p->path, e);
}

static int headers_read(const json_t *spec, struct periodic *p, struct err *e)
{
    p->headers = json_at(spec, "headers");
    return headers_check(p->headers, e);
}

static int service_read(const json_t *spec, struct periodic *p, struct err *e)
{
    p->service = text_or(spec, "service", "");
    return names_label(str_of(p->service), e)
               ? 0
               : err_set(e, CODE_INVALID, "required: the name of a Service of the same namespace");
}

static int method_read(const json_t *spec, struct periodic *p, struct err *e)
{
    p->method = text_or(spec, "method", "POST");
    enum http_method m = http_method_find(str_of(p->method));
    return m != HTTP_METHOD_OTHER && m != HTTP_CONNECT
               ? 0
               : err_set(e, CODE_INVALID, "'%.20s' is no method of HTTP that a function can be called with", p->method);
}

static int body_read(const json_t *spec, struct periodic *p, struct err *e)
{
    p->body = text_or(spec, "body", "");
    return strlen(p->body) <= PERIODIC_BODY_MAX ? 0 : err_set(e, CODE_INVALID, "at most %d bytes", PERIODIC_BODY_MAX);
}

static const struct {
    const char *field;
    int (*read)(const json_t *spec, struct periodic *p, struct err *e);
} fields[] = {
    { "spec.schedule", schedule_read },      { "spec.timeZone", zone_read },     { "spec.overlap", overlap_read },
    { "spec.catchUpWindow", catchup_read },  { "spec.deadline", deadline_read }, { "spec.service", service_read },
    { "spec.method", method_read },          { "spec.path", path_read },         { "spec.headers", headers_read },
    { "spec.body", body_read },
};

int periodic_read(const json_t *spec, struct periodic *ret, const char **ret_field, struct err *e)
{
    struct periodic p = { .suspend = json_is_true(json_at(spec, "suspend")) };
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        int r = fields[i].read(spec, &p, e);
        if (r < 0) {
            *ret_field = fields[i].field;
            return r;
        }
    }
    *ret = p;
    return 0;
}

void periodic_check(const json_t *object, struct refusals *refused)
{
    struct periodic p;
    const char *field = "";
    struct err e;
    if (periodic_read(json_at(object, "spec"), &p, &field, &e) < 0)
        refusals_add(refused, field, NULL, "%s: Invalid value: %s", field, e.text);
}
