#include "api/docket.h"
#include "api/docket_query.h"
#include "api/page.h"
#include "gateway/deadline.h"
#include "gateway/prefer.h"
#include "invocation/account.h"
#include "net/http1_write.h"

#include <stdio.h>
#include <stdlib.h>

struct docket {
    struct docket_world world;
    struct limits head_limits; /* of answers as they are kept */
    struct list calls;
    uint32_t waiting;
    bool stopped;
};

enum { NAME_BYTES = 64, RESULT_HEAD_MAX = 4 * 1024 * 1024 };

struct docket_call {
    struct list_node node;
    struct docket *docket;
    struct http_call *call;
    struct desk_ask ask;
    struct desk_waiter waiter;
    struct loop_timer timer; /* while it waits */
    uint64_t until_us;       /* waits so long for the end; 0: not at all */
    struct uuid id;
    bool waits, result, keyed;
    struct journal_list list;
    struct docket_query query;
};

/* ---- life of a call --------------------------------------------------------------------------- */

static void on_end(struct desk_waiter *w);
static void on_late(struct loop_timer *t);

static struct docket_call *call_new(struct docket *d, struct http_call *c, const struct uuid *id)
{
    struct docket_call *q = xcalloc(1, sizeof *q);
    q->docket = d;
    q->call = c;
    q->id = *id;
    q->waiter.on_end = on_end;
    q->timer.on_due = on_late;
    list_push(&d->calls, &q->node);
    return q;
}

static void call_free(struct docket_call *q)
{
    ASSERT(!q->waiter.dossier);
    loop_cancel(q->docket->world.loop, &q->timer);
    list_remove(&q->docket->calls, &q->node);
    docket_query_done(&q->query);
    free(q);
}

/* ---- answers ---------------------------------------------------------------------------------- */

static void refuse(struct http_call *c, int r, const struct err *e)
{
    if (r == -CODE_NOT_FOUND)
        page_problem(c, 404, "never accepted", e->text);
    else if (r == -CODE_PRECONDITION)
        page_problem(c, 409, "its status does not allow that", e->text);
    else
        page_err(c, e);
}

static void account_give(struct http_call *c, int status, const struct uuid *id, const struct invocation_facts *f)
{
    struct buf text;
    buf_init(&text, ACCOUNT_BYTES_MAX);
    account_write(id, f, &text);
    buf_text(&text, "\n");
    ASSERT(!text.overflow);
    http_answer(c, status, PAGE_JSON, invoked_status_ended(f->status) ? NULL : "Retry-After: 1\r\n", buf_str(&text));
    buf_done(&text);
}

/* What a browser would take as said by the API about itself. */
static bool is_for_browsers(struct str name)
{
    static const char *const names[] = { "Set-Cookie", "Clear-Site-Data", "Strict-Transport-Security", "Service-Worker-Allowed",
                                         "WWW-Authenticate", "Refresh", "Alt-Svc", "NEL", "Report-To", "Reporting-Endpoints",
                                         "Link", "X-Content-Type-Options" };
    bool found = (name.size >= 15 && str_eq_nocase(str_head(name, 15), STR("Access-Control-"))) ||
                 (name.size >= 16 && str_eq_nocase(str_head(name, 16), STR("Content-Security")));
    for (size_t i = 0; i < COUNT_OF(names) && !found; i++)
        found = str_eq_nocase(name, str_of(names[i]));
    return found;
}

static void answer_give(struct docket *d, struct http_call *c, struct str answer)
{
    struct http1_head h;
    struct buf fields;
    http1_head_init(&h, HTTP1_RESPONSE, &d->head_limits);
    buf_init(&fields, RESULT_HEAD_MAX);
    if (http1_head_feed(&h, answer.at, answer.size) != HTTP1_DONE || h.status < 200 || h.status > 599) {
        page_problem(c, 500, "the answer cannot be read", "what is kept of it is no HTTP answer");
    } else {
        for (uint32_t i = 0; i < h.field_count; i++) {
            const struct http_field *f = &h.fields[i];
            if (!f->hop && f->id != HTTP_FIELD_CONTENT_LENGTH && f->id != HTTP_FIELD_DATE && !is_for_browsers(f->name))
                http1_write_field(&fields, f->name, f->value);
        }
        buf_printf(&fields, "Hob-Answer-Status: %d\r\nX-Content-Type-Options: nosniff\r\nContent-Security-Policy: "
                            "default-src 'none'; sandbox\r\n", h.status);
        ASSERT(!fields.overflow);
        AUTO_FREE char *text = xstrndup(buf_at(&fields), fields.size);
        http_answer(c, h.status, NULL, text, str_from(answer, h.size));
    }
    buf_done(&fields);
    http1_head_done(&h);
}

