#include "serving/pins.h"

#include "serving/containers.h"

#include <string.h>

#define OF_CONTAINER "container/"

char *pins_image_key(const char *container) { return xasprintf(OF_CONTAINER "%s", container ? container : ""); }

static json_t *one_of(const char *name, const char *digest)
{
    return json_pack("{s:s,s:s}", "imageDigest", digest, "name", name);
}

struct lists {
    const char *image_digest;
    const json_t *pins;
    json_t *containers, *inits;
};

static void container_write(void *ctx, const json_t *container, enum container_part part, const char *at)
{
    struct lists *l = ctx;
    const char *name = json_text_at(container, "name"), *digest = l->image_digest;
    (void)at;
    if (part != CONTAINER_SERVES) {
        AUTO_FREE char *key = pins_image_key(name);
        digest = json_string_value(json_object_get(l->pins, key));
    }
    if (digest && *digest)
        (void)json_array_append_new(part == CONTAINER_INIT ? l->inits : l->containers, one_of(name ? name : "", digest));
}

static void put_some(json_t *status, const char *key, json_t *take_list)
{
    if (json_array_size(take_list) > 0)
        (void)json_object_set(status, key, take_list);
    json_decref(take_list);
}

void pins_write(json_t *status, const json_t *pod, const char *image_digest, const json_t *pins)
{
    struct lists l = { image_digest, pins, json_array(), json_array() };
    json_t *models = json_array(), *digest;
    const char *volume;
    containers_each(pod, container_write, &l);
    json_object_foreach((json_t *)(uintptr_t)pins, volume, digest)
        if (strncmp(volume, OF_CONTAINER, strlen(OF_CONTAINER)) != 0)
            (void)json_array_append_new(models, one_of(volume, json_string_value(digest)));
    put_some(status, "containerStatuses", l.containers);
    put_some(status, "initContainerStatuses", l.inits);
    put_some(status, "modelStatuses", models);
}

const char *pins_image(const json_t *status, const json_t *pod)
{
    size_t serving;
    const json_t *list = json_object_get(status, "containerStatuses");
    const char *own = json_text_at(containers_serving(pod, &serving), "name");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_text_at(json_array_get(list, i), "name");
        if (strcmp(name ? name : "", own ? own : "") == 0)
            return json_text_at(json_array_get(list, i), "imageDigest");
    }
    return NULL;
}

static void list_read(const json_t *list, const char *but, bool images, json_t *pins)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_text_at(json_array_get(list, i), "name");
        const char *digest = json_text_at(json_array_get(list, i), "imageDigest");
        if (!name || !digest || (but && strcmp(name, but) == 0))
            continue;
        AUTO_FREE char *key = images ? pins_image_key(name) : xstrdup(name);
        (void)json_object_set_new(pins, key, json_string(digest));
    }
}

json_t *pins_read(const json_t *status, const json_t *pod)
{
    size_t serving;
    const char *own = json_text_at(containers_serving(pod, &serving), "name");
    json_t *pins = json_object();
    list_read(json_object_get(status, "containerStatuses"), own ? own : "", true, pins);
    list_read(json_object_get(status, "initContainerStatuses"), NULL, true, pins);
    list_read(json_object_get(status, "modelStatuses"), NULL, false, pins);
    if (json_object_size(pins) > 0)
        return pins;
    json_decref(pins);
    return NULL;
}
