#include "codec/civil.h"
#include "workflow/schedule_impl.h"

#include <stdio.h>
#include <stdlib.h>

enum { LOOKS_MAX = 16 }; /* in one turn */

struct str schedule_seed(const struct schedule *s) { return str_of(s->s->id); }

struct overlap_rules schedule_rules(const struct schedule *s)
{
    const Tp__SchedulePolicies *p = s->s->schedule->policies;
    if (!p)
        return (struct overlap_rules){ 0 };
    return (struct overlap_rules){ .policy = (enum overlap_policy)p->overlap_policy,
                                   .catchup_ms = temporal_duration_ms(p->catchup_window),
                                   .pause_on_failure = p->pause_on_failure };
}

/* ---- deciding ---- */

static const char *base_id(const struct schedule *s) { return s->s->schedule->action->start_workflow->workflow_id; }

static void action_push(struct schedule *s, const struct overlap_start *o, const struct overlap_rules *rules)
{
    const Tp__SchedulePolicies *p = s->s->schedule->policies;
    Wc__Action *a = proto_new(&wc__action__descriptor);
    a->number = s->s->next_number++;
    a->nominal_ms = o->nominal_ms;
    a->actual_ms = o->actual_ms;
    a->forgets = (o->policy ? o->policy : rules->policy) == OVERLAP_ALLOW_ALL;
    if (p && p->keep_original_workflow_id) {
        proto_set_text(&a->workflow_id, base_id(s));
    } else {
        char at[CIVIL_TEXT];
        AUTO_FREE char *id = xcalloc(1, strlen(base_id(s)) + 1 + sizeof at);
        int64_t ms = o->nominal_ms;
        civil_rfc3339_format(ms / 1000 - (ms % 1000 < 0), 0, at);
        snprintf(id, strlen(base_id(s)) + 1 + sizeof at, "%s-%s", base_id(s), at);
        proto_set_text(&a->workflow_id, id);
    }
    proto_push(&s->s->n_running, &s->s->running, a);
}

static void wish(struct schedule *s, bool cancel, bool terminate)
{
    for (size_t i = 0; i < s->s->n_running; i++) {
        Wc__Action *a = s->s->running[i];
        if (a->forgets)
            continue;
        a->cancel = cancel && !a->cancel ? SCHEDULE_WISH_OPEN : a->cancel;
        a->terminate = terminate && !a->terminate ? SCHEDULE_WISH_OPEN : a->terminate;
    }
}

static uint64_t waited_for(const struct schedule *s)
{
    uint64_t count = 0;
    for (size_t i = 0; i < s->s->n_running; i++)
        count += !s->s->running[i]->forgets;
    return count;
}

static void decide(struct schedule *s, const struct overlap_rules *rules)
{
    struct overlap_decision d;
    overlap_decide(&s->overlap, rules, waited_for(s), &d);
    wish(s, d.cancel, d.terminate);
    for (size_t i = 0; i < d.count; i++)
        action_push(s, &d.starts[i], rules);
    overlap_decision_done(&d);
}

void schedule_advance(struct schedule *s, int64_t now_ns)
{
    struct overlap_rules rules = schedule_rules(s);
    int64_t now_ms = now_ns / 1000000;
    s->more = true;
    for (int i = 0; i < LOOKS_MAX && s->more && s->s->n_running < SCHEDULE_RUNNING_MAX; i++) {
        s->more = overlap_look(&s->overlap, &rules, s->calendar, schedule_seed(s), now_ms);
        decide(s, &rules);
    }
    if (!overlap_over(&s->overlap, s->calendar, schedule_seed(s), s->s->n_running))
        s->s->over_ms = 0;
    else if (!s->s->over_ms)
        s->s->over_ms = now_ms;
    schedule_check(s);
}

static void turned(struct schedule *s, struct durable_turn *t)
{
    schedule_advance(s, t->now_ns);
    t->changed = t->indexed = true;
}

void schedule_due(struct schedule *s, struct durable_turn *t)
{
    if (s->s->over_ms && t->now_ns / 1000000 >= s->s->over_ms + SCHEDULE_KEPT_MS) {
        t->forget = true;
        return;
    }
    turned(s, t);
}

struct durable_standing schedule_standing(const struct schedule *s)
{
    struct durable_standing st = { .open = true, .ready = s->s->n_running > 0, .due_ms = JOURNAL_NEVER };
    if (s->s->n_running < SCHEDULE_RUNNING_MAX)
        st.due_ms = s->more ? 0 : MAX(overlap_wake_ms(&s->overlap, s->calendar, schedule_seed(s)), INT64_C(0));
    if (s->s->over_ms)
        st.due_ms = MIN(st.due_ms, s->s->over_ms + SCHEDULE_KEPT_MS);
    return st;
}

