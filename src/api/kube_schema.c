#include "api/kube_schema.h"

#include "serving/manifest.h"
#include "serving/registry_kinds.h"

#include <stdio.h>
#include <stdlib.h>

static json_t *object_schema(const struct manifest_table *t, const char *base);
static json_t *row_schema(const struct manifest_table *t, const struct manifest_row *row);

static json_t *typed(const char *type) { return json_pack("{s:s}", "type", type); }

static const struct manifest_row *row_of(const struct manifest_table *t, const char *path)
{
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->rows[i].path, path) == 0)
            return &t->rows[i];
    return NULL;
}

static void keys_add(json_t *schema, const char *keys)
{
    struct str rest = str_of(keys);
    json_t *list = json_array();
    while (rest.size > 0) {
        struct str key = str_cut(&rest, ',');
        key = str_cut(&key, '=');
        (void)json_array_append_new(list, json_stringn(key.at, key.size));
    }
    (void)json_object_set_new(schema, "x-kubernetes-list-map-keys", list);
    (void)json_object_set_new(schema, "x-kubernetes-list-type", json_string("map"));
}

static json_t *list_schema(const struct manifest_table *t, const struct manifest_row *row)
{
    AUTO_FREE char *path = xasprintf("%s[]", row->like ? row->like : row->path);
    const struct manifest_row *element = row_of(t, path);
    json_t *schema = json_pack("{s:s,s:o}", "type", "array", "items",
                               element ? row_schema(t, element) : typed("object"));
    if (row->keys)
        keys_add(schema, row->keys);
    return schema;
}

static json_t *kind_schema(const struct manifest_table *t, const struct manifest_row *row)
{
    switch (row->kind) {
    case MANIFEST_OBJECT: return object_schema(t, row->like ? row->like : row->path);
    case MANIFEST_LIST: return list_schema(t, row);
    case MANIFEST_TEXT: return typed("string");
    case MANIFEST_TEXTS: return json_pack("{s:s,s:{s:s}}", "type", "array", "items", "type", "string");
    case MANIFEST_TEXT_MAP:
        return json_pack("{s:s,s:{s:s}}", "type", "object", "additionalProperties", "type", "string");
    case MANIFEST_INT: return json_pack("{s:s,s:s}", "type", "integer", "format", "int64");
    case MANIFEST_BOOL: return typed("boolean");
    case MANIFEST_PORT:
    case MANIFEST_QUANTITY: return json_pack("{s:b}", "x-kubernetes-int-or-string", 1);
    case MANIFEST_QUANTITIES:
        return json_pack("{s:s,s:{s:b}}", "type", "object", "additionalProperties",
                         "x-kubernetes-int-or-string", 1);
    case MANIFEST_ANY: return json_pack("{s:b}", "x-kubernetes-preserve-unknown-fields", 1);
    }
    UNREACHABLE("every kind of field returns");
}

static json_t *row_schema(const struct manifest_table *t, const struct manifest_row *row)
{
    json_t *schema = kind_schema(t, row);
    /* What is refused is named, too: a client that checks fields itself would call it unknown. */
    const char *refused = row->rule == MANIFEST_NOT   ? "not to be set, as in Knative"
                          : row->rule == MANIFEST_OFF ? "not supported, and refused"
                                                      : NULL;
    if (refused || row->meaning)
        (void)json_object_set_new(schema, "description", json_string(refused ? refused : row->meaning));
    if (row->min || row->max) {
        (void)json_object_set_new(schema, "minimum", json_integer(row->min));
        (void)json_object_set_new(schema, "maximum", json_integer(row->max));
    }
    if (row->initial)
        (void)json_object_set_new(schema, "default", json_loads(row->initial, JSON_DECODE_ANY, NULL));
    return schema;
}

/* Of the fields directly below `base`; as deep as the table. */
static json_t *object_schema(const struct manifest_table *t, const char *base)
{
    size_t size = strlen(base);
    json_t *properties = json_object();
    for (size_t i = 0; i < t->count; i++) {
        const struct manifest_row *row = &t->rows[i];
        const char *rest = row->path + size;
        if (strncmp(row->path, base, size) != 0 || (size > 0 && *rest != '.'))
            continue;
        rest += size > 0;
        if (!*rest || strpbrk(rest, ".["))
            continue;
        (void)json_object_set_new(properties, rest, row_schema(t, row));
    }
    return json_pack("{s:s,s:o}", "type", "object", "properties", properties);
}

/* Kinds that hob makes from a Service have a part of its fields as their spec. */
static json_t *part_schema(const struct manifest_table *t, const char *path, const char *as)
{
    json_t *whole = object_schema(t, "");
    const struct manifest_row *row = row_of(t, path);
    json_t *spec = row ? row_schema(t, row) : typed("object");
    if (as)
        spec = json_pack("{s:s,s:{s:o}}", "type", "object", "properties", as, spec);
    (void)json_object_set_new(json_object_get(whole, "properties"), "spec", spec);
    return whole;
}

char *kube_schema_name(const struct kube_resource *r)
{
    if (!*r->group)
        return xasprintf("io.k8s.api.core.%s.%s", r->version, r->name);
    return strcmp(r->group, SERVING_GROUP) == 0 ? xasprintf("dev.knative.serving.%s.%s", r->version, r->name)
                                                : xasprintf("dev.knative.internal.networking.%s.%s", r->version, r->name);
}

json_t *kube_schema(const struct kube_resource *r)
{
    const struct manifest_table service = { manifest_rows, manifest_row_count };
    json_t *schema = NULL;
    if (r->source == KUBE_FROM_REGISTRY)
        schema = object_schema(&registry_kind_rows[r->kind].table, "");
    else if (r->source == KUBE_FROM_VIEW)
        schema = part_schema(&registry_kind_rows[REGISTRY_CONFIGMAPS].table, "spec", NULL);
    else if (r->kind == CATALOG_REVISIONS)
        schema = part_schema(&service, "spec.template.spec", NULL);
    else if (r->kind == CATALOG_CONFIGURATIONS)
        schema = part_schema(&service, "spec.template", "template");
    else if (r->kind == CATALOG_ROUTES)
        schema = part_schema(&service, "spec.traffic", "traffic");
    else
        schema = object_schema(&service, "");
    (void)json_object_set_new(schema, "description", json_string(r->name));
    (void)json_object_set_new(schema, "x-kubernetes-group-version-kind",
                              json_pack("[{s:s,s:s,s:s}]", "group", r->group, "version", r->version, "kind",
                                        r->name));
    return schema;
}
