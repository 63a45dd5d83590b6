/* desk_ask.c -- what clients ask of the desk: each is one input of one id, and perhaps one reading of its answer. */
#include "artifact/hasher.h"
#include "invocation/desk_impl.h"

#include <stdlib.h>

static const char **texts_of(struct invocation_facts *f, size_t i)
{
    const char **texts[] = { &f->ns, &f->service, &f->host, &f->method, &f->path, &f->key,
                             &f->why, &f->callback, &f->callback_secret, &f->callback_why };
    return i < COUNT_OF(texts) ? texts[i] : NULL;
}

static void told_drop(struct desk_ask *q)
{
    const char **text;
    for (size_t i = 0; (text = texts_of(&q->told.facts, i)) != NULL; i++)
        free((void *)(uintptr_t)*text);
    q->told = (struct desk_told){ 0 };
}

/* The machine goes on; what was asked about is as it was in this turn. */
static void told_take(struct desk_ask *q, const struct invocation *v)
{
    const char **text;
    invocation_facts(v, &q->told.facts);
    for (size_t i = 0; (text = texts_of(&q->told.facts, i)) != NULL; i++)
        *text = xstrdup(*text);
    q->told.facts.fingerprint = NULL;
}

static bool full(struct desk *d) { return desk_tally(d)->queued >= desk_limits(d)->invoke_waiting_max; }

static void accept(struct desk_ask *q, const struct durable_view *v)
{
    struct invocation_facts f;
    struct invocation *made = v->machine;
    q->told.fresh = !made;
    if (!made && full(q->desk)) {
        q->result = err_set(&q->why, CODE_EXHAUSTED, "invoke_waiting_max durable invocations wait for their attempt: "
                                                     "come again later, or raise the limit");
        return;
    }
    if (made) {
        invocation_facts(made, &f);
        q->told.other = memcmp(f.fingerprint, q->spec.fingerprint, sizeof q->spec.fingerprint) != 0;
    } else {
        made = invocation_new(&q->spec, v->fresh->now_ns);
        invocation_accept(made, durable_turn_create(v->fresh, &q->id, made), q->spec.request);
    }
    told_take(q, made);
}

static void change(struct desk_ask *q, const struct durable_view *v)
{
    enum invoked_status before;
    struct invocation_facts f;
    invocation_facts(v->machine, &f);
    before = f.status;
    switch (q->verb) {
    case DESK_CANCEL: q->result = invocation_cancel(v->machine, v->turn, &q->why); break;
    case DESK_REDRIVE: q->result = invocation_redrive(v->machine, v->turn, q->deadline_ms, &q->why); break;
    case DESK_CHECKPOINT:
        q->result = invocation_checkpoint(v->machine, v->turn, q->attempt, q->checkpoint, &q->why);
        break;
    case DESK_ACCEPT:
    case DESK_LOOK: break;
    }
    if (before != INVOKED_AMBIGUOUS) /* that was counted as an end already */
        desk_ended_count(q->desk, before, v->machine);
    told_take(q, v->machine);
}

static void ask_apply(struct durable_input *in, const struct durable_view *v)
{
    struct desk_ask *q = CONTAINER_OF(in, struct desk_ask, in);
    told_drop(q);
    q->result = 0;
    if (q->verb == DESK_ACCEPT)
        accept(q, v);
    else if (v->machine)
        change(q, v);
    else
        q->result = err_set(&q->why, CODE_NOT_FOUND, "there is no durable invocation %s (any more)", q->text);
}

static void tell(struct desk_ask *q, int r, const struct err *e)
{
    struct desk_told told = q->told;
    struct invocation_facts keep = told.facts;
    q->told = (struct desk_told){ 0 };
    q->on_done(q, r, r < 0 ? NULL : &told, e); /* may free q */
    const char **text;
    for (size_t i = 0; (text = texts_of(&keep, i)) != NULL; i++)
        free((void *)(uintptr_t)*text);
}

static void on_answer(struct journal_read *read, int r, const struct journal_row *rows, size_t count, const struct err *e)
{
    struct desk_ask *q = CONTAINER_OF(read, struct desk_ask, read.read);
    if (r == 0 && count > 0)
        q->told.answer = rows[0].bytes;
    tell(q, r, e);
}

static void count(struct desk_ask *q)
{
    struct desk_counts *n = desk_tally(q->desk);
    if (q->verb == DESK_ACCEPT) {
        n->accepted += q->told.fresh;
        n->conflicts += q->told.other;
        n->repeated += !q->told.fresh && !q->told.other;
    }
    n->redrives += q->verb == DESK_REDRIVE;
}

static void ask_done(struct durable_input *in, int r, const struct err *e)
{
    struct desk_ask *q = CONTAINER_OF(in, struct desk_ask, in);
    struct err why;
    if (r < 0 || q->result < 0) {
        desk_tally(q->desk)->refused += q->verb == DESK_ACCEPT;
        tell(q, r < 0 ? r : q->result, r < 0 ? e : &q->why);
        return;
    }
    count(q);
    if (!q->with_answer || q->told.other || q->told.facts.answer_row == 0 ||
        !invoked_status_ended(q->told.facts.status)) {
        tell(q, q->result, NULL);
        return;
    }
    q->read = (struct durable_history){ .read = { .key = desk_key(q->text), .from = q->told.facts.answer_row,
                                                  .to = q->told.facts.answer_row + 1, .bytes_max = 1,
                                                  .on_done = on_answer } };
    q->read.read.key.run = q->id;
    r = durable_read(desk_host(q->desk), &q->read, &why);
    if (r < 0)
        tell(q, r, &why);
}

void desk_ask(struct desk *d, struct desk_ask *q)
{
    q->desk = d;
    q->told = (struct desk_told){ 0 };
    uuid_format(&q->id, q->text);
    q->in = (struct durable_input){ .key = desk_key(q->text), .creates = q->verb == DESK_ACCEPT,
                                    .apply = ask_apply, .done = ask_done };
    durable_send(desk_host(d), &q->in);
}

bool desk_hold(struct desk *d, uint64_t *held, uint64_t bytes)
{
    uint64_t *all = &desk_tally(d)->held_bytes, others = *all - *held;
    ASSERT(*all >= *held);
    if (bytes > *held && others + bytes > desk_limits(d)->invoke_bodies_bytes_max)
        return false;
    *all = others + bytes;
    *held = bytes;
    return true;
}

struct uuid desk_id_of(struct str ns, struct str service, struct str key)
{
    struct buf text;
    struct uuid id;
    buf_init(&text, KIB(64));
    struct str parts[] = { ns, service, key };
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        buf_printf(&text, "%zu:", parts[i].size); /* so that no two triples are one text */
        buf_str_append(&text, parts[i]);
    }
    ASSERT(!text.overflow);
    struct digest hash = hasher_of(buf_at(&text), text.size);
    buf_done(&text);
    memcpy(id.at, hash.at, sizeof id.at);
    id.at[6] = (uint8_t)((id.at[6] & 0x0f) | 0x80); /* version 8 */
    id.at[8] = (uint8_t)((id.at[8] & 0x3f) | 0x80);
    return id;
}
