#include "serving/fieldset.h"

#include "serving/manifest.h"

#include <stdio.h>
#include <stdlib.h>

enum { PATH_BYTES = 1024 };
struct path { /* in the table's form: "spec.template.spec.containers[].env" */
    char text[PATH_BYTES];
};

static struct path path_field(const struct path *from, const char *key)
{
    struct path into;
    (void)snprintf(into.text, sizeof into.text, "%.800s%s%.200s", from->text, *from->text ? "." : "", key);
    return into;
}

static struct path path_element(const struct path *from)
{
    struct path into;
    (void)snprintf(into.text, sizeof into.text, "%.1000s[]", from->text);
    return into;
}

/* ---- elements of keyed lists ---- */

/* "k:{\"name\":\"a\"}", to be freed; NULL: a key is missing and has no default. keys: "containerPort,protocol=TCP" */
static char *element_name(const char *keys, const json_t *element)
{
    struct str rest = str_of(keys);
    struct buf b;
    AUTO_JSON json_t *object = json_object();
    while (rest.size > 0) {
        struct str otherwise = str_cut(&rest, ',');
        struct str key = str_cut(&otherwise, '=');
        json_t *value = json_object_getn(element, key.at, key.size);
        if (value)
            (void)json_object_setn(object, key.at, key.size, value);
        else if (otherwise.size > 0)
            (void)json_object_setn_new(object, key.at, key.size, json_stringn(otherwise.at, otherwise.size));
        else
            return NULL;
    }
    buf_init(&b, 1 << 16);
    buf_text(&b, "k:");
    json_write(object, &b);
    return buf_take_text(&b);
}

static json_t *element_find(const json_t *list, const char *keys, const char *name, size_t *ret_index)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        AUTO_FREE char *other = element_name(keys, json_array_get(list, i));
        if (other && strcmp(other, name) == 0) {
            *ret_index = i;
            return json_array_get(list, i);
        }
    }
    return NULL;
}

/* The keys of a list whose elements can all be told apart; else NULL, and it is one value. */
static const char *keys_of(const struct path *at, const json_t *list)
{
    const char *keys = json_is_array(list) ? manifest_list_keys(at->text) : NULL;
    for (size_t i = 0; keys && i < json_array_size(list); i++) {
        AUTO_FREE char *name = element_name(keys, json_array_get(list, i));
        size_t first = i;
        if (!json_is_object(json_array_get(list, i)) || !name ||
            (element_find(list, keys, name, &first) && first != i))
            return NULL;
    }
    return keys;
}

/* ---- sets ---- */

static bool is_in(const json_t *node) { return node && (json_object_size(node) == 0 || json_object_get(node, ".")); }

/* A node from its parts; NULL: nothing is in it. */
static json_t *node_make(bool in, json_t *take_children)
{
    if (in && json_object_size(take_children) > 0)
        (void)json_object_set_new(take_children, ".", json_object());
    if (in || json_object_size(take_children) > 0)
        return take_children;
    json_decref(take_children);
    return NULL;
}

static void node_put(json_t *children, const char *key, json_t *take_node)
{
    if (take_node)
        (void)json_object_set_new(children, key, take_node);
}

static json_t *set_done(json_t *take_node) { return take_node ? take_node : json_object(); }

static json_t *join(const json_t *a, const json_t *b)
{
    const char *key;
    const json_t *value;
    if (!a || !b)
        return json_deep_copy(a ? a : b);
    json_t *children = json_object();
    json_object_foreach((json_t *)(uintptr_t)a, key, value)
        if (strcmp(key, ".") != 0)
            node_put(children, key, join(value, json_object_get(b, key)));
    json_object_foreach((json_t *)(uintptr_t)b, key, value)
        if (strcmp(key, ".") != 0 && !json_object_get(a, key))
            node_put(children, key, json_deep_copy(value));
    return node_make(is_in(a) || is_in(b), children);
}

static json_t *minus(const json_t *a, const json_t *b)
{
    const char *key;
    const json_t *value;
    if (!b)
        return json_deep_copy(a);
    json_t *children = json_object();
    json_object_foreach((json_t *)(uintptr_t)a, key, value)
        if (strcmp(key, ".") != 0)
            node_put(children, key, minus(value, json_object_get(b, key)));
    return node_make(is_in(a) && !is_in(b), children);
}

