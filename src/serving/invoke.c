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

static bool is_true(const json_t *annotations, enum annotation a)
{
    const char *text = annotation_text(annotations, a);
    return text && strcmp(text, "true") == 0;
}

void invoke_check(const json_t *annotations, const json_t *pod, const char *at, struct refusals *refused)
{
    const json_t *containers = json_object_get(pod, "containers");
    if (!is_true(annotations, ANNOTATION_CHECKPOINTS))
        return;
    if (annotation_text(annotations, ANNOTATION_TASK_QUEUE))
        refusals_add(refused, REFUSAL_AT("%s.metadata.annotations.%s", at, annotation_key(ANNOTATION_CHECKPOINTS)),
                     "What is bound to a task queue has Temporal's heartbeats for that", "invalid value: true");
    for (size_t i = 0; i < json_array_size(containers); i++)
        if (json_int_at(json_array_get(containers, i), "ports.0.containerPort", 0) == INVOKE_PORT)
            refusals_add(refused, REFUSAL_AT("%s.spec.containers[%zu].ports.containerPort", at, i),
                         "hob serves checkpoints there, on 127.0.0.1 of every instance whose template says hob.dev/checkpoints",
                         "invalid value: %d", INVOKE_PORT);
}

void invoke_read(const json_t *annotations, struct invoke_policy *ret)
{
    const char *safe = annotation_text(annotations, ANNOTATION_IDEMPOTENT);
    *ret = (struct invoke_policy){
        .durable_events = is_true(annotations, ANNOTATION_DURABLE_EVENTS),
        .checkpoints = is_true(annotations, ANNOTATION_CHECKPOINTS),
        .attempts_max = (uint32_t)annotation_number(annotations, ANNOTATION_ATTEMPTS_MAX),
        .backoff_ms = (uint32_t)(annotation_ns(annotations, ANNOTATION_BACKOFF) / 1000000),
        .backoff_max_ms = (uint32_t)(annotation_ns(annotations, ANNOTATION_BACKOFF_MAX) / 1000000),
        .retention_ms = (uint64_t)(annotation_ns(annotations, ANNOTATION_RESULT_RETENTION) / 1000000),
    };
    ret->backoff_max_ms = MAX(ret->backoff_max_ms, ret->backoff_ms);
    if (safe && !invoke_methods_parse(str_of(safe), &ret->safe_methods))
        ret->safe_methods = 0; /* of an older hob, unchecked: nothing is repeated */
}
