#include "codec/json.h"
#include "workflow/filter_text.h"
#include "workflow/service_impl.h"

#include <stdio.h>
#include <stdlib.h>

enum { PAGE_DEFAULT = 1000 };

bool service_attribute_find(void *ctx, struct str name, enum journal_type *ret)
{
    static const enum journal_type types[] = {
        [TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_TEXT] = JOURNAL_TEXT,
        [TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_KEYWORD] = JOURNAL_KEYWORD,
        [TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_INT] = JOURNAL_INT,
        [TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_DOUBLE] = JOURNAL_DOUBLE,
        [TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_BOOL] = JOURNAL_BOOL,
        [TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_DATETIME] = JOURNAL_TIME,
        [TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_KEYWORD_LIST] = JOURNAL_KEYWORDS,
    };
    const struct service_namespace *n = ctx;
    for (size_t i = 0; i < n->stored->n_attributes; i++) {
        unsigned type = (unsigned)n->stored->attributes[i]->value;
        if (!str_is(name, n->stored->attributes[i]->key) || !type || type >= COUNT_OF(types))
            continue;
        *ret = types[type];
        return true;
    }
    return false;
}

struct listing {
    struct service_call *c;
    struct filter *filter;
    char *ns;
    struct journal_list list;
    struct journal_count count;
};

static void listing_free(struct listing *x)
{
    filter_free(x->filter);
    free(x->ns);
    free(x);
}

static struct listing *listing_new(struct service *s, struct service_call *c, const char *query, bool counting)
{
    struct filter_rules rules = { .limits = s->w.limits, .find = service_attribute_find,
                                  .ctx = service_namespace_find(s, c->ns), .counting = counting, .divided = true };
    struct err e;
    struct filter *filter = NULL;
    int r = filter_text_parse(str_of(query), &rules, &filter, &e);
    if (r < 0) {
        service_fail(c, -(enum code)r, "%s", e.text);
        return NULL;
    }
    struct listing *x = xcalloc(1, sizeof(*x));
    *x = (struct listing){ .c = c, .filter = filter, .ns = xstrdup(c->ns) };
    return x;
}

/* ---- lists ---- */

static void list_fill(Tp__WorkflowExecutionInfo *w, const struct journal_found *f)
{
    AUTO_FREE char *id = xstrndup(f->key.id.at, f->key.id.size);
    const struct journal_index *x = &f->index;
    proto_set_message(&w->execution, service_execution(id, &f->key.run));
    if (!w->type)
        w->type = proto_new(&tp__workflow_type__descriptor);
    proto_set_str(&w->type->name, x->type);
    proto_set_str(&w->task_queue, x->queue);
    temporal_set_time(&w->start_time, x->start_ns);
    temporal_set_time(&w->execution_time, x->execution_ns);
    if (x->close_ns != JOURNAL_NEVER) {
        temporal_set_time(&w->close_time, x->close_ns);
        temporal_set_duration(&w->execution_duration, MAX(x->close_ns - x->execution_ns, INT64_C(0)));
    }
    w->status = (Tp__WorkflowExecutionStatus)x->status;
    w->history_length = (int64_t)x->history_length;
    w->history_size_bytes = (int64_t)x->history_bytes;
    w->state_transition_count = (int64_t)x->transitions;
    if (x->parent_id.size) {
        AUTO_FREE char *parent = xstrndup(x->parent_id.at, x->parent_id.size);
        proto_set_message(&w->parent_execution, service_execution(parent, &x->parent_run));
    }
    if (x->root_id.size) {
        AUTO_FREE char *root = xstrndup(x->root_id.at, x->root_id.size);
        proto_set_message(&w->root_execution, service_execution(root, &x->root_run));
    }
}

static Tp__WorkflowExecutionInfo *list_info(const struct journal_found *f)
{
    ProtobufCMessage *m = NULL;
    struct err e;
    if (!f->index.extra.size ||
        proto_decode_new(&tp__workflow_execution_info__descriptor, f->index.extra, MIB(16), &m, &e) < 0)
        m = proto_new(&tp__workflow_execution_info__descriptor);
    Tp__WorkflowExecutionInfo *w = (Tp__WorkflowExecutionInfo *)(void *)m;
    list_fill(w, f);
    return w;
}

