#include "serving/managed.h"

#include "serving/fieldset.h"
#include "serving/status.h"

#include <stdio.h>
#include <stdlib.h>

#define ANCIENT "ancient-changes"

static bool text_is(const json_t *j, const char *key, const char *want)
{
    const char *text = json_text_at(j, key);
    return text && strcmp(text, want) == 0;
}

/* Nobody owns what only the server says, or what names the object. */
static json_t *without_server_fields(const json_t *object)
{
    static const char *const own[] = { "name", "namespace", "uid", "creationTimestamp", "generation",
                                       "resourceVersion", "managedFields", "selfLink", "deletionTimestamp",
                                       "deletionGracePeriodSeconds", "generateName" };
    json_t *copy = json_copy((json_t *)(uintptr_t)object);
    json_t *metadata = json_copy(json_object_get(object, "metadata"));
    for (size_t i = 0; i < COUNT_OF(own); i++)
        (void)json_object_del(metadata, own[i]);
    (void)json_object_del(copy, "apiVersion");
    (void)json_object_del(copy, "kind");
    (void)json_object_del(copy, "status");
    if (json_object_size(metadata) > 0)
        (void)json_object_set(copy, "metadata", metadata);
    else
        (void)json_object_del(copy, "metadata");
    json_decref(metadata);
    return copy;
}

static bool entry_is(const json_t *entry, const struct managed_change *c)
{
    return text_is(entry, "manager", c->manager) && text_is(entry, "operation", c->apply ? "Apply" : "Update");
}

static const json_t *entries_of(const json_t *before, const struct managed_change *c)
{
    return c->base ? c->base : json_at(before, "metadata.managedFields");
}

bool managed_valid(const json_t *fields)
{
    size_t i;
    json_t *entry;
    if (!json_is_array(fields))
        return false;
    json_array_foreach((json_t *)(uintptr_t)fields, i, entry)
        if (!json_text_at(entry, "manager") || !json_text_at(entry, "operation") ||
            !json_is_object(json_object_get(entry, "fieldsV1")))
            return false;
    return true;
}

/* ---- apply: what becomes of the object ---- */

json_t *managed_apply(const json_t *before, const struct managed_change *c)
{
    size_t i;
    json_t *entry;
    if (!before)
        return json_deep_copy(c->config);
    AUTO_JSON json_t *config = without_server_fields(c->config);
    AUTO_JSON json_t *lost = json_object();
    AUTO_JSON json_t *kept = fieldset_of(config);
    json_array_foreach((json_t *)(uintptr_t)entries_of(before, c), i, entry) {
        const json_t *set = json_object_get(entry, "fieldsV1");
        json_t **into = entry_is(entry, c) ? &lost : &kept;
        json_t *all = fieldset_union(*into, set);
        json_decref(*into);
        *into = all;
    }
    AUTO_JSON json_t *gone = fieldset_minus(lost, kept);
    json_t *merged = fieldset_merge(before, c->config);
    fieldset_remove(merged, gone);
    return merged;
}

/* ---- who owns what then ---- */

static json_t *entry_make(const struct managed_change *c, json_t *take_set)
{
    char now[STATUS_TIME];
    status_time(c->now_ms, now);
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:o}", "manager", c->manager, "operation",
                     c->apply ? "Apply" : "Update", "apiVersion", c->api_version, "time", now, "fieldsType",
                     "FieldsV1", "fieldsV1", take_set);
}

/* An entry with another set; none at all where that is empty. */
static void entry_push(json_t *into, const json_t *entry, json_t *take_set)
{
    if (!fieldset_empty(take_set)) {
        json_t *copy = json_copy((json_t *)(uintptr_t)entry);
        (void)json_object_set(copy, "fieldsV1", take_set);
        (void)json_array_append_new(into, copy);
    }
    json_decref(take_set);
}

struct conflicts {
    json_t *causes;
    const char *manager, *version;
    struct buf text; /* one line each */
};

static void on_conflict(void *ctx, const char *path)
{
    struct conflicts *x = ctx;
    AUTO_FREE char *message = xasprintf("conflict with \"%s\" using %s", x->manager, x->version);
    (void)json_array_append_new(x->causes, json_pack("{s:s,s:s,s:s}", "reason", "FieldManagerConflict",
                                                     "message", message, "field", path));
    buf_printf(&x->text, "%s: %s\n", message, path);
}

static int conflicts_check(const json_t *entries, const struct managed_change *c, const json_t *applied,
                           const json_t *changed, json_t **ret_causes, struct err *e)
{
    size_t i;
    json_t *entry;
    struct conflicts x = { .causes = json_array() };
    buf_init(&x.text, 4096);
    AUTO_JSON json_t *mine = fieldset_common(applied, changed);
    json_array_foreach((json_t *)(uintptr_t)entries, i, entry) {
        const char *version = json_text_at(entry, "apiVersion");
        if (entry_is(entry, c))
            continue;
        x.manager = json_text_at(entry, "manager");
        x.version = version ? version : c->api_version;
        AUTO_JSON json_t *both = fieldset_common(json_object_get(entry, "fieldsV1"), mine);
        fieldset_each(both, on_conflict, &x);
    }
    size_t count = json_array_size(x.causes);
    AUTO_FREE char *text = buf_take_text(&x.text);
    if (count == 0 || c->force) {
        json_decref(x.causes);
        return 0;
    }
    *ret_causes = x.causes;
    return err_set(e, CODE_ABORTED, "Apply failed with %zu conflict%s%.*s", count, count > 1 ? "s:\n" : ": ",
                   (int)(strlen(text) - 1), text);
}

