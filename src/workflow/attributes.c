#include "workflow/attributes.h"

#include "codec/temporal.h"
#include "workflow/filter_fields.h"
#include "workflow/run.h"

#include <string.h>

static const struct {
    const char *name;
    enum journal_type journal;
} types[] = {
    [TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_TEXT] = { "Text", JOURNAL_TEXT },
    [TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_KEYWORD] = { "Keyword", JOURNAL_KEYWORD },
    [TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_INT] = { "Int", JOURNAL_INT },
    [TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_DOUBLE] = { "Double", JOURNAL_DOUBLE },
    [TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_BOOL] = { "Bool", JOURNAL_BOOL },
    [TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_DATETIME] = { "Datetime", JOURNAL_TIME },
    [TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_KEYWORD_LIST] = { "KeywordList", JOURNAL_KEYWORDS },
};

static int type_of(const char *name, const struct attributes_rules *rules, size_t *ret, struct refusal *no)
{
    enum journal_type known;
    if (filter_field_predefined(str_of(name), &known)) { /* SDKs set some of them: TemporalChangeVersion */
        for (size_t i = 1; i < COUNT_OF(types); i++)
            if (types[i].journal == known)
                *ret = i;
        return 0;
    }
    if (filter_field_reserved(str_of(name)) && strcmp(name, "TemporalNamespaceDivision") != 0)
        return refuse(no, CODE_INVALID, "%.100s attribute can't be set in SearchAttributes", name);
    *ret = (size_t)rules->find(rules->ctx, name);
    if (!strcmp(name, "TemporalNamespaceDivision"))
        *ret = TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_KEYWORD;
    if (*ret == 0 || *ret >= COUNT_OF(types))
        return refuse(no, CODE_INVALID, "Namespace %.255s has no mapping defined for search attribute %.100s", rules->ns, name);
    return 0;
}

static void stamp(Tp__Payload *p, const char *type)
{
    for (size_t i = 0; i < p->n_metadata; i++)
        if (!strcmp(p->metadata[i]->key, "type")) {
            proto_set_bytes(&p->metadata[i]->value, str_of(type));
            return;
        }
    Tp__Payload__MetadataEntry *entry = proto_new(&tp__payload__metadata_entry__descriptor);
    proto_set_text(&entry->key, "type");
    proto_set_bytes(&entry->value, str_of(type));
    proto_push(&p->n_metadata, &p->metadata, entry);
}

static int one(const char *name, Tp__Payload *p, const struct attributes_rules *rules, struct refusal *no)
{
    size_t type = 0;
    int r = type_of(name, rules, &type, no);
    if (r < 0)
        return r;
    if (p->data.len > ATTRIBUTES_VALUE_BYTES_MAX)
        return refuse(no, CODE_INVALID, "search attribute %.100s value size %zu exceeds size limit %zu", name, p->data.len,
                      (size_t)ATTRIBUTES_VALUE_BYTES_MAX);
    if (!run_attribute_fits(p, types[type].journal))
        return refuse(no, CODE_INVALID, "invalid value for search attribute %.100s of type %s: %.*s", name, types[type].name,
                      (int)MIN(p->data.len, (size_t)100), p->data.len ? (const char *)p->data.data : "");
    stamp(p, types[type].name);
    return 0;
}

int attributes_apply(Tp__SearchAttributes *a, const struct attributes_rules *rules, struct refusal *no)
{
    if (!a)
        return 0;
    if (a->n_indexed_fields > ATTRIBUTES_KEYS_MAX)
        return refuse(no, CODE_INVALID, "number of search attributes %zu exceeds limit %d", a->n_indexed_fields,
                      ATTRIBUTES_KEYS_MAX);
    for (size_t i = 0; i < a->n_indexed_fields; i++) {
        Tp__SearchAttributes__IndexedFieldsEntry *f = a->indexed_fields[i];
        int r = f->value ? one(f->key, f->value, rules, no) : 0;
        if (r < 0)
            return r;
    }
    if (proto_size(a) > ATTRIBUTES_BYTES_MAX)
        return refuse(no, CODE_INVALID, "total size of search attributes %zu exceeds size limit %zu", proto_size(a),
                      (size_t)ATTRIBUTES_BYTES_MAX);
    return 0;
}