/* All the list answers have these two fields under these numbers. */
static void on_list(struct journal_list *q, int r, const struct journal_found *rows, size_t count, struct str next,
                    const struct err *e)
{
    struct listing *x = CONTAINER_OF(q, struct listing, list);
    if (r < 0) {
        service_fail(x->c, -(enum code)r, "%s", e->text);
        listing_free(x);
        return;
    }
    Tp__ListWorkflowExecutionsResponse *w = proto_new(&tp__list_workflow_executions_response__descriptor);
    for (size_t i = 0; i < count; i++)
        proto_push(&w->n_executions, &w->executions, list_info(&rows[i]));
    if (next.size)
        proto_set_bytes(&w->next_page_token, next);
    service_reply(x->c, w);
    proto_free(w);
    listing_free(x);
}

static void list(struct service *s, struct service_call *c, const char *query, int32_t size,
                 const ProtobufCBinaryData *token)
{
    struct listing *x = listing_new(s, c, query, false);
    if (!x)
        return;
    struct err e;
    x->list = (struct journal_list){ .kind = JOURNAL_WORKFLOW, .ns = str_of(x->ns), .filter = x->filter,
                                     .limit = size > 0 ? (uint32_t)MIN(size, PAGE_DEFAULT) : PAGE_DEFAULT,
                                     .after = proto_bytes(token), .on_done = on_list };
    int r = journal_list(s->w.journal, &x->list, &e);
    if (r < 0)
        on_list(&x->list, r, NULL, 0, (struct str){ 0 }, &e);
}

void service_list(struct service *s, struct service_call *c) /* Scan's request has the same fields */
{
    const Tp__ListWorkflowExecutionsRequest *q = c->q;
    list(s, c, q->query, q->page_size, &q->next_page_token);
}

static void quoted(struct buf *into, const char *text)
{
    buf_text(into, "'");
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\')
            buf_text(into, "\\");
        buf_append(into, text, 1);
    }
    buf_text(into, "'");
}

static void range(struct buf *into, const Tp__StartTimeFilter *f)
{
    if (f && f->earliest_time)
        buf_printf(into, " AND StartTime >= %lld", (long long)temporal_time_ns(f->earliest_time));
    if (f && f->latest_time)
        buf_printf(into, " AND StartTime <= %lld", (long long)temporal_time_ns(f->latest_time));
}

static void field(struct buf *into, const char *name, const char *value)
{
    if (!value || !*value)
        return;
    buf_printf(into, " AND %s = ", name);
    quoted(into, value);
}

void service_list_open(struct service *s, struct service_call *c)
{
    const Tp__ListOpenWorkflowExecutionsRequest *q = c->q;
    struct buf text;
    buf_init(&text, KIB(16));
    buf_text(&text, "ExecutionStatus = 'Running'");
    range(&text, q->start_time_filter);
    if (q->filters_case == TP__LIST_OPEN_WORKFLOW_EXECUTIONS_REQUEST__FILTERS_EXECUTION_FILTER) {
        field(&text, "WorkflowId", q->execution_filter->workflow_id);
        field(&text, "RunId", q->execution_filter->run_id);
    } else if (q->filters_case == TP__LIST_OPEN_WORKFLOW_EXECUTIONS_REQUEST__FILTERS_TYPE_FILTER) {
        field(&text, "WorkflowType", q->type_filter->name);
    }
    AUTO_FREE char *query = buf_take_text(&text);
    list(s, c, query, q->maximum_page_size, &q->next_page_token);
}

