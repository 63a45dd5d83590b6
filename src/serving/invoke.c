#include "serving/invoke.h"
#include "serving/annotations.h"

bool invoke_methods_parse(struct str text, uint32_t *ret)
{
    struct str method;
    uint32_t methods = 0;
    if (str_is(text, "true") || str_is(text, "false")) {
        *ret = str_is(text, "true") ? UINT32_MAX : 0;
        return true;
    }
    while (http_list_next(&text, &method)) {
        enum http_method m = http_method_find(method);
        if (m == HTTP_METHOD_OTHER || m == HTTP_CONNECT)
            return false;
        methods |= UINT32_C(1) << m;
    }
    if (methods == 0)
        return false;
    *ret = methods;
    return true;
}

bool invoke_is_safe(const struct invoke_policy *p, enum http_method m) { return (p->safe_methods >> m & 1) != 0; }

void invoke_read(const json_t *annotations, struct invoke_policy *ret)
{
    const char *safe = annotation_text(annotations, ANNOTATION_IDEMPOTENT);
    const char *events = annotation_text(annotations, ANNOTATION_DURABLE_EVENTS);
    *ret = (struct invoke_policy){
        .durable_events = events && strcmp(events, "true") == 0,
        .attempts_max = (uint32_t)annotation_number(annotations, ANNOTATION_ATTEMPTS_MAX),
        .backoff_ms = (uint32_t)(annotation_ns(annotations, ANNOTATION_BACKOFF) / 1000000),
        .backoff_max_ms = (uint32_t)(annotation_ns(annotations, ANNOTATION_BACKOFF_MAX) / 1000000),
        .retention_ms = (uint64_t)(annotation_ns(annotations, ANNOTATION_RESULT_RETENTION) / 1000000),
    };
    ret->backoff_max_ms = MAX(ret->backoff_max_ms, ret->backoff_ms);
    if (safe && !invoke_methods_parse(str_of(safe), &ret->safe_methods))
        ret->safe_methods = 0; /* of an older hob, unchecked: nothing is repeated */
}