void schedule_check(const struct schedule *s)
{
    overlap_check(&s->overlap);
    ASSERT(s->s->n_recent <= SCHEDULE_RECENT_MAX);
    for (size_t i = 0; i < s->s->n_running; i++) {
        ASSERT(s->s->running[i]->number < s->s->next_number);
        ASSERT(i == 0 || s->s->running[i - 1]->number < s->s->running[i]->number);
    }
}

/* ---- what there is to do ---- */

static bool want(const Wc__Action *a, enum schedule_wish w)
{
    bool started = *a->run_id;
    switch (w) {
    case SCHEDULE_START: return !started;
    case SCHEDULE_WATCH: return started;
    case SCHEDULE_CANCEL: return started && a->cancel == SCHEDULE_WISH_OPEN;
    case SCHEDULE_TERMINATE: return started && a->terminate == SCHEDULE_WISH_OPEN;
    }
    return false;
}

bool schedule_wants(const struct schedule *s, size_t n, struct schedule_want *ret)
{
    for (size_t i = 0; i < s->s->n_running; i++) {
        const Wc__Action *a = s->s->running[i];
        for (enum schedule_wish w = SCHEDULE_START; w <= SCHEDULE_TERMINATE; w++) {
            if (!want(a, w) || n-- > 0)
                continue;
            *ret = (struct schedule_want){ w, a->number, a->workflow_id, a->run_id, a->first_run_id };
            return true;
        }
    }
    return false;
}

static Wc__Action *action_find(const struct schedule *s, uint64_t number, size_t *ret_at)
{
    for (size_t i = 0; i < s->s->n_running; i++)
        if (s->s->running[i]->number == number) {
            *ret_at = i;
            return s->s->running[i];
        }
    return NULL;
}

/* An attribute as an SDK's converter would have written it. */
static void attribute_set(Tp__SearchAttributes **into, const char *name, const char *type, const char *text)
{
    struct buf json;
    buf_init(&json, KIB(8));
    buf_text(&json, "\"");
    for (const char *p = text; *p; p++) {
        if ((unsigned char)*p < 0x20)
            buf_printf(&json, "\\u%04x", (unsigned char)*p);
        else
            buf_printf(&json, *p == '"' || *p == '\\' ? "\\%c" : "%c", *p);
    }
    buf_text(&json, "\"");
    Tp__SearchAttributes__IndexedFieldsEntry *f = proto_new(&tp__search_attributes__indexed_fields_entry__descriptor);
    Tp__Payload__MetadataEntry *m = proto_new(&tp__payload__metadata_entry__descriptor);
    proto_set_text(&f->key, name);
    f->value = temporal_payload_new("json/plain", buf_str(&json));
    proto_set_text(&m->key, "type");
    proto_set_bytes(&m->value, str_of(type));
    proto_push(&f->value->n_metadata, &f->value->metadata, m);
    if (!*into)
        *into = proto_new(&tp__search_attributes__descriptor);
    proto_push(&(*into)->n_indexed_fields, &(*into)->indexed_fields, f);
    buf_done(&json);
}

Tp__StartWorkflowExecutionRequest *schedule_compose(const char *ns, const Tp__Schedule *q)
{
    const Tp__NewWorkflowExecutionInfo *a = q->action->start_workflow;
    Tp__StartWorkflowExecutionRequest w;
    tp__start_workflow_execution_request__init(&w);
    AUTO_FREE char *space = xstrdup(ns);
    w.namespace_ = space;
    w.workflow_id = a->workflow_id;
    w.workflow_type = a->workflow_type;
    w.task_queue = a->task_queue;
    w.input = a->input;
    w.workflow_execution_timeout = a->workflow_execution_timeout;
    w.workflow_run_timeout = a->workflow_run_timeout;
    w.workflow_task_timeout = a->workflow_task_timeout;
    w.workflow_id_reuse_policy = TP__WORKFLOW_ID_REUSE_POLICY__WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE;
    w.retry_policy = a->retry_policy;
    w.memo = a->memo;
    w.search_attributes = a->search_attributes;
    w.header = a->header;
    w.user_metadata = a->user_metadata;
    w.versioning_override = a->versioning_override;
    w.priority = a->priority;
    return proto_dup(&w);
}

