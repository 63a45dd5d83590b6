#include "invocation/invocation.h"
#include "codec/proto.h"
#include "invocation/state.pb-c.h"

#include <stdlib.h>
#include <string.h>

enum {
    WHY_BYTES_MAX = 512,
    REFUSED_DOUBLINGS_MAX = 16,
    CALLBACK_FIRST_MS = 1000,
    CALLBACK_LONGEST_MS = 600000,
    RETRY_AFTER_MS_MAX = 86400000, /* of a function that says "later" */
    STATE_MEMORY_MAX = 1048576,
};

struct invocation {
    Is__Invocation *s; /* of proto_new() */
    bool told; /* the time of its attempt or callback has come: that is not due any more. In memory: told again after a load */
};

static const char *const status_names[] = {
    [INVOKED_WAITING] = "accepted", [INVOKED_RUNNING] = "running", [INVOKED_DONE] = "done",
    [INVOKED_FAILED] = "failed",   [INVOKED_DEAD] = "dead",       [INVOKED_CANCELLED] = "cancelled",
    [INVOKED_AMBIGUOUS] = "ambiguous",
};

const char *invoked_status_name(enum invoked_status s)
{
    ASSERT(s >= INVOKED_WAITING && s <= INVOKED_AMBIGUOUS);
    return status_names[s];
}

bool invoked_status_parse(struct str name, enum invoked_status *ret)
{
    for (size_t i = INVOKED_WAITING; i < COUNT_OF(status_names); i++)
        if (str_is(name, status_names[i])) {
            *ret = (enum invoked_status)i;
            return true;
        }
    return false;
}

bool invoked_status_ended(enum invoked_status s) { return s > INVOKED_RUNNING; }

/* ---- memory --------------------------------------------------------------------------------- */

static enum invoked_status status_of(const struct invocation *v) { return (enum invoked_status)v->s->status; }

void invocation_free(struct invocation *v)
{
    if (!v)
        return;
    proto_free(v->s);
    free(v);
}

void invocation_pack(const struct invocation *v, struct buf *into) { proto_encode(v->s, into); }

size_t invocation_bytes(const struct invocation *v) { return sizeof *v + 2 * proto_size(v->s) + 512; }

static bool sane(const Is__Invocation *s)
{
    return s->status >= INVOKED_WAITING && s->status <= INVOKED_AMBIGUOUS && s->fingerprint.len == 32 &&
           s->attempts_max > 0 && (s->status != INVOKED_RUNNING || s->attempt > 0) &&
           invoked_status_ended((enum invoked_status)s->status) == (s->ended_ns != 0);
}

void invocation_check(const struct invocation *v)
{
    const Is__Invocation *s = v->s;
    ASSERT(sane(s));
    ASSERT(s->answer_row <= s->rows && s->checkpoint_row <= s->rows && (s->rows == 0 || s->answer_row != 1));
    ASSERT(s->checkpoint <= s->attempt && s->unseen <= s->attempt && s->refused <= s->unseen);
    ASSERT(!s->callback_done || s->ended_ns != 0);
    ASSERT(!s->callback_given_up || s->callback_done);
    ASSERT(s->backoff_ms > 0 && s->backoff_max_ms >= s->backoff_ms);
}

int invocation_unpack(struct str state, struct invocation **ret, struct err *e)
{
    ProtobufCMessage *read;
    int r = proto_decode_new(&is__invocation__descriptor, state, STATE_MEMORY_MAX, &read, e);
    if (r < 0)
        return err_set(e, CODE_DATA_LOSS, "the state of an invocation cannot be read: %s", e->text);
    Is__Invocation *s = (Is__Invocation *)read;
    if (!sane(s)) {
        proto_free(s);
        return err_set(e, CODE_DATA_LOSS, "these %zu bytes are not the state of an invocation", state.size);
    }
    struct invocation *v = xcalloc(1, sizeof *v);
    v->s = s;
    *ret = v;
    return 0;
}

/* ---- life ------------------------------------------------------------------------------------- */

static int64_t ms_of(int64_t ns) { return ns / 1000000; }

