#include "serving/catalog_impl.h"

#include "codec/digest.h"

#include <stdlib.h>

static void add(struct rev *v, const char *digest)
{
    struct catalog *c = v->catalog;
    struct digest d;
    struct err ignored;
    if (!digest || digest_parse(str_of(digest), &d, &ignored) < 0)
        return;
    for (uint32_t i = 0; i < v->need_count; i++)
        if (digest_eq(&v->needs[i], &d))
            return;
    v->needs = xrealloc(v->needs, v->need_count + 1, sizeof *v->needs);
    v->needs[v->need_count++] = d;
    c->observer->on_needed(c->ctx, digest, true);
}

static void add_pinned(struct rev *v, const char *reference)
{
    char text[DIGEST_TEXT];
    struct digest pin;
    struct str base;
    struct err ignored;
    if (!reference || digest_cut(str_of(reference), &base, &pin, &ignored) != 1)
        return;
    digest_format(&pin, text);
    add(v, text);
}

void catalog_needs_resolved(struct rev *v)
{
    const char *key;
    json_t *digest;
    add(v, v->facts.digest);
    json_object_foreach(v->facts.pins, key, digest)
        add(v, json_string_value(digest));
}

static void add_image(void *ctx, const json_t *container, enum container_part part, const char *at)
{
    (void)part;
    (void)at;
    add_pinned(ctx, json_text_at(container, "image"));
}

void catalog_needs(struct rev *v, const json_t *object)
{
    const json_t *volumes = json_at(object, "spec.volumes");
    containers_each(json_object_get(object, "spec"), add_image, v);
    for (size_t i = 0; i < json_array_size(volumes); i++)
        add_pinned(v, json_text_at(json_array_get(volumes, i), "image.reference"));
    catalog_needs_resolved(v);
}

void catalog_needs_end(struct rev *v)
{
    char text[DIGEST_TEXT];
    while (v->need_count > 0) {
        digest_format(&v->needs[--v->need_count], text);
        v->catalog->observer->on_needed(v->catalog->ctx, text, false);
    }
    free(TAKE(v->needs));
}
