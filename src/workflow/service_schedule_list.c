#include "workflow/filter_text.h"
#include "workflow/service_impl.h"

#include <stdlib.h>

enum { PAGE_DEFAULT = 1000 };

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

static void listing_fail(struct listing *x, int r, const struct err *e)
{
    service_fail(x->c, -(enum code)r, "%s", e->text);
    listing_free(x);
}

static struct listing *listing_new(struct service *s, struct service_call *c, const char *query, bool counting)
{
    struct filter_rules rules = { .limits = s->w.limits, .find = service_attribute_find,
                                  .ctx = service_namespace_find(s, c->ns), .counting = counting };
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

static Tp__ScheduleListEntry *entry_of(const struct journal_found *f)
{
    ProtobufCMessage *m = NULL;
    struct err e;
    if (!f->index.extra.size || proto_decode_new(&tp__schedule_list_entry__descriptor, f->index.extra, MIB(16), &m, &e) < 0)
        m = proto_new(&tp__schedule_list_entry__descriptor);
    Tp__ScheduleListEntry *w = (Tp__ScheduleListEntry *)(void *)m;
    proto_set_str(&w->schedule_id, f->key.id);
    return w;
}

static void on_list(struct journal_list *q, int r, const struct journal_found *rows, size_t count, struct str next,
                    const struct err *e)
{
    struct listing *x = CONTAINER_OF(q, struct listing, list);
    if (r < 0) {
        listing_fail(x, r, e);
        return;
    }
    Tp__ListSchedulesResponse *w = proto_new(&tp__list_schedules_response__descriptor);
    for (size_t i = 0; i < count; i++)
        proto_push(&w->n_schedules, &w->schedules, entry_of(&rows[i]));
    if (next.size)
        proto_set_bytes(&w->next_page_token, next);
    service_reply(x->c, w);
    proto_free(w);
    listing_free(x);
}

void service_schedule_list(struct service *s, struct service_call *c)
{
    const Tp__ListSchedulesRequest *q = c->q;
    struct listing *x = listing_new(s, c, q->query, false);
    if (!x)
        return;
    struct err e;
    x->list = (struct journal_list){ .kind = JOURNAL_SCHEDULE, .ns = str_of(x->ns), .filter = x->filter,
                                     .limit = q->maximum_page_size > 0 ? (uint32_t)MIN(q->maximum_page_size, PAGE_DEFAULT)
                                                                       : PAGE_DEFAULT,
                                     .after = proto_bytes(&q->next_page_token), .on_done = on_list };
    int r = journal_list(s->w.journal, &x->list, &e);
    if (r < 0)
        listing_fail(x, r, &e);
}

static void on_count(struct journal_count *q, int r, uint64_t count, const struct journal_group *groups,
                     size_t group_count, const struct err *e)
{
    (void)groups;
    (void)group_count;
    struct listing *x = CONTAINER_OF(q, struct listing, count);
    if (r < 0) {
        listing_fail(x, r, e);
        return;
    }
    Tp__CountSchedulesResponse w;
    tp__count_schedules_response__init(&w);
    w.count = (int64_t)count;
    service_reply(x->c, &w);
    listing_free(x);
}

void service_schedule_count(struct service *s, struct service_call *c)
{
    const Tp__CountSchedulesRequest *q = c->q;
    struct listing *x = listing_new(s, c, q->query, false); /* groups: there is one status only */
    if (!x)
        return;
    struct err e;
    x->count = (struct journal_count){ .kind = JOURNAL_SCHEDULE, .ns = str_of(x->ns), .filter = x->filter,
                                       .on_done = on_count };
    int r = journal_count(s->w.journal, &x->count, &e);
    if (r < 0)
        listing_fail(x, r, &e);
}