/* The next row, or the last once more: `of` is where the last of its sort stands. One turn writes a row once. */
static uint64_t row_take(struct invocation *v, struct durable_turn *t, uint64_t of, char *take_bytes, size_t size)
{
    Is__Invocation *s = v->s;
    bool written = t->row_count > 0 && t->rows[t->row_count - 1].first == s->rows;
    if (of == 0 || of != s->rows || written)
        s->rows++;
    durable_turn_row(t, s->rows, 1, take_bytes, size);
    return s->rows;
}

static uint64_t row(struct invocation *v, struct durable_turn *t, uint64_t of, struct str bytes)
{
    char *copy = xcalloc(1, bytes.size + 1);
    if (bytes.size > 0)
        memcpy(copy, bytes.at, bytes.size);
    return row_take(v, t, of, copy, bytes.size);
}

static void changed(struct invocation *v, struct durable_turn *t)
{
    t->changed = t->indexed = true;
    invocation_check(v);
}

struct invocation *invocation_new(const struct invocation_spec *q, int64_t now_ns)
{
    ASSERT(q->attempts_max > 0 && q->backoff_ms > 0 && q->backoff_max_ms >= q->backoff_ms);
    struct invocation *v = xcalloc(1, sizeof *v);
    Is__Invocation *s = v->s = proto_new(&is__invocation__descriptor);
    proto_set_str(&s->ns, q->ns);
    proto_set_str(&s->service, q->service);
    proto_set_str(&s->host, q->host);
    proto_set_str(&s->method, q->method);
    proto_set_str(&s->path, q->path);
    proto_set_str(&s->key, q->key);
    proto_set_str(&s->callback, q->callback);
    proto_set_str(&s->callback_secret, q->callback_secret);
    proto_set_bytes(&s->fingerprint, (struct str){ (const char *)q->fingerprint, 32 });
    s->status = INVOKED_WAITING;
    s->safe = q->safe;
    s->attempts_max = q->attempts_max;
    s->backoff_ms = q->backoff_ms;
    s->backoff_max_ms = q->backoff_max_ms;
    s->accepted_ns = now_ns;
    s->next_ms = q->not_before_ms;
    s->deadline_ms = q->deadline_ms;
    s->retention_ms = q->retention_ms;
    s->request_bytes = q->request.size;
    return v;
}

void invocation_accept(struct invocation *v, struct durable_turn *t, struct str request)
{
    ASSERT(v->s->request_bytes == request.size);
    uint64_t number = row(v, t, 0, request);
    ASSERT(number == INVOCATION_ROW_REQUEST);
    changed(v, t);
}

static void why_set(struct invocation *v, const char *why)
{
    struct str text = str_of(why);
    proto_set_str(&v->s->why, str_head(text, MIN(text.size, (size_t)WHY_BYTES_MAX)));
}

static void end(struct invocation *v, struct durable_turn *t, enum invoked_status how)
{
    ASSERT(invoked_status_ended(how));
    v->s->status = how;
    v->s->ended_ns = MAX(t->now_ns, 1);
    v->s->next_ms = 0;
    v->s->callback_ms = 0;
    v->told = false;
    changed(v, t);
}

/* Full jitter: anything from nothing to the whole, doubled for each that came before. */
static int64_t backoff_ms(const Is__Invocation *s, uint32_t before, struct rng *random)
{
    uint32_t doublings = MIN(before, (uint32_t)REFUSED_DOUBLINGS_MAX);
    uint64_t whole = MIN((uint64_t)s->backoff_ms << doublings, (uint64_t)s->backoff_max_ms);
    return (int64_t)rng_below(random, whole + 1);
}

static void later(struct invocation *v, struct durable_turn *t, uint32_t before, uint64_t at_least_ms)
{
    Is__Invocation *s = v->s;
    int64_t delay = MAX(backoff_ms(s, before, t->random), (int64_t)MIN(at_least_ms, (uint64_t)RETRY_AFTER_MS_MAX));
    s->status = INVOKED_WAITING;
    s->next_ms = ms_of(t->now_ns) + delay;
    v->told = false;
    if (s->deadline_ms != 0 && s->next_ms >= s->deadline_ms)
        end(v, t, INVOKED_DEAD); /* the next attempt could not begin in time: it is told now, not then */
    else
        changed(v, t);
}

