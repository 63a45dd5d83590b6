#include "api/kube_table.h"

#include "serving/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

bool kube_include_parse(struct str text, enum kube_include *ret)
{
    if (text.size == 0 || str_is(text, "Metadata"))
        *ret = KUBE_INCLUDE_METADATA;
    else if (str_is(text, "Object"))
        *ret = KUBE_INCLUDE_OBJECT;
    else if (str_is(text, "None"))
        *ret = KUBE_INCLUDE_NONE;
    else
        return false;
    return true;
}

static json_t *ready_condition(const json_t *object)
{
    json_t *list = json_at(object, "status.conditions");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *type = json_text_at(json_array_get(list, i), "type");
        if (type && strcmp(type, "Ready") == 0)
            return json_array_get(list, i);
    }
    return NULL;
}

/* Rounded as kubectl rounds: the longer ago, the coarser. */
static json_t *age_cell(const char *then, int64_t now_ms)
{
    struct tm tm = { 0 };
    char text[48];
    if (!then || !strptime(then, "%Y-%m-%dT%H:%M:%S", &tm))
        return json_string("<unknown>");
    int64_t s = MAX(0, now_ms / 1000 - (int64_t)timegm(&tm));
    int64_t m = s / 60, h = m / 60, d = h / 24;
    if (s < 120)
        (void)snprintf(text, sizeof text, "%llds", (long long)s);
    else if (m < 10 && s % 60)
        (void)snprintf(text, sizeof text, "%lldm%llds", (long long)m, (long long)(s % 60));
    else if (h < 3)
        (void)snprintf(text, sizeof text, "%lldm", (long long)m);
    else if (h < 8 && m % 60)
        (void)snprintf(text, sizeof text, "%lldh%lldm", (long long)h, (long long)(m % 60));
    else if (h < 48)
        (void)snprintf(text, sizeof text, "%lldh", (long long)h);
    else if (d < 8 && h % 24)
        (void)snprintf(text, sizeof text, "%lldd%lldh", (long long)d, (long long)(h % 24));
    else if (d < 365 * 2)
        (void)snprintf(text, sizeof text, "%lldd", (long long)d);
    else
        (void)snprintf(text, sizeof text, "%lldy%lldd", (long long)(d / 365), (long long)(d % 365));
    return json_string(text);
}

static json_t *text_cell(const char *path, const json_t *object)
{
    const char *slash = strchr(path, '/');
    json_t *value = json_at(object, path);
    if (slash) {
        AUTO_FREE char *parent = xstrndup(path, (size_t)(slash - path));
        value = json_object_get(json_at(object, parent), slash + 1);
    }
    return value ? json_incref(value) : json_string("");
}

static json_t *kind_cell(const json_t *reference)
{
    const char *kind = json_text_at(reference, "kind"), *name = json_text_at(reference, "name");
    AUTO_FREE char *text = xasprintf("%s/%s", kind ? kind : "", name ? name : "");
    for (char *at = text; *at && *at != '/'; at++)
        *at = (char)(*at >= 'A' && *at <= 'Z' ? *at + 'a' - 'A' : *at);
    return json_string(text);
}

static json_t *ports_cell(const json_t *ports)
{
    struct buf b;
    buf_init(&b, 4096);
    for (size_t i = 0; i < json_array_size(ports); i++)
        buf_printf(&b, "%s%lld/TCP", i ? "," : "",
                   (long long)json_int_at(json_array_get(ports, i), "port", 0));
    AUTO_FREE char *text = buf_take_text(&b);
    return json_string(*text ? text : "<none>");
}

static json_t *cell(const struct kube_column *column, const json_t *object, int64_t now_ms)
{
    json_t *value;
    switch (column->cell) {
    case KUBE_CELL_TEXT: return text_cell(column->path, object);
    case KUBE_CELL_READY:
        value = json_object_get(ready_condition(object), column->path);
        return value ? json_incref(value) : json_string("");
    case KUBE_CELL_AGE: return age_cell(json_text_at(object, column->path), now_ms);
    case KUBE_CELL_COUNT: return json_integer((json_int_t)json_object_size(json_at(object, column->path)));
    case KUBE_CELL_KIND: return kind_cell(json_at(object, column->path));
    case KUBE_CELL_PORTS: return ports_cell(json_at(object, column->path));
    }
    UNREACHABLE("every kind of cell returns");
}

json_t *kube_partial(const json_t *object)
{
    return json_pack("{s:s,s:s,s:O}", "kind", "PartialObjectMetadata", "apiVersion", "meta.k8s.io/v1", "metadata",
                     json_object_get(object, "metadata"));
}

static json_t *row_make(const struct kube_resource *r, const json_t *object, enum kube_include include,
                        int64_t now_ms)
{
    json_t *cells = json_array();
    for (uint32_t i = 0; i < r->column_count; i++)
        (void)json_array_append_new(cells, cell(&r->columns[i], object, now_ms));
    if (include == KUBE_INCLUDE_NONE)
        return json_pack("{s:o}", "cells", cells);
    if (include == KUBE_INCLUDE_OBJECT)
        return json_pack("{s:o,s:O}", "cells", cells, "object", object);
    return json_pack("{s:o,s:o}", "cells", cells, "object", kube_partial(object));
}

json_t *kube_table(const struct kube_resource *r, const json_t *objects, const char *version, const char *next,
                   enum kube_include include, int64_t now_ms)
{
    AUTO_JSON json_t *heads = json_array();
    AUTO_JSON json_t *rows = json_array();
    for (uint32_t i = 0; i < r->column_count; i++) {
        const struct kube_column *column = &r->columns[i];
        (void)json_array_append_new(heads, json_pack("{s:s,s:s,s:s,s:s,s:i}", "name", column->name, "type",
                                                     column->type, "format", column->format, "description",
                                                     "", "priority", column->priority));
    }
    for (size_t i = 0; i < json_array_size(objects); i++)
        (void)json_array_append_new(rows, row_make(r, json_array_get(objects, i), include, now_ms));
    json_t *table = json_pack("{s:s,s:s,s:{s:s,s:s},s:O,s:O}", "kind", "Table", "apiVersion",
                              "meta.k8s.io/v1", "metadata", "resourceVersion", version, "continue", next,
                              "columnDefinitions", heads, "rows", rows);
    ASSERT(table);
    return table;
}
