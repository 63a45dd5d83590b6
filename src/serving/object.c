#include "serving/object.h"

#include "serving/service.h"
#include "serving/status.h"

#include <stdio.h>

static json_t *child(json_t *object, const char *key)
{
    json_t *at = json_object_get(object, key);
    if (at)
        return at;
    (void)json_object_set_new(object, key, json_object());
    return json_object_get(object, key);
}

static void annotate(json_t *metadata, const char *key, const char *value)
{
    (void)json_object_set_new(child(metadata, "annotations"), key, json_string(value));
}

void object_stamp_new(json_t *service, const struct object_stamp *stamp)
{
    json_t *metadata = child(service, "metadata");
    char now[STATUS_TIME];
    status_time(stamp->now_ms, now);
    (void)json_object_set_new(metadata, "uid", json_string(stamp->uid));
    (void)json_object_set_new(metadata, "creationTimestamp", json_string(now));
    (void)json_object_set_new(metadata, "generation", json_integer(1));
    annotate(metadata, ANNOTATION_CREATOR, stamp->user);
    annotate(metadata, ANNOTATION_MODIFIER, stamp->user);
}

void object_stamp_changed(json_t *service, const json_t *before, const struct object_stamp *stamp)
{
    static const char *const carried[] = { "uid", "creationTimestamp", "generation", "generateName" };
    json_t *metadata = child(service, "metadata");
    const char *creator = json_text_key(before, "metadata.annotations", ANNOTATION_CREATOR);
    const char *modifier = json_text_key(before, "metadata.annotations", ANNOTATION_MODIFIER);
    bool changed = !json_equal(json_object_get(before, "spec"), json_object_get(service, "spec"));
    for (size_t i = 0; i < COUNT_OF(carried); i++) {
        json_t *value = json_object_get(json_object_get(before, "metadata"), carried[i]);
        if (value)
            (void)json_object_set(metadata, carried[i], value);
    }
    if (changed)
        (void)json_object_set_new(metadata, "generation",
                                  json_integer(json_int_at(before, "metadata.generation", 0) + 1));
    if (creator)
        annotate(metadata, ANNOTATION_CREATOR, creator);
    if (changed)
        annotate(metadata, ANNOTATION_MODIFIER, stamp->user);
    else if (modifier)
        annotate(metadata, ANNOTATION_MODIFIER, modifier);
}

void object_revision_name(const json_t *service, int64_t template_generation,
                          char into[OBJECT_NAME_MAX])
{
    const char *own = json_text_at(service, "spec.template.metadata.name");
    if (own)
        (void)snprintf(into, OBJECT_NAME_MAX, "%s", own);
    else
        (void)snprintf(into, OBJECT_NAME_MAX, "%.200s-%05lld", json_text_at(service, "metadata.name"),
                       (long long)template_generation);
}

static void copy_map(json_t *into, const json_t *from)
{
    if (json_is_object(from))
        (void)json_object_update_missing(into, (json_t *)(uintptr_t)from);
}

/* client-go's metav1.NewControllerRef. */
static json_t *owner_of(const char *kind, const char *name, const char *uid)
{
    return json_pack("[{s:s,s:b,s:b,s:s,s:s,s:s}]", "apiVersion", SERVING_API_VERSION,
                     "blockOwnerDeletion", 1, "controller", 1, "kind", kind, "name", name, "uid", uid);
}

static json_t *revision_metadata(const json_t *service, const char *name, int64_t generation,
                                 const char *configuration_uid, const struct object_stamp *stamp)
{
    const char *owner = json_text_at(service, "metadata.name");
    const char *owner_uid = json_text_at(service, "metadata.uid");
    const char *creator = json_text_key(service, "metadata.annotations", ANNOTATION_CREATOR);
    char now[STATUS_TIME], number[24];
    status_time(stamp->now_ms, now);
    (void)snprintf(number, sizeof number, "%lld", (long long)generation);
    bool of_service = strcmp(owner_uid, configuration_uid) != 0; /* else it is the Configuration itself */
    json_t *labels = json_pack("{s:s,s:s,s:s,s:s,s:s*,s:s*}", SERVING_GROUP "/configuration", owner,
                               SERVING_GROUP "/configurationGeneration", number,
                               SERVING_GROUP "/configurationUID", configuration_uid,
                               SERVING_GROUP "/routingState", "pending", SERVING_GROUP "/service", of_service ? owner : NULL,
                               SERVING_GROUP "/serviceUID", of_service ? owner_uid : NULL);
    json_t *annotations = json_pack("{s:s,s:s}", ANNOTATION_CREATOR, creator ? creator : stamp->user,
                                    SERVING_GROUP "/routingStateModified", now);
    copy_map(labels, json_at(service, "spec.template.metadata.labels"));
    copy_map(annotations, json_at(service, "spec.template.metadata.annotations"));
    return json_pack("{s:o,s:s,s:i,s:o,s:s,s:s,s:o,s:s}", "annotations", annotations,
                     "creationTimestamp", now, "generation", 1, "labels", labels, "name", name,
                     "namespace", json_text_at(service, "metadata.namespace"), "ownerReferences",
                     owner_of("Configuration", owner, configuration_uid), "uid", stamp->uid);
}