/* ---- attempts --------------------------------------------------------------------------------- */

static bool owes_callback(const Is__Invocation *s) { return s->ended_ns != 0 && s->callback[0] && !s->callback_done; }

enum invocation_want invocation_wants(const struct invocation *v, int64_t now_ns)
{
    const Is__Invocation *s = v->s;
    int64_t now_ms = ms_of(now_ns);
    if (s->status == INVOKED_WAITING && s->next_ms <= now_ms && (s->deadline_ms == 0 || now_ms < s->deadline_ms))
        return INVOCATION_WANTS_ATTEMPT;
    if (owes_callback(s) && s->callback_ms <= now_ms)
        return INVOCATION_WANTS_CALLBACK;
    return INVOCATION_WANTS_NOTHING;
}

int invocation_begin(struct invocation *v, struct durable_turn *t, struct err *e)
{
    if (invocation_wants(v, t->now_ns) != INVOCATION_WANTS_ATTEMPT)
        return err_set(e, CODE_PRECONDITION, "it is %s: no attempt is to begin now",
                       invoked_status_name(status_of(v)));
    v->s->status = INVOKED_RUNNING;
    v->s->attempt++;
    v->s->attempt_ns = t->now_ns;
    changed(v, t);
    return (int)v->s->attempt;
}

static bool answer_is_final(uint32_t status)
{
    return status < 500 && status != 408 && status != 425 && status != 429;
}

/* Attempts that a function saw and that count: those it never had do not. */
static uint32_t seen(const Is__Invocation *s) { return s->attempt - s->unseen; }

static void again_or(struct invocation *v, struct durable_turn *t, uint64_t at_least_ms,
                     enum invoked_status unsafe)
{
    Is__Invocation *s = v->s;
    if (!s->safe)
        end(v, t, unsafe); /* also when it was to be cancelled: it may have had its effect */
    else if (s->cancel_asked)
        end(v, t, INVOKED_CANCELLED);
    else if (seen(s) >= s->attempts_max)
        end(v, t, INVOKED_DEAD);
    else
        later(v, t, seen(s) - 1, at_least_ms);
}

static void answered(struct invocation *v, struct durable_turn *t, const struct invocation_end *o)
{
    Is__Invocation *s = v->s;
    s->answer_status = o->answer_status;
    s->answer_bytes = o->answer_bytes;
    if (answer_is_final(o->answer_status))
        end(v, t, INVOKED_DONE);
    else
        again_or(v, t, o->retry_after_ms, INVOKED_FAILED);
}

int invocation_over(struct invocation *v, struct durable_turn *t, const struct invocation_end *o, struct err *e)
{
    Is__Invocation *s = v->s;
    char *answer = o->take_answer;
    if (s->status != INVOKED_RUNNING || s->attempt != o->attempt) {
        free(answer);
        return err_set(e, CODE_ABORTED, "attempt %u is not under way: the invocation is %s, its last attempt %u",
                       o->attempt, invoked_status_name(status_of(v)), s->attempt);
    }
    ASSERT((o->came == INVOCATION_CAME_ANSWER) == (answer != NULL));
    s->attempt_ns = 0;
    why_set(v, o->why);
    if (answer)
        s->answer_row = row_take(v, t, s->answer_row, answer, o->answer_size);
    switch (o->came) {
    case INVOCATION_CAME_ANSWER:
        s->refused = 0;
        answered(v, t, o);
        break;
    case INVOCATION_CAME_REFUSED:
        s->refused++;
        s->unseen++;
        if (s->cancel_asked)
            end(v, t, INVOKED_CANCELLED);
        else
            later(v, t, s->refused - 1, o->retry_after_ms);
        break;
    case INVOCATION_CAME_BROKEN:
        s->refused = 0;
        again_or(v, t, 0, INVOKED_AMBIGUOUS);
        break;
    }
    return 0;
}