static void result_give(struct docket *d, struct http_call *c, const struct desk_told *told)
{
    const struct invocation_facts *f = &told->facts;
    const char *why = f->why && f->why[0] ? f->why : invoked_status_name(f->status);
    if (!invoked_status_ended(f->status))
        page_problem(c, 409, "it has not ended", "its end can be waited for: ?wait=10");
    else if (told->answer.at && f->status != INVOKED_CANCELLED && f->status != INVOKED_AMBIGUOUS)
        answer_give(d, c, told->answer);
    else
        page_problem(c, 409, f->status == INVOKED_AMBIGUOUS ? "ambiguous" : "it ended without an answer", why);
}

/* ---- asking, waiting -------------------------------------------------------------------------- */

static void on_told(struct desk_ask *a, int r, const struct desk_told *told, const struct err *e);

static void ask(struct docket_call *q, enum desk_verb verb)
{
    q->ask.verb = verb;
    q->ask.id = q->id;
    q->ask.with_answer = q->result;
    q->ask.on_done = on_told;
    desk_ask(q->docket->world.desk, &q->ask);
}

static void wait_over(struct docket_call *q)
{
    ASSERT(q->waits);
    q->waits = false;
    q->docket->waiting--;
    desk_wait_stop(&q->waiter);
    loop_cancel(q->docket->world.loop, &q->timer);
}

static void on_end(struct desk_waiter *w)
{
    struct docket_call *q = CONTAINER_OF(w, struct docket_call, waiter);
    wait_over(q);
    ask(q, DESK_LOOK);
}

static void on_late(struct loop_timer *t)
{
    struct docket_call *q = CONTAINER_OF(t, struct docket_call, timer);
    q->until_us = 0;
    wait_over(q);
    ask(q, DESK_LOOK);
}

static void wait_begin(struct docket_call *q)
{
    const struct docket_world *w = &q->docket->world;
    uint64_t now_us = loop_now_us(w->loop);
    q->waits = true;
    q->docket->waiting++;
    desk_wait(w->desk, &q->id, &q->waiter);
    loop_after(w->loop, &q->timer, q->until_us > now_us ? q->until_us - now_us : 0);
}

static void told_give(struct docket_call *q, int r, const struct desk_told *told)
{
    if (q->result)
        result_give(q->docket, q->call, told);
    else
        account_give(q->call, q->ask.verb == DESK_REDRIVE || r > 0 ? 202 : 200, &q->id, &told->facts);
}

static void on_told(struct desk_ask *a, int r, const struct desk_told *told, const struct err *e)
{
    struct docket_call *q = CONTAINER_OF(a, struct docket_call, ask);
    struct docket *d = q->docket;
    if (r >= 0 && q->until_us > loop_now_us(d->world.loop) && !d->stopped && !invoked_status_ended(told->facts.status)) {
        wait_begin(q);
        return;
    }
    struct http_call *c = q->call;
    struct uuid id = q->id;
    bool elsewhere = r == -CODE_NOT_FOUND && a->verb == DESK_LOOK && !q->result && !q->keyed;
    if (r >= 0)
        told_give(q, r, told);
    else if (!elsewhere)
        refuse(c, r, e);
    call_free(q);
    if (elsewhere)
        d->world.unknown(d->world.ctx, c, &id);
}

