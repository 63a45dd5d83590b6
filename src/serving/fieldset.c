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

/* A list whose elements can all be told apart, each named once. */
struct elements {
    json_t *names; /* owned, array of text, in the list's order; NULL: the list is one value */
    json_t *named; /* owned, name to element */
};

static void elements_done(struct elements *l)
{
    json_decref(l->names);
    json_decref(l->named);
}

static struct elements elements_of(const struct path *at, const json_t *list)
{
    const char *keys = json_is_array(list) ? manifest_list_keys(at->text) : NULL;
    struct elements l = { 0 };
    if (!keys)
        return l;
    l = (struct elements){ json_array(), json_object() };
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *element = json_array_get(list, i);
        AUTO_FREE char *name = json_is_object(element) ? element_name(keys, element) : NULL;
        if (!name || json_object_get(l.named, name)) {
            elements_done(&l);
            return (struct elements){ 0 };
        }
        (void)json_array_append_new(l.names, json_string(name));
        (void)json_object_set(l.named, name, element);
    }
    return l;
}

static const char *element_at(const struct elements *l, size_t index, json_t **ret)
{
    const char *name = json_string_value(json_array_get(l->names, index));
    *ret = json_object_get(l->named, name);
    return name;
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
    const char *key;
    json_t *inner;
    json_t *children = json_object();
    struct elements list = elements_of(at, value);
    json_object_foreach((json_t *)(uintptr_t)value, key, inner) {
        const struct path path = path_field(at, key);
        AUTO_FREE char *name = xasprintf("f:%s", key);
        node_put(children, name, leaves(&path, inner, false));
    }
    for (size_t i = 0; i < json_array_size(list.names); i++) {
        const struct path path = path_element(at);
        const char *name = element_at(&list, i, &inner);
        node_put(children, name, leaves(&path, inner, true));
    }
    elements_done(&list);
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

static void compare_lists(const struct path *at, const struct elements *before, const struct elements *after,
                          json_t *changed, json_t *removed)
{
    const struct path path = path_element(at);
    json_t *element;
    for (size_t i = 0; i < json_array_size(after->names); i++) {
        const char *name = element_at(after, i, &element);
        compare_member(&path, name, json_object_get(before->named, name), element, changed, removed, true);
    }
    for (size_t i = 0; i < json_array_size(before->names); i++) {
        const char *name = element_at(before, i, &element);
        if (!json_object_get(after->named, name))
            compare_member(&path, name, element, NULL, changed, removed, true);
    }
}

static void compare_objects(const struct path *at, const json_t *before, const json_t *after, json_t *changed,
                            json_t *removed)
{
    const char *key;
    const json_t *value;
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
}

/* Into `removed`: the children of this node that are gone. */
static json_t *compare(const struct path *at, const json_t *before, const json_t *after, json_t *removed,
                       bool element)
{
    json_t *changed = json_object();
    if (json_is_object(before) && json_is_object(after)) {
        compare_objects(at, before, after, changed, removed);
        return node_make(false, changed);
    }
    struct elements old = elements_of(at, before), new = elements_of(at, after);
    bool keyed = old.names && new.names;
    if (keyed)
        compare_lists(at, &old, &new, changed, removed);
    elements_done(&old);
    elements_done(&new);
    if (keyed)
        return node_make(false, changed);
    json_decref(changed);
    return json_equal(before, after) ? NULL : leaves(at, after, element);
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

static json_t *merge(const struct path *at, const json_t *live, const json_t *config);

/* The live elements in their order, then the new ones. */
static json_t *merge_lists(const struct path *at, const struct elements *live, const struct elements *config)
{
    const struct path path = path_element(at);
    json_t *list = json_array(), *element;
    for (size_t i = 0; i < json_array_size(live->names); i++) {
        const char *name = element_at(live, i, &element);
        const json_t *over = json_object_get(config->named, name);
        (void)json_array_append_new(list, over ? merge(&path, element, over) : json_incref(element));
    }
    for (size_t i = 0; i < json_array_size(config->names); i++) {
        const char *name = element_at(config, i, &element);
        if (!json_object_get(live->named, name))
            (void)json_array_append_new(list, json_deep_copy(element));
    }
    return list;
}

static json_t *merge(const struct path *at, const json_t *live, const json_t *config)
{
    const char *key;
    json_t *value;
    if (json_is_object(live) && json_is_object(config)) {
        json_t *object = json_copy((json_t *)(uintptr_t)live);
        json_object_foreach((json_t *)(uintptr_t)config, key, value) {
            const struct path path = path_field(at, key);
            (void)json_object_set_new(object, key, merge(&path, json_object_get(live, key), value));
        }
        return object;
    }
    struct elements old = elements_of(at, live), new = elements_of(at, config);
    json_t *made = old.names && new.names ? merge_lists(at, &old, &new) : json_deep_copy(config);
    elements_done(&old);
    elements_done(&new);
    return made;
}

json_t *fieldset_merge(const json_t *live, const json_t *config)
{
    const struct path root = { "" };
    AUTO_JSON json_t *merged = merge(&root, live, config);
    return json_deep_copy(merged);
}

static void remove_in(const struct path *at, json_t *value, const json_t *set);

static void remove_field(const struct path *at, json_t *object, const char *key, const json_t *inner)
{
    json_t *child = json_object_get(object, key);
    const struct path path = path_field(at, key);
    if (child && json_object_size(inner) > 0)
        remove_in(&path, child, inner);
    if (child && (json_object_size(inner) == 0 ||
                  (is_in(inner) && json_object_size(child) == 0 && json_is_object(child))))
        (void)json_object_del(object, key);
}

/* From the end: what is behind an element then stays, and its place is the one it had. */
static void remove_elements(const struct path *at, json_t *array, const json_t *set)
{
    struct elements list = elements_of(at, array);
    const struct path path = path_element(at);
    for (size_t i = json_array_size(list.names); i-- > 0;) {
        json_t *element;
        const json_t *inner = json_object_get(set, element_at(&list, i, &element));
        if (inner && is_in(inner))
            (void)json_array_remove(array, i);
        else if (inner)
            remove_in(&path, element, inner);
    }
    elements_done(&list);
}

static void remove_in(const struct path *at, json_t *value, const json_t *set)
{
    const char *key;
    const json_t *inner;
    json_object_foreach((json_t *)(uintptr_t)set, key, inner)
        if (key[0] == 'f' && key[1] == ':')
            remove_field(at, value, key + 2, inner);
    remove_elements(at, value, set);
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