void invocation_lost(struct invocation *v, struct durable_turn *t)
{
    Is__Invocation *s = v->s;
    if (s->status != INVOKED_RUNNING)
        return;
    s->attempt_ns = 0;
    why_set(v, "hob stopped while this attempt was under way");
    again_or(v, t, 0, INVOKED_AMBIGUOUS);
}

int invocation_checkpoint(struct invocation *v, struct durable_turn *t, uint32_t attempt, struct str bytes,
                          struct err *e)
{
    Is__Invocation *s = v->s;
    if (s->status != INVOKED_RUNNING || s->attempt != attempt)
        return err_set(e, CODE_ABORTED, "attempt %u is not under way: the invocation is %s, its last attempt %u",
                       attempt, invoked_status_name(status_of(v)), s->attempt);
    s->checkpoint = attempt;
    s->checkpoint_bytes = bytes.size;
    s->checkpoint_row = row(v, t, s->checkpoint_row, bytes);
    changed(v, t);
    return 0;
}

/* ---- clients ---------------------------------------------------------------------------------- */

int invocation_cancel(struct invocation *v, struct durable_turn *t, struct err *e)
{
    enum invoked_status now = status_of(v);
    if (now == INVOKED_CANCELLED)
        return 0;
    if (invoked_status_ended(now) && now != INVOKED_AMBIGUOUS)
        return err_set(e, CODE_PRECONDITION, "it has ended already: %s", invoked_status_name(now));
    if (now == INVOKED_RUNNING) {
        v->s->cancel_asked = true;
        changed(v, t);
        return 1;
    }
    why_set(v, now == INVOKED_AMBIGUOUS ? "cancelled; what the attempt before had done is not known" : "cancelled");
    end(v, t, INVOKED_CANCELLED);
    return 0;
}

int invocation_redrive(struct invocation *v, struct durable_turn *t, int64_t deadline_ms, struct err *e)
{
    Is__Invocation *s = v->s;
    enum invoked_status now = status_of(v);
    if (!invoked_status_ended(now) || now == INVOKED_DONE)
        return err_set(e, CODE_PRECONDITION, "it is %s: only what is dead, failed, ambiguous or cancelled is driven again",
                       invoked_status_name(now));
    s->status = INVOKED_WAITING;
    s->ended_ns = 0;
    s->cancel_asked = s->callback_done = s->callback_given_up = false;
    s->callback_tries = 0;
    s->callback_ms = 0;
    s->refused = 0;
    s->unseen = s->attempt; /* none of those before counts against the new ones */
    s->next_ms = 0;
    s->deadline_ms = deadline_ms;
    s->redrives++;
    changed(v, t);
    return 0;
}

void invocation_due(struct invocation *v, struct durable_turn *t)
{
    Is__Invocation *s = v->s;
    int64_t now_ms = ms_of(t->now_ns);
    if (s->status == INVOKED_WAITING && s->deadline_ms != 0 && now_ms >= s->deadline_ms) {
        why_set(v, s->why[0] ? s->why : "its deadline came before an instance was free");
        end(v, t, INVOKED_DEAD);
    } else if (s->status == INVOKED_WAITING && now_ms >= s->next_ms) {
        v->told = true;
    } else if (owes_callback(s)) {
        v->told = v->told || now_ms >= s->callback_ms; /* it is not forgotten before */
    } else if (s->ended_ns != 0 && now_ms - ms_of(s->ended_ns) >= (int64_t)s->retention_ms) {
        t->changed = t->forget = true;
    }
}