/* "?wait=5". False: refused. */
static bool wait_read(struct docket *d, struct http_call *c, uint64_t *ret_until_us)
{
    struct str wait = http_call_param(c, "wait");
    uint64_t ms = 0;
    *ret_until_us = 0;
    if (wait.at && !prefer_seconds(wait, &ms)) {
        page_problem(c, 400, "bad parameter", "wait: seconds expected, as in ?wait=10");
        return false;
    }
    if (ms > 0 && d->waiting >= d->world.limits->api_watchers_max) {
        d->world.on_limit(d->world.ctx, "api_watchers_max");
        page_problem(c, 429, "too many wait", "api_watchers_max calls wait for the end of an invocation already");
        return false;
    }
    if (ms > 0)
        *ret_until_us = loop_now_us(d->world.loop) + MIN(ms, d->world.limits->invoke_wait_ms_max) * 1000;
    return true;
}

static void look(struct docket *d, struct http_call *c, const struct uuid *id, bool result, bool keyed)
{
    uint64_t until_us;
    if (!wait_read(d, c, &until_us))
        return;
    struct docket_call *q = call_new(d, c, id);
    q->until_us = until_us;
    q->result = result;
    q->keyed = keyed;
    ask(q, DESK_LOOK);
}

/* ---- what can be asked for -------------------------------------------------------------------- */

void docket_look(struct docket *d, struct http_call *c, const struct uuid *id) { look(d, c, id, false, false); }
void docket_result(struct docket *d, struct http_call *c, const struct uuid *id) { look(d, c, id, true, false); }
void docket_cancel(struct docket *d, struct http_call *c, const struct uuid *id) { ask(call_new(d, c, id), DESK_CANCEL); }

void docket_redrive(struct docket *d, struct http_call *c, const struct uuid *id)
{
    struct str text = http_call_header(c, "Hob-Deadline");
    int64_t wall_ms = loop_wall_ms(), deadline_ms = 0;
    uint64_t left_ms;
    struct err e;
    if (text.at) {
        if (deadline_parse(text, wall_ms, &left_ms, &e) < 0) {
            page_err(c, &e);
            return;
        }
        deadline_ms = wall_ms + (int64_t)MIN(left_ms, UINT64_C(36500) * 86400000);
    }
    struct docket_call *q = call_new(d, c, id);
    q->ask.deadline_ms = deadline_ms;
    ask(q, DESK_REDRIVE);
}

void docket_checkpoint(struct docket *d, struct http_call *c, const struct uuid *id)
{
    const struct limits *l = d->world.limits;
    struct str body = http_call_body(c), number = http_call_header(c, "Hob-Attempt");
    uint64_t attempt, most = MIN(l->invoke_checkpoint_bytes_max, l->http_head_bytes_max / 4); /* the next attempt has it in its head */
    if (!number.at || !str_u64(number, &attempt) || attempt < 1 || attempt > UINT32_MAX) {
        page_problem(c, 400, "bad header", "Hob-Attempt: want the number of the attempt that this is the checkpoint of, as it came with it");
        return;
    }
    if (body.size > most) {
        char why[120];
        snprintf(why, sizeof why, "a checkpoint has at most %llu bytes here (limit invoke_checkpoint_bytes_max)", (unsigned long long)most);
        d->world.on_limit(d->world.ctx, "invoke_checkpoint_bytes_max");
        page_problem(c, 413, "the checkpoint is too large", why);
        return;
    }
    struct docket_call *q = call_new(d, c, id);
    q->ask.attempt = (uint32_t)attempt;
    q->ask.checkpoint = body.size > 0 ? body : STR("");
    ask(q, DESK_CHECKPOINT);
}

void docket_by_key(struct docket *d, struct http_call *c)
{
    struct str key = http_call_param(c, "key");
    char ns[NAME_BYTES], service[NAME_BYTES];
    if (!page_param_text(c, "namespace", ns, sizeof ns) || !page_param_text(c, "service", service, sizeof service) || !ns[0] ||
        !service[0] || key.size == 0 || key.size > PREFER_EVENT_MAX) {
        page_problem(c, 400, "bad parameter", "a key is one of a service: want namespace=, service= and key=");
        return;
    }
    struct uuid id = desk_id_of(str_of(ns), str_of(service), key);
    look(d, c, &id, false, true);
}

/* ---- lists ------------------------------------------------------------------------------------ */

