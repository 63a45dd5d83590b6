#include "serving/hints.h"

#include "serving/annotations.h"
#include "serving/containers.h"
#include "serving/pod.h"

#include <stdio.h>
#include <strings.h>

static bool holds(const char *text, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcasestr(text, words[i]))
            return true;
    return false;
}

static bool remote_store(const char *value)
{
    static const char *const schemes[] = { "s3://", "gs://", "hf://", "abfs://", "oci://" };
    for (size_t i = 0; i < COUNT_OF(schemes); i++)
        if (str_starts(str_of(value), str_of(schemes[i])))
            return true;
    return false;
}

static bool has_model_volume(const json_t *pod)
{
    const json_t *volumes = json_object_get(pod, "volumes");
    for (size_t i = 0; i < json_array_size(volumes); i++)
        if (json_object_get(json_array_get(volumes, i), "image"))
            return true;
    return false;
}

/* A variable that names a model somewhere else: the function fetches it itself, at every cold start. */
static void download_check(const char *name, const char *value, const char *at, size_t index, const json_t *pod,
                           struct refusals *warnings)
{
    static const char *const hubs[] = { "HF_MODEL", "HUGGINGFACE_MODEL", "MODEL_URI", "MODEL_URL",
                                        "MODEL_REPO", "STORAGE_URI" };
    static const char *const models[] = { "MODEL", "WEIGHTS", "CHECKPOINT" };
    bool remote = remote_store(value) || str_starts(str_of(value), STR("http://")) ||
                  str_starts(str_of(value), STR("https://"));
    bool hub = holds(name, hubs, COUNT_OF(hubs)) && strchr(value, '/') && value[0] != '/' &&
               !str_starts(str_of(value), STR("file:"));
    if (has_model_volume(pod) || !(hub || (remote && holds(name, models, COUNT_OF(models)))))
        return;
    refusals_add(warnings, REFUSAL_AT("%s.env[%zu]", at, index), NULL,
                 "%.64s looks like a model that every instance downloads for itself; mount it as a "
                 "volume with image.reference, and the node fetches and verifies it once",
                 name);
}

/* A variable that points at a model service, and nothing that bounds how many calls it gets at once. */
static void swamp_check(const char *name, const char *at, size_t index, uint64_t most, struct refusals *warnings)
{
    static const char *const services[] = { "OPENAI_BASE_URL", "OPENAI_API_BASE", "ANTHROPIC_BASE_URL",
                                            "OLLAMA_HOST",     "VLLM_",           "LLM_URL",
                                            "LLM_BASE_URL",    "LLM_ENDPOINT",    "INFERENCE_URL",
                                            "TRITON_" };
    char count[32] = "any number of";
    if (!holds(name, services, COUNT_OF(services)))
        return;
    if (most > 0)
        (void)snprintf(count, sizeof count, "up to %llu", (unsigned long long)most);
    refusals_add(warnings, REFUSAL_AT("%s.env[%zu]", at, index), NULL,
                 "%.64s points at one model service, and %s requests may reach it at once; set "
                 "containerConcurrency and " AUTOSCALING_GROUP "/max-scale so that their product is what it "
                 "can serve",
                 name, count);
}

static void state_check(const json_t *pod, const char *mount_path, const char *volume_name,
                        const char *at, size_t index, bool to_zero, struct refusals *warnings)
{
    static const char *const words[] = { "state", "checkpoint", "session", "memory", "sqlite",
                                         "database", "journal" };
    const json_t *volumes = json_object_get(pod, "volumes");
    for (size_t i = 0; i < json_array_size(volumes); i++) {
        const json_t *volume = json_array_get(volumes, i);
        const char *name = json_text_at(volume, "name");
        if (!name || strcmp(name, volume_name) != 0 || !json_object_get(volume, "emptyDir") ||
            !(holds(name, words, COUNT_OF(words)) || holds(mount_path, words, COUNT_OF(words))))
            continue;
        refusals_add(warnings, REFUSAL_AT("%s.volumeMounts[%zu]", at, index), NULL,
                     "\"%s\" is an emptyDir: what is in it is lost with its instance%s; keep state in a "
                     "store or a workflow",
                     name, to_zero ? ", and instances end when nobody calls" : "");
    }
}

/* Requests that may run at once; 0: no bound that the manifest gives. */
static uint64_t most_at_once(const json_t *pod, const json_t *annotations)
{
    int64_t concurrency = json_int_at(pod, "containerConcurrency", 0);
    double scale = annotation_number(annotations, ANNOTATION_MAX_SCALE);
    return concurrency > 0 && scale > 0 ? (uint64_t)concurrency * (uint64_t)scale : 0;
}

struct look {
    const json_t *pod;
    uint64_t most;
    bool to_zero;
    struct refusals *warnings;
};

static void container_look(void *ctx, const json_t *container, enum container_part part, const char *at)
{
    enum { SWAMPED = 1000 }; /* a bound beyond this protects nobody */
    const struct look *l = ctx;
    const json_t *env = json_object_get(container, "env");
    const json_t *mounts = json_object_get(container, "volumeMounts");
    (void)part;
    for (size_t i = 0; i < json_array_size(env); i++) {
        const char *name = json_text_at(json_array_get(env, i), "name");
        const char *value = json_text_at(json_array_get(env, i), "value");
        if (!name || !value)
            continue;
        download_check(name, value, at, i, l->pod, l->warnings);
        if (l->most == 0 || l->most > SWAMPED)
            swamp_check(name, at, i, l->most, l->warnings);
    }
    for (size_t i = 0; i < json_array_size(mounts); i++) {
        const char *name = json_text_at(json_array_get(mounts, i), "name");
        const char *path = json_text_at(json_array_get(mounts, i), "mountPath");
        if (name && path)
            state_check(l->pod, path, name, at, i, l->to_zero, l->warnings);
    }
}

void hints_check(const json_t *service, const struct limits *l, struct refusals *warnings)
{
    const json_t *pod = json_at(service, POD_PATH);
    const json_t *annotations = json_at(service, "spec.template.metadata.annotations");
    struct look look = { .pod = pod,
                         .most = most_at_once(pod, annotations),
                         .to_zero = annotation_number(annotations, ANNOTATION_MIN_SCALE) == 0,
                         .warnings = warnings };
    containers_each(pod, container_look, &look);
    if (annotation_number(annotations, ANNOTATION_MAX_SCALE) > (double)l->instances_max)
        refusals_add(warnings, "spec.template.metadata.annotations." AUTOSCALING_GROUP "/max-scale", NULL,
                     "this node runs at most %llu instances of everything together (limit instances_max)",
                     (unsigned long long)l->instances_max);
}