static json_t *common(const json_t *a, const json_t *b)
{
    const char *key;
    const json_t *value;
    if (!a || !b)
        return NULL;
    json_t *children = json_object();
    json_object_foreach((json_t *)(uintptr_t)a, key, value)
        if (strcmp(key, ".") != 0)
            node_put(children, key, common(value, json_object_get(b, key)));
    return node_make(is_in(a) && is_in(b), children);
}

/* At the top, {} is nothing at all: the object itself is in no set. */
static json_t *top(json_t *take_node)
{
    json_t *set = set_done(take_node);
    (void)json_object_del(set, ".");
    return set;
}

json_t *fieldset_union(const json_t *a, const json_t *b) { return top(join(a, b)); }
json_t *fieldset_minus(const json_t *a, const json_t *b) { return top(minus(a, fieldset_empty(b) ? NULL : b)); }
json_t *fieldset_common(const json_t *a, const json_t *b) { return top(common(a, b)); }
bool fieldset_empty(const json_t *set) { return json_object_size(set) == 0; }

/* ---- of objects ---- */

static json_t *leaves(const struct path *at, const json_t *value, bool element)
{
    const char *key, *keys = keys_of(at, value);
    const json_t *inner;
    json_t *children = json_object();
    json_object_foreach((json_t *)(uintptr_t)value, key, inner) {
        const struct path path = path_field(at, key);
        AUTO_FREE char *name = xasprintf("f:%s", key);
        node_put(children, name, leaves(&path, inner, false));
    }
    for (size_t i = 0; keys && i < json_array_size(value); i++) {
        const struct path path = path_element(at);
        AUTO_FREE char *name = element_name(keys, json_array_get(value, i));
        node_put(children, name, leaves(&path, json_array_get(value, i), true));
    }
    return node_make(element || json_object_size(children) == 0, children);
}

json_t *fieldset_of(const json_t *object)
{
    const struct path root = { "" };
    return top(json_object_size(object) ? leaves(&root, object, false) : NULL);
}


static json_t *compare(const struct path *at, const json_t *before, const json_t *after, json_t *removed,
                       bool element);

static void compare_member(const struct path *at, const char *name, const json_t *before, const json_t *after,
                           json_t *changed, json_t *removed, bool element)
{
    if (!after) {
        node_put(removed, name, leaves(at, before, element));
        return;
    }
    if (!before) {
        node_put(changed, name, leaves(at, after, element));
        return;
    }
    json_t *gone = json_object();
    node_put(changed, name, compare(at, before, after, gone, element));
    node_put(removed, name, node_make(false, gone));
}

/* Into `removed`: the children of this node that are gone. */
static json_t *compare(const struct path *at, const json_t *before, const json_t *after, json_t *removed,
                       bool element)
{
    const char *key, *keys = keys_of(at, after);
    const json_t *value;
    json_t *changed = json_object();
    size_t index;
    if (json_is_object(before) && json_is_object(after)) {
        json_object_foreach((json_t *)(uintptr_t)after, key, value) {
            const struct path path = path_field(at, key);
            AUTO_FREE char *name = xasprintf("f:%s", key);
            compare_member(&path, name, json_object_get(before, key), value, changed, removed, false);
        }
        json_object_foreach((json_t *)(uintptr_t)before, key, value) {
            const struct path path = path_field(at, key);
            AUTO_FREE char *name = xasprintf("f:%s", key);
            if (!json_object_get(after, key))
                compare_member(&path, name, value, NULL, changed, removed, false);
        }
        return node_make(false, changed);
    }
    if (!keys || !keys_of(at, before)) {
        bool same = json_equal(before, after);
        json_decref(changed);
        return same ? NULL : leaves(at, after, element);
    }
    const struct path path = path_element(at);
    for (size_t i = 0; i < json_array_size(after); i++) {
        AUTO_FREE char *name = element_name(keys, json_array_get(after, i));
        compare_member(&path, name, element_find(before, keys, name, &index), json_array_get(after, i), changed,
                       removed, true);
    }
    for (size_t i = 0; i < json_array_size(before); i++) {
        AUTO_FREE char *name = element_name(keys, json_array_get(before, i));
        if (!element_find(after, keys, name, &index))
            compare_member(&path, name, json_array_get(before, i), NULL, changed, removed, true);
    }
    return node_make(false, changed);
}

