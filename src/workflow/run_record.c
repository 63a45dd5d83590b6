#include "workflow/run_impl.h"

#include <string.h>

/* Commands that only say something: markers, search attributes, memo. */

int run_record_command_marker(struct run_commanding *c)
{
    const Tp__RecordMarkerCommandAttributes *q = c->command->record_marker_command_attributes;
    if (run_empty(q->marker_name))
        return run_command_bad(c, CAUSE(BAD_RECORD_MARKER_ATTRIBUTES), "MarkerName is not set on RecordMarkerCommand.");
    if (strlen(q->marker_name) > RUN_ID_BYTES_MAX)
        return run_command_bad(c, CAUSE(BAD_RECORD_MARKER_ATTRIBUTES), "MarkerName on RecordMarkerCommand exceeds length limit.");
    if (proto_size(q) > RUN_BLOB_BYTES_MAX)
        return run_command_fatal(c, CAUSE(BAD_RECORD_MARKER_ATTRIBUTES),
                                 "RecordMarkerCommandAttributes.Details exceeds size limit.");
    Tp__HistoryEvent *event;
    Tp__MarkerRecordedEventAttributes *a = run_event_new(EVENT(MARKER_RECORDED), &event);
    proto_set_text(&a->marker_name, q->marker_name);
    for (size_t i = 0; i < q->n_details; i++) {
        Tp__MarkerRecordedEventAttributes__DetailsEntry *entry =
            proto_new(&tp__marker_recorded_event_attributes__details_entry__descriptor);
        proto_set_text(&entry->key, q->details[i]->key);
        entry->value = proto_dup(q->details[i]->value);
        proto_push(&a->n_details, &a->details, entry);
    }
    a->workflow_task_completed_event_id = c->completed_id;
    a->header = proto_dup(q->header);
    a->failure = run_failure_dup(q->failure);
    (void)run_command_event(c, event);
    return 0;
}

/* An attribute without a value is one that is to go. */
static bool payload_says_nothing(const Tp__Payload *p)
{
    struct str data = p ? proto_bytes(&p->data) : (struct str){ 0 };
    return data.size == 0 || str_is(data, "[]") || str_is(data, "null");
}

static int search_check(struct run_commanding *c, const Tp__SearchAttributes *q)
{
    for (size_t i = 0; i < q->n_indexed_fields; i++)
        if (q->indexed_fields[i]->value && q->indexed_fields[i]->value->data.len > RUN_SEARCH_VALUE_BYTES_MAX)
            return run_command_bad(c, CAUSE(BAD_SEARCH_ATTRIBUTES),
                                   "search attribute %.200s value size %zu exceeds size limit %d", q->indexed_fields[i]->key,
                                   q->indexed_fields[i]->value->data.len, RUN_SEARCH_VALUE_BYTES_MAX);
    if (q->n_indexed_fields > RUN_SEARCH_KEYS_MAX)
        return run_command_bad(c, CAUSE(BAD_SEARCH_ATTRIBUTES), "number of search attributes %zu exceeds limit %d",
                               q->n_indexed_fields, RUN_SEARCH_KEYS_MAX);
    if (proto_size(q) > RUN_SEARCH_BYTES_MAX)
        return run_command_bad(c, CAUSE(BAD_SEARCH_ATTRIBUTES), "total size of search attributes %zu exceeds size limit %d",
                               proto_size(q), RUN_SEARCH_BYTES_MAX);
    return 0;
}

void run_record_search(Ws__Run *s, const Tp__SearchAttributes *q)
{
    if (!s->search_attributes)
        s->search_attributes = proto_new(&tp__search_attributes__descriptor);
    Tp__SearchAttributes *into = s->search_attributes;
    for (size_t i = 0; i < q->n_indexed_fields; i++) {
        const Tp__SearchAttributes__IndexedFieldsEntry *from = q->indexed_fields[i];
        size_t at = 0;
        while (at < into->n_indexed_fields && strcmp(into->indexed_fields[at]->key, from->key) != 0)
            at++;
        if (at < into->n_indexed_fields)
            run_remove(&into->n_indexed_fields, &into->indexed_fields, at);
        if (!payload_says_nothing(from->value))
            proto_push(&into->n_indexed_fields, &into->indexed_fields, proto_dup(from));
    }
}

int run_record_command_search(struct run_commanding *c)
{
    const Tp__SearchAttributes *q = c->command->upsert_workflow_search_attributes_command_attributes->search_attributes;
    Ws__Run *s = c->r->s;
    if (!q || !q->n_indexed_fields)
        return run_command_bad(c, CAUSE(BAD_SEARCH_ATTRIBUTES),
                               "IndexedFields is not set on UpsertWorkflowSearchAttributesCommand.");
    if (search_check(c, q) < 0)
        return -1;
    run_record_search(s, q);
    Tp__HistoryEvent *event;
    Tp__UpsertWorkflowSearchAttributesEventAttributes *a =
        run_event_new(EVENT(UPSERT_WORKFLOW_SEARCH_ATTRIBUTES), &event);
    a->workflow_task_completed_event_id = c->completed_id;
    a->search_attributes = proto_dup(q);
    (void)run_command_event(c, event);
    c->t->indexed = true;
    return 0;
}

void run_record_memo(Ws__Run *s, const Tp__Memo *q)
{
    if (!s->memo)
        s->memo = proto_new(&tp__memo__descriptor);
    Tp__Memo *into = s->memo;
    for (size_t i = 0; i < q->n_fields; i++) {
        const Tp__Memo__FieldsEntry *from = q->fields[i];
        size_t at = 0;
        while (at < into->n_fields && strcmp(into->fields[at]->key, from->key) != 0)
            at++;
        if (at < into->n_fields)
            run_remove(&into->n_fields, &into->fields, at);
        if (from->value && from->value->data.len)
            proto_push(&into->n_fields, &into->fields, proto_dup(from));
    }
}

int run_record_command_memo(struct run_commanding *c)
{
    const Tp__Memo *q = c->command->modify_workflow_properties_command_attributes->upserted_memo;
    Ws__Run *s = c->r->s;
    if (!q || !q->n_fields)
        return run_command_bad(c, CAUSE(BAD_MODIFY_WORKFLOW_PROPERTIES_ATTRIBUTES),
                               "UpsertedMemo is not set on ModifyWorkflowPropertiesCommand.");
    run_record_memo(s, q);
    if (proto_size(s->memo) > RUN_BLOB_BYTES_MAX)
        return run_command_fatal(c, CAUSE(BAD_MODIFY_WORKFLOW_PROPERTIES_ATTRIBUTES), "the memo exceeds 2 MiB");
    Tp__HistoryEvent *event;
    Tp__WorkflowPropertiesModifiedEventAttributes *a = run_event_new(EVENT(WORKFLOW_PROPERTIES_MODIFIED), &event);
    a->workflow_task_completed_event_id = c->completed_id;
    a->upserted_memo = proto_dup(q);
    (void)run_command_event(c, event);
    c->t->indexed = true;
    return 0;
}