void service_list_closed(struct service *s, struct service_call *c)
{
    const Tp__ListClosedWorkflowExecutionsRequest *q = c->q;
    struct buf text;
    buf_init(&text, KIB(16));
    if (q->filters_case == TP__LIST_CLOSED_WORKFLOW_EXECUTIONS_REQUEST__FILTERS_STATUS_FILTER)
        buf_printf(&text, "ExecutionStatus = %d", (int)q->status_filter->status);
    else
        buf_text(&text, "ExecutionStatus != 'Running'");
    range(&text, q->start_time_filter);
    if (q->filters_case == TP__LIST_CLOSED_WORKFLOW_EXECUTIONS_REQUEST__FILTERS_EXECUTION_FILTER) {
        field(&text, "WorkflowId", q->execution_filter->workflow_id);
        field(&text, "RunId", q->execution_filter->run_id);
    } else if (q->filters_case == TP__LIST_CLOSED_WORKFLOW_EXECUTIONS_REQUEST__FILTERS_TYPE_FILTER) {
        field(&text, "WorkflowType", q->type_filter->name);
    }
    AUTO_FREE char *query = buf_take_text(&text);
    list(s, c, query, q->maximum_page_size, &q->next_page_token);
}

/* ---- counts ---- */

static Tp__Payload *group_value(const struct journal_attribute *a)
{
    static const char *const statuses[] = { "Unspecified", "Running", "Completed", "Failed", "Canceled", "Terminated",
                                            "ContinuedAsNew", "TimedOut", "Paused" };
    char number[32];
    struct buf json;
    buf_init(&json, KIB(64));
    if (a->type == JOURNAL_INT /* nothing else that has numbers is grouped by */ && a->integer >= 0 &&
        (size_t)a->integer < COUNT_OF(statuses)) {
        buf_printf(&json, "\"%s\"", statuses[a->integer]);
    } else if (a->type == JOURNAL_KEYWORD || a->type == JOURNAL_TEXT || a->type == JOURNAL_KEYWORDS) {
        json_t *text = json_stringn(a->text.at ? a->text.at : "", a->text.size);
        json_write(text, &json);
        json_unref(text);
    } else if (a->type == JOURNAL_BOOL) {
        buf_text(&json, a->integer ? "true" : "false");
    } else {
        snprintf(number, sizeof(number), "%lld", (long long)a->integer);
        buf_text(&json, number);
    }
    Tp__Payload *p = temporal_payload_new("json/plain", buf_str(&json));
    Tp__Payload__MetadataEntry *type = proto_new(&tp__payload__metadata_entry__descriptor);
    proto_set_text(&type->key, "type");
    proto_set_bytes(&type->value, STR("Keyword"));
    proto_push(&p->n_metadata, &p->metadata, type);
    buf_done(&json);
    return p;
}

static void on_count(struct journal_count *q, int r, uint64_t count, const struct journal_group *groups,
                     size_t group_count, const struct err *e)
{
    struct listing *x = CONTAINER_OF(q, struct listing, count);
    if (r < 0) {
        service_fail(x->c, -(enum code)r, "%s", e->text);
        listing_free(x);
        return;
    }
    Tp__CountWorkflowExecutionsResponse *w = proto_new(&tp__count_workflow_executions_response__descriptor);
    w->count = (int64_t)count;
    for (size_t i = 0; i < group_count; i++) {
        Tp__CountWorkflowExecutionsResponse__AggregationGroup *g =
            proto_new(&tp__count_workflow_executions_response__aggregation_group__descriptor);
        g->count = (int64_t)groups[i].count;
        proto_push(&g->n_group_values, &g->group_values, group_value(&groups[i].value));
        proto_push(&w->n_groups, &w->groups, g);
    }
    service_reply(x->c, w);
    proto_free(w);
    listing_free(x);
}

void service_count(struct service *s, struct service_call *c)
{
    const Tp__CountWorkflowExecutionsRequest *q = c->q;
    struct listing *x = listing_new(s, c, q->query, true);
    if (!x)
        return;
    struct err e;
    x->count = (struct journal_count){ .kind = JOURNAL_WORKFLOW, .ns = str_of(x->ns), .filter = x->filter,
                                       .on_done = on_count };
    int r = journal_count(s->w.journal, &x->count, &e);
    if (r < 0)
        on_count(&x->count, r, 0, NULL, 0, &e);
}