static json_t *row_json(const struct journal_found *f, const struct limits *l)
{
    AUTO_JSON json_t *all = NULL;
    struct err e;
    json_t *j = json_object();
    char id[UUID_TEXT];
    snprintf(id, sizeof id, STR_FMT, (int)MIN(f->key.id.size, sizeof id - 1), f->key.id.at);
    json_object_set_new(j, "id", json_string(id));
    if (f->index.extra.size > 0 && json_read(f->index.extra, l, &all, &e) == 0)
        json_object_update(j, all);
    else /* it did not fit into its row: what it is found by */
        json_object_update_new(j, json_pack("{s:s%, s:s%, s:s}", "namespace", f->index.queue.at, f->index.queue.size, "service",
                                            f->index.type.at, f->index.type.size, "status",
                                            invoked_status_name((enum invoked_status)f->index.status)));
    return j;
}

static void on_list(struct journal_list *list, int r, const struct journal_found *rows, size_t count, struct str next,
                    const struct err *e)
{
    struct docket_call *q = CONTAINER_OF(list, struct docket_call, list);
    struct http_call *c = q->call;
    if (r < 0) {
        page_err(c, e);
        call_free(q);
        return;
    }
    json_t *all = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(all, row_json(&rows[i], q->docket->world.limits));
    json_t *j = json_pack("{s:o}", "invocations", all);
    if (next.size > 0) {
        struct buf place;
        buf_init(&place, 2 * DOCKET_PLACE_MAX);
        docket_place_write(next, &place);
        ASSERT(!place.overflow);
        json_object_set_new(j, "next", json_stringn(buf_at(&place), place.size));
        buf_done(&place);
    }
    call_free(q);
    page_json(c, 200, PAGE_JSON, j);
}

void docket_list(struct docket *d, struct http_call *c)
{
    struct uuid none = { 0 };
    struct err e;
    char ns[NAME_BYTES], service[NAME_BYTES];
    uint64_t limit;
    if (!page_param_u64(c, "limit", DOCKET_LIMIT_DEFAULT, DOCKET_LIMIT_MAX, &limit) ||
        !page_param_text(c, "namespace", ns, sizeof ns) || !page_param_text(c, "service", service, sizeof service)) {
        page_problem(c, 400, "bad parameter", "limit: want a number from 1 to 1000; namespace, service: a name");
        return;
    }
    struct docket_call *q = call_new(d, c, &none);
    int r = docket_query_read(str_of(ns), str_of(service), http_call_param(c, "status"), http_call_param(c, "after"), &q->query, &e);
    if (r == 0) {
        q->list = (struct journal_list){ .kind = JOURNAL_INVOCATION, .ns = STR(DESK_SPACE), .filter = q->query.filter,
                                         .limit = (uint32_t)limit, .after = { q->query.place, q->query.place_size },
                                         .on_done = on_list };
        r = journal_list(d->world.journal, &q->list, &e);
    }
    if (r < 0) {
        call_free(q);
        page_err(c, &e);
    }
}

/* ---- life ------------------------------------------------------------------------------------- */

struct docket *docket_new(const struct docket_world *w)
{
    struct docket *d = xcalloc(1, sizeof *d);
    d->world = *w;
    d->head_limits = *w->limits;
    d->head_limits.http_head_bytes_max = d->head_limits.http_line_bytes_max = RESULT_HEAD_MAX;
    d->head_limits.http_fields_max = 2 * w->limits->http_fields_max + 16;
    list_init(&d->calls);
    return d;
}

void docket_stop(struct docket *d)
{
    d->stopped = true;
    LIST_EACH(&d->calls, n, tmp) {
        struct docket_call *q = CONTAINER_OF(n, struct docket_call, node);
        if (!q->waits)
            continue;
        wait_over(q);
        ask(q, DESK_LOOK);
    }
}

bool docket_idle(const struct docket *d) { return d->calls.count == 0; }

void docket_free(struct docket *d)
{
    if (!d)
        return;
    LIST_EACH(&d->calls, n, tmp)
        call_free(CONTAINER_OF(n, struct docket_call, node));
    free(d);
}