void invocation_callback_over(struct invocation *v, struct durable_turn *t, const struct invocation_called *c)
{
    Is__Invocation *s = v->s;
    if (!owes_callback(s) || s->redrives != c->redrives)
        return; /* driven again meanwhile */
    s->callback_tries++;
    struct str text = str_of(c->taken ? "" : c->why);
    proto_set_str(&s->callback_why, str_head(text, MIN(text.size, (size_t)WHY_BYTES_MAX)));
    s->callback_given_up = !c->taken && (c->never || s->callback_tries >= c->tries_max);
    s->callback_done = c->taken || s->callback_given_up;
    v->told = false;
    if (!s->callback_done) {
        uint32_t doublings = MIN(s->callback_tries, (uint32_t)REFUSED_DOUBLINGS_MAX);
        uint64_t longest = MIN((uint64_t)CALLBACK_FIRST_MS << doublings, (uint64_t)CALLBACK_LONGEST_MS);
        uint64_t delay = longest / 2 + rng_below(t->random, longest / 2 + 1);
        s->callback_ms = ms_of(t->now_ns) + (int64_t)MAX(delay, MIN(c->retry_after_ms, (uint64_t)RETRY_AFTER_MS_MAX));
    }
    changed(v, t);
}

void invocation_callback_later(struct invocation *v, struct durable_turn *t, uint32_t ms)
{
    if (!owes_callback(v->s))
        return;
    v->told = false;
    v->s->callback_ms = ms_of(t->now_ns) + ms;
    changed(v, t);
}

/* ---- what is known ------------------------------------------------------------------------------ */

struct durable_standing invocation_standing(const struct invocation *v)
{
    const Is__Invocation *s = v->s;
    struct durable_standing now = { .open = s->ended_ns == 0, .due_ms = JOURNAL_NEVER };
    bool at_once = s->status == INVOKED_WAITING && (s->next_ms == 0 || v->told);
    bool call_now = owes_callback(s) && (s->callback_ms == 0 || v->told);
    now.ready = at_once || call_now || s->status == INVOKED_RUNNING; /* or a restart would not find it */
    if (at_once)
        now.due_ms = s->deadline_ms != 0 ? s->deadline_ms : JOURNAL_NEVER;
    else if (s->status == INVOKED_WAITING)
        now.due_ms = s->next_ms;
    else if (owes_callback(s))
        now.due_ms = call_now ? JOURNAL_NEVER : s->callback_ms;
    else if (s->ended_ns != 0)
        now.due_ms = ms_of(s->ended_ns) + (int64_t)s->retention_ms;
    return now;
}

void invocation_index(const struct invocation *v, struct journal_index *into)
{
    const Is__Invocation *s = v->s;
    *into = (struct journal_index){
        .status = s->status,
        .type = str_of(s->service),
        .queue = str_of(s->ns),
        .start_ns = s->accepted_ns,
        .execution_ns = s->accepted_ns,
        .close_ns = s->ended_ns != 0 ? s->ended_ns : JOURNAL_NEVER,
        .history_length = s->attempt,
        .history_bytes = s->request_bytes + s->answer_bytes,
        .transitions = s->attempt,
    };
}

void invocation_facts(const struct invocation *v, struct invocation_facts *ret)
{
    const Is__Invocation *s = v->s;
    *ret = (struct invocation_facts){
        .ns = s->ns, .service = s->service, .host = s->host, .method = s->method, .path = s->path, .key = s->key,
        .why = s->why, .callback = s->callback, .callback_secret = s->callback_secret,
        .callback_why = s->callback_why, .fingerprint = s->fingerprint.data, .status = status_of(v),
        .attempt = s->attempt, .attempts_max = s->attempts_max, .answer_status = s->answer_status,
        .checkpoint = s->checkpoint, .redrives = s->redrives, .callback_tries = s->callback_tries,
        .safe = s->safe, .cancel_asked = s->cancel_asked, .callback_done = s->callback_done, .callback_given_up = s->callback_given_up, .callback_ms = s->callback_ms,
        .accepted_ns = s->accepted_ns, .next_ms = s->next_ms, .deadline_ms = s->deadline_ms,
        .attempt_ns = s->attempt_ns, .ended_ns = s->ended_ns, .request_bytes = s->request_bytes,
        .answer_bytes = s->answer_bytes, .answer_row = s->answer_row, .checkpoint_row = s->checkpoint_row,
        .checkpoint_bytes = s->checkpoint_bytes,
    };
}
