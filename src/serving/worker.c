#include "serving/worker.h"

#include "serving/annotations.h"
#include "serving/containers.h"

bool worker_bound(const json_t *annotations, struct worker_binding *ret)
{
    const char *queue = annotation_text(annotations, ANNOTATION_TASK_QUEUE);
    const char *ns = annotation_text(annotations, ANNOTATION_TASK_QUEUE_NAMESPACE);
    *ret = (struct worker_binding){ queue, ns ? ns : "default" };
    return queue != NULL;
}

static const json_t *serving_of(const json_t *pod)
{
    size_t index;
    return containers_serving(pod, &index);
}

bool worker_ready_on_poll(const json_t *annotations, const json_t *pod)
{
    struct worker_binding b;
    const json_t *container = serving_of(pod);
    return worker_bound(annotations, &b) && !json_object_get(container, "readinessProbe") &&
           json_array_size(json_object_get(container, "ports")) == 0;
}

/* What a queue is called goes into log lines and columns. */
static void name_check(const char *name, enum annotation a, size_t max, const char *at, struct refusals *refused)
{
    const char *key = annotation_key(a);
    size_t size = strlen(name);
    bool shown = true;
    for (size_t i = 0; i < size; i++)
        shown &= (unsigned char)name[i] >= ' ' && name[i] != 0x7f;
    struct refusal_path path = refusal_path("%s.metadata.annotations.%s", at, key);
    if (size == 0 || size > max)
        refusals_add(refused, path.text, NULL, "invalid value: a name has 1 to %zu bytes, this one %zu", max, size);
    else if (!shown)
        refusals_add(refused, path.text, NULL, "invalid value: a name has no control characters");
    else if (a == ANNOTATION_TASK_QUEUE && strncmp(name, "/_sys/", 6) == 0)
        refusals_add(refused, path.text, "Names that begin with /_sys/ are Temporal's own", "invalid value: %s", name);
}

static void port_check(const json_t *pod, const char *at, struct refusals *refused)
{
    const json_t *containers = json_object_get(pod, "containers");
    for (size_t i = 0; i < json_array_size(containers); i++)
        if (json_int_at(json_array_get(containers, i), "ports.0.containerPort", 0) == WORKER_PORT)
            refusals_add(refused, REFUSAL_AT("%s.spec.containers[%zu].ports.containerPort", at, i),
                         "hob serves Temporal's API there, on 127.0.0.1 of every instance that is bound to a task queue",
                         "invalid value: %d", WORKER_PORT);
}

void worker_check(const json_t *annotations, const json_t *pod, const char *at, struct refusals *refused)
{
    struct worker_binding b;
    const char *ns = annotation_text(annotations, ANNOTATION_TASK_QUEUE_NAMESPACE);
    const char *metric = annotation_text(annotations, ANNOTATION_METRIC);
    if (ns)
        name_check(ns, ANNOTATION_TASK_QUEUE_NAMESPACE, WORKER_NAMESPACE_BYTES, at, refused);
    if (!worker_bound(annotations, &b)) {
        if (ns)
            refusals_add(refused, REFUSAL_AT("%s.metadata.annotations.%s", at, annotation_key(ANNOTATION_TASK_QUEUE)), NULL,
                         "missing field(s)");
        return;
    }
    name_check(b.queue, ANNOTATION_TASK_QUEUE, WORKER_QUEUE_BYTES, at, refused);
    port_check(pod, at, refused);
    if (metric && strcmp(metric, "rps") == 0)
        refusals_add(refused, REFUSAL_AT("%s.metadata.annotations.%s", at, annotation_key(ANNOTATION_METRIC)),
                     "What is bound to a task queue is scaled on tasks at once: concurrency", "invalid value: %s", metric);
}