json_t *fieldset_changed(const json_t *before, const json_t *after, json_t **ret_removed)
{
    const struct path root = { "" };
    json_t *removed = json_object();
    json_t *changed = before ? compare(&root, before, after, removed, false) : leaves(&root, after, false);
    if (ret_removed)
        *ret_removed = removed;
    else
        json_decref(removed);
    return top(changed);
}

/* ---- changing objects ---- */

static json_t *merge(const struct path *at, const json_t *live, const json_t *config)
{
    const char *key, *keys = keys_of(at, config);
    json_t *value;
    size_t index;
    if (json_is_object(live) && json_is_object(config)) {
        json_t *object = json_copy((json_t *)(uintptr_t)live);
        json_object_foreach((json_t *)(uintptr_t)config, key, value) {
            const struct path path = path_field(at, key);
            (void)json_object_set_new(object, key, merge(&path, json_object_get(live, key), value));
        }
        return object;
    }
    if (!keys || !keys_of(at, live))
        return json_deep_copy(config);
    const struct path path = path_element(at);
    json_t *list = json_array();
    json_array_foreach((json_t *)(uintptr_t)live, index, value) {
        size_t other;
        AUTO_FREE char *name = element_name(keys, value);
        const json_t *over = element_find(config, keys, name, &other);
        (void)json_array_append_new(list, over ? merge(&path, value, over) : json_incref(value));
    }
    json_array_foreach((json_t *)(uintptr_t)config, index, value) {
        size_t other;
        AUTO_FREE char *name = element_name(keys, value);
        if (!element_find(live, keys, name, &other))
            (void)json_array_append_new(list, json_deep_copy(value));
    }
    return list;
}

json_t *fieldset_merge(const json_t *live, const json_t *config)
{
    const struct path root = { "" };
    AUTO_JSON json_t *merged = merge(&root, live, config);
    return json_deep_copy(merged);
}

static void remove_in(const struct path *at, json_t *value, const json_t *set)
{
    const char *key, *keys = keys_of(at, value);
    const json_t *inner;
    size_t index;
    json_object_foreach((json_t *)(uintptr_t)set, key, inner) {
        if (key[0] == 'f' && key[1] == ':') {
            json_t *child = json_object_get(value, key + 2);
            const struct path path = path_field(at, key + 2);
            if (child && json_object_size(inner) > 0)
                remove_in(&path, child, inner);
            if (child && (json_object_size(inner) == 0 || (is_in(inner) && json_object_size(child) == 0 && json_is_object(child))))
                (void)json_object_del(value, key + 2);
        } else if (key[0] == 'k' && keys) {
            json_t *child = element_find(value, keys, key, &index);
            const struct path path = path_element(at);
            if (child && is_in(inner))
                (void)json_array_remove(value, index);
            else if (child)
                remove_in(&path, child, inner);
        }
    }
}

void fieldset_remove(json_t *object, const json_t *set)
{
    const struct path root = { "" };
    remove_in(&root, object, set);
}

/* ---- for people ---- */

static void element_text(const char *name, struct buf *into)
{
    AUTO_JSON json_t *keys = json_loads(name + 2, 0, NULL);
    const char *key, *comma = "[";
    const json_t *value;
    json_object_foreach(keys, key, value) {
        buf_printf(into, "%s%s=", comma, key);
        struct buf text;
        buf_init(&text, 4096);
        if (json_is_string(value))
            buf_printf(&text, "\"%s\"", json_string_value(value));
        else if (json_is_integer(value))
            buf_printf(&text, "%lld", (long long)json_integer_value(value));
        buf_str_append(into, buf_str(&text));
        buf_done(&text);
        comma = ",";
    }
    buf_text(into, "]");
}

static void each(const json_t *node, const char *path, void (*on_path)(void *ctx, const char *path), void *ctx)
{
    const char *key;
    const json_t *inner;
    if (is_in(node) && *path)
        on_path(ctx, path);
    json_object_foreach((json_t *)(uintptr_t)node, key, inner) {
        struct buf b;
        if (strcmp(key, ".") == 0)
            continue;
        buf_init(&b, 1 << 16);
        buf_text(&b, path);
        if (key[0] == 'f')
            buf_printf(&b, ".%s", key + 2);
        else
            element_text(key, &b);
        AUTO_FREE char *longer = buf_take_text(&b);
        each(inner, longer, on_path, ctx);
    }
}

void fieldset_each(const json_t *set, void (*on_path)(void *ctx, const char *path), void *ctx)
{
    each(set, "", on_path, ctx);
}