Tp__StartWorkflowExecutionRequest *schedule_start(const struct schedule *s, uint64_t number)
{
    size_t at;
    char text[100], when[CIVIL_TEXT];
    const Wc__Action *a = action_find(s, number, &at);
    ASSERT(a);
    Tp__StartWorkflowExecutionRequest *w = schedule_compose(s->s->ns, s->s->schedule);
    proto_set_text(&w->workflow_id, a->workflow_id);
    proto_set_text(&w->identity, "temporal-scheduler");
    snprintf(text, sizeof text, "schedule:%s:%llu", s->s->run_id, (unsigned long long)number);
    proto_set_text(&w->request_id, text);
    civil_rfc3339_format(a->nominal_ms / 1000 - (a->nominal_ms % 1000 < 0), 0, when);
    attribute_set(&w->search_attributes, "TemporalScheduledStartTime", "Datetime", when);
    attribute_set(&w->search_attributes, "TemporalScheduledById", "Keyword", s->s->id);
    return w;
}

/* ---- what came of it ---- */

static void action_drop(struct schedule *s, size_t at)
{
    proto_free(s->s->running[at]);
    memmove(&s->s->running[at], &s->s->running[at + 1], (--s->s->n_running - at) * sizeof s->s->running[0]);
}

static void remember(struct schedule *s, const Wc__Action *a, int64_t now_ns)
{
    Tp__ScheduleActionResult *r = proto_new(&tp__schedule_action_result__descriptor);
    temporal_set_time(&r->schedule_time, a->actual_ms * 1000000);
    temporal_set_time(&r->actual_time, now_ns);
    r->start_workflow_result = proto_new(&tp__workflow_execution__descriptor);
    proto_set_text(&r->start_workflow_result->workflow_id, a->workflow_id);
    proto_set_text(&r->start_workflow_result->run_id, a->first_run_id);
    r->start_workflow_status = TP__WORKFLOW_EXECUTION_STATUS__WORKFLOW_EXECUTION_STATUS_RUNNING;
    if (s->s->n_recent == SCHEDULE_RECENT_MAX) {
        proto_free(s->s->recent[0]);
        memmove(s->s->recent, s->s->recent + 1, --s->s->n_recent * sizeof s->s->recent[0]);
    }
    proto_push(&s->s->n_recent, &s->s->recent, r);
}

void schedule_started(struct schedule *s, struct durable_turn *t, uint64_t number, const struct uuid *run)
{
    size_t at;
    Wc__Action *a = action_find(s, number, &at);
    if (!a || *a->run_id)
        return;
    if (run) {
        char text[UUID_TEXT];
        uuid_format(run, text);
        proto_set_text(&a->run_id, text);
        proto_set_text(&a->first_run_id, text);
        remember(s, a, t->now_ns);
    }
    if (!run || a->forgets)
        action_drop(s, at);
    turned(s, t);
}

void schedule_told(struct schedule *s, struct durable_turn *t, uint64_t number, enum schedule_wish w)
{
    size_t at;
    Wc__Action *a = action_find(s, number, &at);
    if (!a)
        return;
    if (w == SCHEDULE_CANCEL)
        a->cancel = SCHEDULE_WISH_TOLD;
    else
        a->terminate = SCHEDULE_WISH_TOLD;
    t->changed = true;
}

void schedule_went_on(struct schedule *s, struct durable_turn *t, uint64_t number, const struct uuid *next_run)
{
    size_t at;
    char text[UUID_TEXT];
    Wc__Action *a = action_find(s, number, &at);
    if (!a)
        return;
    uuid_format(next_run, text);
    proto_set_text(&a->run_id, text);
    t->changed = true;
}

static void status_set(struct schedule *s, const Wc__Action *a, Tp__WorkflowExecutionStatus status)
{
    for (size_t i = 0; i < s->s->n_recent; i++) {
        const Tp__WorkflowExecution *x = s->s->recent[i]->start_workflow_result;
        if (!strcmp(x->run_id, a->first_run_id) && !strcmp(x->workflow_id, a->workflow_id))
            s->s->recent[i]->start_workflow_status = status;
    }
}

void schedule_ended(struct schedule *s, struct durable_turn *t, uint64_t number, Tp__WorkflowExecutionStatus status)
{
    size_t at;
    struct overlap_rules rules = schedule_rules(s);
    const Wc__Action *a = action_find(s, number, &at);
    if (!a)
        return;
    status_set(s, a, status);
    bool failed = status == TP__WORKFLOW_EXECUTION_STATUS__WORKFLOW_EXECUTION_STATUS_FAILED ||
                  status == TP__WORKFLOW_EXECUTION_STATUS__WORKFLOW_EXECUTION_STATUS_TIMED_OUT;
    if (overlap_ended(&s->overlap, &rules, failed)) {
        struct buf note;
        buf_init(&note, KIB(8));
        buf_printf(&note, "paused due to workflow failure: %s", a->workflow_id);
        proto_set_str(&s->s->schedule->state->notes, buf_str(&note));
        buf_done(&note);
    }
    action_drop(s, at);
    turned(s, t);
}
