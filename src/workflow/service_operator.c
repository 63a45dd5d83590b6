#include "workflow/filter_fields.h"
#include "workflow/service_impl.h"

#include <stdlib.h>

/* OperatorService: the custom search attributes of a namespace. */

enum { ATTRIBUTES_MAX = 100 }; /* of one namespace */

static void system_put(Tp__ListSearchAttributesResponse *w, const char *name, enum journal_type type)
{
    static const Tp__IndexedValueType types[] = {
        [JOURNAL_KEYWORD] = TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_KEYWORD,
        [JOURNAL_TEXT] = TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_TEXT,
        [JOURNAL_INT] = TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_INT,
        [JOURNAL_DOUBLE] = TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_DOUBLE,
        [JOURNAL_BOOL] = TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_BOOL,
        [JOURNAL_TIME] = TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_DATETIME,
        [JOURNAL_KEYWORDS] = TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_KEYWORD_LIST,
    };
    Tp__ListSearchAttributesResponse__SystemAttributesEntry *entry =
        proto_new(&tp__list_search_attributes_response__system_attributes_entry__descriptor);
    proto_set_text(&entry->key, name);
    entry->value = types[type];
    proto_push(&w->n_system_attributes, &w->system_attributes, entry);
}

void service_attributes_list(struct service *s, struct service_call *c)
{
    Tp__ListSearchAttributesResponse *w = proto_new(&tp__list_search_attributes_response__descriptor);
    const Wt__Namespace *n = service_namespace_find(s, c->ns)->stored;
    for (size_t i = 0; i < n->n_attributes; i++) {
        Tp__ListSearchAttributesResponse__CustomAttributesEntry *entry =
            proto_new(&tp__list_search_attributes_response__custom_attributes_entry__descriptor);
        proto_set_text(&entry->key, n->attributes[i]->key);
        entry->value = n->attributes[i]->value;
        proto_push(&w->n_custom_attributes, &w->custom_attributes, entry);
    }
    const char *name;
    enum journal_type type;
    for (size_t i = 0; (name = filter_field_nth(i, &type)) != NULL; i++)
        system_put(w, name, type);
    service_reply(c, w);
    proto_free(w);
}

static void key_put(Tp__GetSearchAttributesResponse *w, const char *name, Tp__IndexedValueType type)
{
    Tp__GetSearchAttributesResponse__KeysEntry *entry = proto_new(&tp__get_search_attributes_response__keys_entry__descriptor);
    proto_set_text(&entry->key, name);
    entry->value = type;
    proto_push(&w->n_keys, &w->keys, entry);
}

/* It names no namespace: those of `default`. */
void service_attributes_get(struct service *s, struct service_call *c)
{
    Tp__GetSearchAttributesResponse *w = proto_new(&tp__get_search_attributes_response__descriptor);
    struct service_namespace *n = service_namespace_find(s, "default");
    for (size_t i = 0; n && i < n->stored->n_attributes; i++)
        key_put(w, n->stored->attributes[i]->key, n->stored->attributes[i]->value);
    service_reply(c, w);
    proto_free(w);
}

static Tp__IndexedValueType type_of(const Wt__Namespace *w, const char *name)
{
    for (size_t i = 0; i < w->n_attributes; i++)
        if (!strcmp(w->attributes[i]->key, name))
            return w->attributes[i]->value;
    return TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_UNSPECIFIED;
}

static int add_check(const Wt__Namespace *w, const char *name, Tp__IndexedValueType type, struct refusal *no)
{
    Tp__IndexedValueType known = type_of(w, name);
    if (!*name || strlen(name) > 255)
        return refuse(no, CODE_INVALID, "Search attribute name \"%.100s\" is not valid: it has 1 to 255 bytes.", name);
    if (filter_field_reserved(str_of(name)))
        return refuse(no, CODE_INVALID, "Search attribute %s is reserved by system.", name);
    if (type <= TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_UNSPECIFIED ||
        type > TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_KEYWORD_LIST)
        return refuse(no, CODE_INVALID, "Unable to parse search attribute type %d for key: %s.", (int)type, name);
    if (known && known != type) /* the same again is no change */
        return refuse(no, CODE_EXISTS, "Search attribute %s already exists with another type.", name);
    return 0;
}

void service_attributes_add(struct service *s, struct service_call *c)
{
    const Tp__AddSearchAttributesRequest *q = c->q;
    struct refusal no = { 0 };
    if (!q->n_search_attributes) {
        service_fail(c, CODE_INVALID, "SearchAttributes are not set on request.");
        return;
    }
    Wt__Namespace *w = proto_dup(service_namespace_find(s, q->namespace_)->stored);
    int r = 0;
    for (size_t i = 0; i < q->n_search_attributes && r == 0; i++) {
        r = add_check(w, q->search_attributes[i]->key, q->search_attributes[i]->value, &no);
        if (r == 0)
            service_attribute_set(w, q->search_attributes[i]->key, q->search_attributes[i]->value);
    }
    if (r == 0 && w->n_attributes > ATTRIBUTES_MAX)
        r = refuse(&no, CODE_INVALID, "A namespace has at most %d custom search attributes.", ATTRIBUTES_MAX);
    if (r == 0) {
        service_namespace_store(s, c, w, NULL);
        return;
    }
    proto_free(w);
    service_refuse(c, &no);
}

/* What runs have of it stays with them; it is found by it again when it is defined again, with that type. */
void service_attributes_remove(struct service *s, struct service_call *c)
{
    const Tp__RemoveSearchAttributesRequest *q = c->q;
    if (!q->n_search_attributes) {
        service_fail(c, CODE_INVALID, "SearchAttributes are not set on request.");
        return;
    }
    Wt__Namespace *w = proto_dup(service_namespace_find(s, q->namespace_)->stored);
    struct refusal no = { 0 };
    for (size_t k = 0; k < q->n_search_attributes && !no.code; k++) {
        const char *name = q->search_attributes[k];
        size_t i = 0;
        while (i < w->n_attributes && strcmp(w->attributes[i]->key, name) != 0)
            i++;
        if (i < w->n_attributes) {
            proto_free(w->attributes[i]);
            w->attributes[i] = w->attributes[--w->n_attributes];
        } else if (filter_field_reserved(str_of(name))) {
            refuse(&no, CODE_INVALID, "Unable to remove non-custom search attributes: %.100s.", name);
        } else {
            refuse(&no, CODE_NOT_FOUND, "Search attribute %.100s doesn't exist.", name);
        }
    }
    if (!no.code) {
        service_namespace_store(s, c, w, NULL);
        return;
    }
    proto_free(w);
    service_refuse(c, &no);
}
