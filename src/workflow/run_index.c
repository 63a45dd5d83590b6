#include "codec/civil.h"
#include "codec/json.h"
#include "workflow/run_impl.h"

#include <stdlib.h>
#include <string.h>

/* What a run is listed by. */

static const struct {
    const char *name;
    enum journal_type type;
} types[] = {
    { "Keyword", JOURNAL_KEYWORD }, { "Text", JOURNAL_TEXT }, { "Int", JOURNAL_INT },
    { "Double", JOURNAL_DOUBLE },   { "Bool", JOURNAL_BOOL }, { "Datetime", JOURNAL_TIME },
    { "KeywordList", JOURNAL_KEYWORDS },
};

/* As the payload says; else as its value looks. */
static enum journal_type type_of(const Tp__Payload *p, const json_t *value)
{
    struct str said = temporal_payload_meta(p, "type");
    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (str_is(said, types[i].name))
            return types[i].type;
    switch (json_typeof(value)) {
    case JSON_INTEGER:
        return JOURNAL_INT;
    case JSON_REAL:
        return JOURNAL_DOUBLE;
    case JSON_TRUE:
    case JSON_FALSE:
        return JOURNAL_BOOL;
    case JSON_ARRAY:
        return JOURNAL_KEYWORDS;
    default:
        return JOURNAL_KEYWORD;
    }
}

static bool value_read(const json_t *value, struct journal_attribute *a)
{
    struct err e;
    int64_t seconds;
    int32_t nanos;
    switch (a->type) {
    case JOURNAL_INT:
        a->integer = json_integer_value(value);
        return json_is_integer(value);
    case JOURNAL_DOUBLE:
        a->real = json_number_value(value);
        return json_is_number(value);
    case JOURNAL_BOOL:
        a->integer = json_is_true(value);
        return json_is_boolean(value);
    case JOURNAL_TIME:
        if (!json_is_string(value) ||
            civil_rfc3339_parse(str_of(json_string_value(value)), &seconds, &nanos, &e) < 0)
            return false;
        return !__builtin_mul_overflow(seconds, RUN_SECOND, &a->integer) &&
               !__builtin_add_overflow(a->integer, (int64_t)nanos, &a->integer);
    default:
        a->text = (struct str){ json_string_value(value), json_string_length(value) };
        return json_is_string(value);
    }
}

struct gather {
    struct run *r;
    size_t count, capacity;
};

static void gather_add(struct gather *g, const char *name, enum journal_type type, const json_t *value)
{
    struct journal_attribute a = { .name = str_of(name), .type = type };
    if (!value_read(value, &a))
        return; /* the service refuses what does not fit its type; a signal cannot bring any */
    if (g->count == g->capacity) {
        g->capacity = g->capacity ? 2 * g->capacity : 8;
        g->r->index_attributes = xrealloc(g->r->index_attributes, g->capacity, sizeof a);
    }
    /* Texts stand in the buffer, which may still move: as offsets until all are there. */
    if (a.text.at) {
        size_t offset = g->r->index_text.size;
        buf_str_append(&g->r->index_text, a.text);
        a.integer = (int64_t)offset;
    }
    g->r->index_attributes[g->count++] = a;
}

/* A list that the value is alone in: a value is no document. NULL: it is no JSON. */
static json_t *payload_read(const Tp__Payload *p)
{
    struct limits l;
    struct err e;
    struct buf text;
    json_t *list = NULL;
    limits_default(&l);
    buf_init(&text, RUN_BLOB_BYTES_MAX);
    buf_text(&text, "[");
    buf_str_append(&text, proto_bytes(&p->data));
    buf_text(&text, "]");
    int r = text.overflow ? -1 : json_read(buf_str(&text), &l, &list, &e);
    buf_done(&text);
    if (r == 0 && json_array_size(list) == 1)
        return list;
    json_unref(list);
    return NULL;
}

bool run_attribute_fits(const Tp__Payload *p, enum journal_type type)
{
    if (!p->data.len)
        return true; /* binary/null */
    AUTO_JSON json_t *list = payload_read(p);
    const json_t *value = json_array_get(list, 0);
    struct journal_attribute a = { .type = type };
    if (!value || json_is_null(value))
        return value != NULL;
    if (!json_is_array(value))
        return value_read(value, &a);
    for (size_t i = 0; i < json_array_size(value); i++)
        if (!value_read(json_array_get(value, i), &a))
            return false;
    return true;
}

static void gather_field(struct gather *g, const char *name, const Tp__Payload *p)
{
    AUTO_JSON json_t *list = payload_read(p);
    if (!list)
        return;
    const json_t *value = json_array_get(list, 0);
    enum journal_type type = type_of(p, value);
    if (!json_is_array(value))
        gather_add(g, name, type, value);
    for (size_t i = 0; json_is_array(value) && i < json_array_size(value); i++)
        gather_add(g, name, type, json_array_get(value, i));
}

static size_t attributes(struct run *r)
{
    struct gather g = { .r = r };
    const Tp__SearchAttributes *all = r->s->search_attributes;
    buf_clear(&r->index_text);
    free(r->index_attributes);
    r->index_attributes = NULL;
    for (size_t i = 0; all && i < all->n_indexed_fields; i++)
        if (all->indexed_fields[i]->value)
            gather_field(&g, all->indexed_fields[i]->key, all->indexed_fields[i]->value);
    for (size_t i = 0; i < g.count; i++) {
        struct journal_attribute *a = &r->index_attributes[i];
        if (a->type != JOURNAL_KEYWORD && a->type != JOURNAL_TEXT && a->type != JOURNAL_KEYWORDS)
            continue;
        a->text.at = a->text.size ? buf_at(&r->index_text) + a->integer : "";
        a->integer = 0;
    }
    return g.count;
}

/* Memo and attributes as they are, for lists: a WorkflowExecutionInfo with these two. */
static struct str extra(struct run *r)
{
    Tp__WorkflowExecutionInfo info;
    tp__workflow_execution_info__init(&info);
    info.memo = r->s->memo;
    info.search_attributes = r->s->search_attributes;
    buf_clear(&r->index_extra);
    proto_encode(&info, &r->index_extra);
    return buf_str(&r->index_extra);
}

static struct str parent_of(const Tp__WorkflowExecution *e, struct uuid *ret_run)
{
    if (!e)
        return (struct str){ 0 };
    (void)uuid_parse(str_of(e->run_id), ret_run);
    return str_of(e->workflow_id);
}

void run_index(const struct run *r, struct journal_index *into)
{
    const Ws__Run *s = r->s;
    struct run *own = r->self; /* what it lends is no part of its state */
    *into = (struct journal_index){
        .status = s->status,
        .type = str_of(s->started->workflow_type->name),
        .queue = str_of(run_queue(r)),
        .start_ns = s->start_ns,
        .execution_ns = s->execution_ns,
        .close_ns = run_open(r) ? JOURNAL_NEVER : s->close_ns,
        .history_length = (uint64_t)s->next_event_id - 1,
        .history_bytes = (uint64_t)s->history_bytes,
        .transitions = (uint64_t)s->transitions,
    };
    into->parent_id = parent_of(s->started->parent_workflow_execution, &into->parent_run);
    into->root_id = parent_of(s->started->root_workflow_execution, &into->root_run);
    into->extra = extra(own);
    into->attribute_count = attributes(own);
    into->attributes = own->index_attributes;
}