json_t *object_revision(const json_t *service, const char *name, int64_t template_generation,
                        const char *configuration_uid, const struct object_stamp *stamp)
{
    json_t *revision = json_pack("{s:s,s:s,s:o}", "apiVersion", SERVING_API_VERSION, "kind", "Revision",
                                 "metadata",
                                 revision_metadata(service, name, template_generation,
                                                   configuration_uid, stamp));
    ASSERT(revision);
    (void)json_object_set_new(revision, "spec",
                              json_deep_copy(json_at(service, "spec.template.spec")));
    return revision;
}

/* ---- Configuration and Route ---- */

static json_t *part_metadata(const json_t *service, int64_t generation, const json_t *before,
                             const struct object_stamp *stamp)
{
    const char *name = json_text_at(service, "metadata.name");
    const char *uid = json_text_at(before, "metadata.uid");
    const char *since = json_text_at(before, "metadata.creationTimestamp");
    char now[STATUS_TIME];
    status_time(stamp->now_ms, now);
    json_t *annotations = json_object(), *labels = json_object();
    copy_map(annotations, json_at(service, "metadata.annotations"));
    copy_map(labels, json_at(service, "metadata.labels"));
    /* kubectl's note of what was applied is about the Service, not about this */
    (void)json_object_del(annotations, "kubectl.kubernetes.io/last-applied-configuration");
    (void)json_object_set_new(labels, SERVING_GROUP "/service", json_string(name));
    return json_pack("{s:o,s:s,s:I,s:o,s:s,s:s,s:o,s:s}", "annotations", annotations,
                     "creationTimestamp", since ? since : now, "generation", (json_int_t)generation,
                     "labels", labels, "name", name, "namespace",
                     json_text_at(service, "metadata.namespace"), "ownerReferences",
                     owner_of("Service", name, json_text_at(service, "metadata.uid")), "uid",
                     uid ? uid : stamp->uid);
}

static json_t *part(const char *kind, json_t *take_metadata, json_t *take_spec)
{
    json_t *object = json_pack("{s:s,s:s,s:o,s:o}", "apiVersion", SERVING_API_VERSION, "kind", kind,
                               "metadata", take_metadata, "spec", take_spec);
    ASSERT(object);
    return object;
}

json_t *object_configuration(const json_t *service, int64_t generation, const json_t *before,
                             const struct object_stamp *stamp)
{
    json_t *spec = json_pack("{s:o}", "template", json_deep_copy(json_at(service, "spec.template")));
    return part("Configuration", part_metadata(service, generation, before, stamp), spec);
}

json_t *object_route(const json_t *service, const json_t *before, const struct object_stamp *stamp)
{
    json_t *traffic = json_deep_copy(json_at(service, "spec.traffic"));
    for (size_t i = 0; i < json_array_size(traffic); i++) {
        json_t *target = json_array_get(traffic, i);
        if (!json_object_get(target, "revisionName"))
            (void)json_object_set(target, "configurationName", json_at(service, "metadata.name"));
    }
    json_t *spec = json_pack("{s:o}", "traffic", traffic);
    int64_t generation = json_int_at(before, "metadata.generation", 0);
    if (!before || !json_equal(spec, json_object_get(before, "spec")))
        generation++;
    return part("Route", part_metadata(service, generation, before, stamp), spec);
}

bool object_routing_set(json_t *revision, enum object_routing state, const char *senders, int64_t now_ms)
{
    static const char *const names[] = { "pending", "active", "reserve" };
    json_t *metadata = child(revision, "metadata"), *labels = child(metadata, "labels");
    const char *label = json_text_key(revision, "metadata.labels", SERVING_GROUP "/routingState");
    const char *routes = json_text_key(revision, "metadata.annotations", SERVING_GROUP "/routes");
    const char *want = state == OBJECT_ACTIVE ? senders : NULL;
    bool same_routes = (!routes && !want) || (routes && want && strcmp(routes, want) == 0);
    char now[STATUS_TIME];
    if (label && strcmp(label, names[state]) == 0 && same_routes)
        return false;
    status_time(now_ms, now);
    (void)json_object_set_new(labels, SERVING_GROUP "/routingState", json_string(names[state]));
    annotate(metadata, SERVING_GROUP "/routingStateModified", now);
    if (want)
        annotate(metadata, SERVING_GROUP "/routes", want);
    else
        (void)json_object_del(child(metadata, "annotations"), SERVING_GROUP "/routes");
    return true;
}

void object_version_set(json_t *object, int64_t version)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%lld", (long long)version);
    (void)json_object_set_new(child(object, "metadata"), "resourceVersion", json_string(text));
}
