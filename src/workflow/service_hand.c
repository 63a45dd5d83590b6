#include "workflow/service_impl.h"

#include <inttypes.h>
#include <stdlib.h>

void handing_done(struct handing *h)
{
    run_task_given_done(&h->given);
    proto_free(TAKE(h->activity));
    free(TAKE(h->ns));
    free(TAKE(h->id));
}

static void page_free(struct page *p)
{
    proto_free(TAKE(p->events));
}

static int activity_fill(struct handing *h, const Tp__History *events, struct err *e)
{
    const Tp__HistoryEvent *event = events->n_events == 1 ? events->events[0] : NULL;
    const Tp__ActivityTaskScheduledEventAttributes *a = event ? event->activity_task_scheduled_event_attributes : NULL;
    if (!event || event->attributes_case !=
                      TP__HISTORY_EVENT__ATTRIBUTES_ACTIVITY_TASK_SCHEDULED_EVENT_ATTRIBUTES)
        return err_set(e, CODE_DATA_LOSS, "workflow %s: event %" PRId64 " is not that of an activity", h->id,
                       h->token.scheduled_id);
    proto_set_message(&h->activity->input, proto_dup(a->input));
    proto_set_message(&h->activity->header, proto_dup(a->header));
    service_token_write(&h->token, &h->activity->task_token);
    return 0;
}

static void workflow_fill(struct handing *h, Tp__History *take_events, int64_t next)
{
    Tp__PollWorkflowTaskQueueResponse *w = h->given.answer;
    if (next) {
        service_history_token(&w->next_page_token, &h->run, next, h->given.to, false);
    } else {
        for (size_t i = 0; i < h->given.extra_count; i++)
            proto_push(&take_events->n_events, &take_events->events, TAKE(h->given.extra[i]));
        h->given.extra_count = 0;
    }
    proto_set_message(&w->history, take_events);
    if (!w->task_token.len)
        service_token_write(&h->given.token, &w->task_token);
}

static void on_page(struct page *p, int r, const struct err *e)
{
    struct handing *h = CONTAINER_OF(p, struct handing, page);
    struct err own;
    if (r >= 0 && h->activity) {
        r = activity_fill(h, p->events, &own);
        e = &own;
    } else if (r >= 0) {
        workflow_fill(h, TAKE(p->events), p->next);
    }
    page_free(p);
    h->ready(h, r < 0 ? e : NULL);
}

void handing_begin(struct handing *h, struct service *s, const struct journal_key *key)
{
    free(h->ns);
    free(h->id);
    h->ns = xstrndup(key->ns.at, key->ns.size);
    h->id = xstrndup(key->id.at, key->id.size);
    h->run = key->run;
    h->page = (struct page){ .s = s, .ns = xstrdup(h->ns), .id = xstrdup(h->id), .run = h->run,
                             .from = h->activity ? h->token.scheduled_id : h->given.from,
                             .to = h->activity ? h->token.scheduled_id + 1 : h->given.to,
                             .events_max = SERVICE_PAGE_EVENTS, .ready = on_page };
    if (h->page.from < h->page.to) {
        page_read(&h->page);
        return;
    }
    free(TAKE(h->page.ns)); /* a sticky query: nothing to read */
    free(TAKE(h->page.id));
    h->page.events = proto_new(&tp__history__descriptor);
    on_page(&h->page, 0, NULL);
}