/* All managers but the one of this change: less what it took over, and what is gone. */
static json_t *others_make(const json_t *entries, const struct managed_change *c, const json_t *taken,
                           const json_t *removed)
{
    size_t i;
    json_t *entry;
    json_t *others = json_array();
    json_array_foreach((json_t *)(uintptr_t)entries, i, entry) {
        AUTO_JSON json_t *left = fieldset_minus(json_object_get(entry, "fieldsV1"), removed);
        if (!entry_is(entry, c))
            entry_push(others, entry, fieldset_minus(left, taken));
    }
    return others;
}

static void ancient_merge(json_t *entries, const struct managed_change *c)
{
    size_t i, updaters = 0, first = 0, second = 0;
    json_t *entry;
    json_array_foreach(entries, i, entry) {
        if (!text_is(entry, "operation", "Update"))
            continue;
        first = updaters == 0 ? i : first;
        second = updaters == 1 ? i : second;
        updaters++;
    }
    if (updaters <= MANAGED_UPDATERS)
        return;
    json_t *old = json_array_get(entries, first);
    json_t *merged = entry_make(&(struct managed_change){ .manager = ANCIENT, .api_version = c->api_version, .now_ms = c->now_ms },
                                fieldset_union(json_object_get(old, "fieldsV1"),
                                               json_object_get(json_array_get(entries, second), "fieldsV1")));
    (void)json_array_set_new(entries, first, merged);
    (void)json_array_remove(entries, second);
}

/* The entry of this change as it was, or NULL. */
static const json_t *entry_find(const json_t *entries, const struct managed_change *c)
{
    size_t i;
    json_t *entry;
    json_array_foreach((json_t *)(uintptr_t)entries, i, entry)
        if (entry_is(entry, c))
            return entry;
    return NULL;
}

static json_t *own_set(const json_t *old, const struct managed_change *c, const json_t *applied,
                       const json_t *changed, const json_t *removed)
{
    if (c->apply)
        return json_deep_copy(applied);
    AUTO_JSON json_t *left = fieldset_minus(json_object_get(old, "fieldsV1"), removed);
    return fieldset_union(left, changed);
}

/* Objects from before owners were kept: all of it is an unknown updater's. */
static json_t *entries_begin(const json_t *before, const json_t *plain, const struct managed_change *c)
{
    const json_t *entries = entries_of(before, c);
    if (entries || !before || !c->apply)
        return entries ? json_incref((json_t *)(uintptr_t)entries) : json_array();
    const struct managed_change first = { .manager = "before-first-apply", .api_version = c->api_version,
                                          .now_ms = c->now_ms };
    json_t *made = json_array();
    (void)json_array_append_new(made, entry_make(&first, fieldset_of(plain)));
    return made;
}

int managed_update(const json_t *before, json_t *after, const struct managed_change *c, json_t **ret_causes,
                   struct err *e)
{
    AUTO_JSON json_t *old = before ? without_server_fields(before) : NULL;
    AUTO_JSON json_t *new = without_server_fields(after);
    AUTO_JSON json_t *config = c->apply ? without_server_fields(c->config) : NULL;
    AUTO_JSON json_t *applied = fieldset_of(config);
    AUTO_JSON json_t *removed = NULL;
    AUTO_JSON json_t *changed = fieldset_changed(old, new, &removed);
    AUTO_JSON json_t *entries = entries_begin(before, old, c);
    int r = c->apply ? conflicts_check(entries, c, applied, changed, ret_causes, e) : 0;
    if (r < 0)
        return r;
    AUTO_JSON json_t *taken = c->apply ? fieldset_common(applied, changed) : json_incref(changed);
    json_t *next = others_make(entries, c, taken, removed);
    const json_t *was = entry_find(entries, c);
    AUTO_JSON json_t *own = own_set(was, c, applied, changed, removed);
    if (was && json_equal(own, json_object_get(was, "fieldsV1")))
        (void)json_array_append(next, (json_t *)(uintptr_t)was);
    else if (!fieldset_empty(own))
        (void)json_array_append_new(next, entry_make(c, json_incref(own)));
    ancient_merge(next, c);
    /* the order is that of the last change; one that changed nothing keeps what there was */
    bool same = json_array_size(next) == json_array_size(entries) && fieldset_empty(changed) &&
                fieldset_empty(removed) && was && json_equal(own, json_object_get(was, "fieldsV1"));
    bool idle = !c->apply && fieldset_empty(changed) && fieldset_empty(removed) && !c->base;
    (void)json_object_set(json_object_get(after, "metadata"), "managedFields", same || idle ? entries : next);
    json_decref(next);
    return 0;
}
