#include "workflow/overlap.h"

#include <stdlib.h>

void overlap_init(struct overlap *o, int64_t now_ms) { *o = (struct overlap){ .decided_ms = now_ms }; }

void overlap_done(struct overlap *o)
{
    free(o->buffer);
    free(o->backfills);
    *o = (struct overlap){ 0 };
}

void overlap_changed(struct overlap *o, int64_t now_ms) { o->decided_ms = MAX(o->decided_ms, now_ms); }

void overlap_check(const struct overlap *o)
{
    ASSERT(o->buffered <= OVERLAP_BUFFER_MAX && o->buffered <= o->buffer_room);
    ASSERT(o->backfill_count <= OVERLAP_BACKFILLS_MAX && o->backfill_count <= o->backfill_room);
    for (size_t i = 0; i < o->backfill_count; i++)
        ASSERT(o->backfills[i].after_ms < o->backfills[i].until_ms);
}

static void *more(void *array, size_t count, size_t *room, size_t each)
{
    if (count < *room)
        return array;
    *room = *room ? 2 * *room : 4;
    return xrealloc(array, *room, each);
}

bool overlap_hold(struct overlap *o, struct overlap_start s)
{
    if (o->buffered == OVERLAP_BUFFER_MAX)
        return false;
    o->buffer = more(o->buffer, o->buffered, &o->buffer_room, sizeof o->buffer[0]);
    o->buffer[o->buffered++] = s;
    return true;
}

bool overlap_hold_backfill(struct overlap *o, struct overlap_backfill b)
{
    if (o->backfill_count == OVERLAP_BACKFILLS_MAX || b.after_ms >= b.until_ms)
        return false;
    o->backfills = more(o->backfills, o->backfill_count, &o->backfill_room, sizeof o->backfills[0]);
    o->backfills[o->backfill_count++] = b;
    return true;
}

static void add(struct overlap *o, struct overlap_start s)
{
    if (!overlap_hold(o, s))
        o->buffer_dropped++;
}

void overlap_trigger(struct overlap *o, enum overlap_policy policy, int64_t now_ms)
{
    add(o, (struct overlap_start){ now_ms, now_ms, policy, true });
}

int overlap_backfill(struct overlap *o, int64_t from_ms, int64_t until_ms, enum overlap_policy policy,
                     struct err *e)
{
    if (from_ms > until_ms || from_ms == INT64_MIN)
        return err_set(e, CODE_INVALID, "backfill: it ends before it begins");
    if (!overlap_hold_backfill(o, (struct overlap_backfill){ from_ms - 1, until_ms, policy }))
        return err_set(e, CODE_EXHAUSTED, "backfill: %d are under way; wait until one is done",
                       OVERLAP_BACKFILLS_MAX);
    return 0;
}

/* ---- what has come ---- */

static bool may_act(const struct overlap *o) { return !o->paused && (!o->limited || o->remaining > 0); }

static int64_t catchup_ms(const struct overlap_rules *rules)
{
    return rules->catchup_ms ? MAX(rules->catchup_ms, OVERLAP_CATCHUP_MS_MIN) : OVERLAP_CATCHUP_MS;
}

/* Whether there is a nominal moment after `after_ms` and up to `now_ms`. */
static bool any_between(const struct calendar *c, struct str seed, int64_t after_ms, int64_t now_ms,
                        struct calendar_time *ret)
{
    for (int i = 0; i < OVERLAP_LOOK_MAX && after_ms < now_ms; i++) {
        enum calendar_found found = calendar_next(c, seed, after_ms, ret);
        if (found != CALENDAR_LATER)
            return found == CALENDAR_FOUND && ret->nominal_ms <= now_ms;
        after_ms = ret->nominal_ms;
    }
    return false;
}

/* Moments that came while nothing could act are nobody's; there may be millions, so the last one is found by
 * halves. It alone may have jitter left that makes it come later, since no other's reaches past the one that
 * follows. */
static void pass_over(struct overlap *o, const struct calendar *c, struct str seed, int64_t now_ms)
{
    struct calendar_time t;
    int64_t low = MAX(o->decided_ms, now_ms - calendar_jitter_ms(c) - 1000), high = now_ms;
    if (low >= now_ms)
        return;
    o->decided_ms = low;
    if (!any_between(c, seed, low, now_ms, &t))
        return;
    while (high - low > 1) { /* one after low, none after high */
        int64_t middle = low + (high - low) / 2;
        if (any_between(c, seed, middle, now_ms, &t))
            low = middle;
        else
            high = middle;
    }
    bool there = any_between(c, seed, low, now_ms, &t); /* the last one: it is at `high` */
    ASSERT(there && t.nominal_ms == high);
    o->decided_ms = t.actual_ms <= now_ms ? high : low;
}

void overlap_allow(struct overlap *o, const struct calendar *c, struct str seed, int64_t now_ms, bool paused,
                   bool limited, uint64_t remaining)
{
    if (!may_act(o))
        pass_over(o, c, seed, now_ms);
    o->paused = paused;
    o->limited = limited;
    o->remaining = limited ? remaining : 0;
}

static bool look_at_calendar(struct overlap *o, const struct overlap_rules *rules, const struct calendar *c,
                             struct str seed, int64_t now_ms)
{
    struct calendar_time t;
    if (!may_act(o)) {
        pass_over(o, c, seed, now_ms);
        return false;
    }
    bool was_full = o->buffered == OVERLAP_BUFFER_MAX; /* else a decision may make room before anything is dropped */
    for (int i = 0; i < OVERLAP_LOOK_MAX && (was_full || o->buffered < OVERLAP_BUFFER_MAX); i++) {
        enum calendar_found found = calendar_next(c, seed, o->decided_ms, &t);
        if (found == CALENDAR_NONE || (found == CALENDAR_FOUND && t.actual_ms > now_ms))
            return false;
        if (found == CALENDAR_LATER && t.nominal_ms >= now_ms)
            return false;
        o->decided_ms = t.nominal_ms;
        if (found == CALENDAR_LATER)
            continue;
        if (now_ms - t.actual_ms > catchup_ms(rules))
            o->missed_catchup++;
        else
            add(o, (struct overlap_start){ t.nominal_ms, t.actual_ms, OVERLAP_UNSPECIFIED, false });
    }
    return true;
}

static bool has_room(const struct overlap *o) { return o->buffered < OVERLAP_BUFFER_MAX / 2; }

static bool look_at_backfills(struct overlap *o, const struct calendar *c, struct str seed)
{
    struct calendar_time t;
    for (int i = 0; o->backfill_count > 0 && has_room(o); i++) {
        struct overlap_backfill *b = &o->backfills[0];
        enum calendar_found found = calendar_next(c, seed, b->after_ms, &t);
        if (found == CALENDAR_FOUND && t.nominal_ms <= b->until_ms)
            add(o, (struct overlap_start){ t.nominal_ms, t.actual_ms, b->policy, true });
        b->after_ms = found == CALENDAR_NONE ? b->until_ms : t.nominal_ms;
        if (b->after_ms >= b->until_ms)
            memmove(b, b + 1, --o->backfill_count * sizeof *b);
        if (i == OVERLAP_LOOK_MAX)
            return true;
    }
    return false;
}

bool overlap_look(struct overlap *o, const struct overlap_rules *rules, const struct calendar *c, struct str seed,
                  int64_t now_ms)
{
    bool more_moments = look_at_calendar(o, rules, c, seed, now_ms);
    bool more_backfills = look_at_backfills(o, c, seed);
    overlap_check(o);
    return more_moments || more_backfills;
}

/* ---- what to do about it ---- */

/* One pass over what waits. Kept apart until it is known: those that start whatever runs, the one that starts
 * because nothing does, and those that go on waiting. */
struct pass {
    struct overlap *o;
    uint64_t left; /* actions that may still be counted off */
    bool running;
    struct overlap_start *kept;
    size_t kept_count;
    struct overlap_start chosen;
    bool has_chosen;
};

static bool take(struct pass *p, const struct overlap_start *s)
{
    if (s->manual)
        return true;
    if (p->o->paused || p->left == 0)
        return false;
    p->left -= p->left != UINT64_MAX;
    return true;
}

static void give_back(struct pass *p, const struct overlap_start *s)
{
    if (!s->manual)
        p->left += p->left != UINT64_MAX;
}

static void keep(struct pass *p, const struct overlap_start *s) { p->kept[p->kept_count++] = *s; }

/* Something runs, or is about to. */
static void apply(struct pass *p, enum overlap_policy policy, const struct overlap_start *s,
                  struct overlap_decision *d)
{
    bool cancels = policy == OVERLAP_CANCEL_OTHER, terminates = policy == OVERLAP_TERMINATE_OTHER;
    if (cancels || terminates) {
        if (p->running) { /* it starts when they have ended */
            d->cancel |= cancels;
            d->terminate |= terminates;
            keep(p, s);
            return;
        }
        give_back(p, &p->chosen); /* takes the place of the one that did not start yet */
        bool taken = take(p, s);
        ASSERT(taken);
        p->chosen = *s;
        p->o->overlap_skipped++;
    } else if (policy == OVERLAP_BUFFER_ALL || (policy == OVERLAP_BUFFER_ONE && p->kept_count == 0)) {
        keep(p, s);
    } else {
        p->o->overlap_skipped++;
    }
}

static void consider(struct pass *p, const struct overlap_rules *rules, const struct overlap_start *s,
                     struct overlap_decision *d)
{
    enum overlap_policy policy = s->policy ? s->policy : rules->policy;
    if (!s->manual && (p->o->paused || p->left == 0))
        return; /* it came before the schedule was paused, or was left without actions */
    if (policy == OVERLAP_ALLOW_ALL) {
        if (take(p, s))
            d->starts[d->count++] = *s;
    } else if (!p->running && !p->has_chosen) {
        p->has_chosen = take(p, s);
        p->chosen = *s;
    } else {
        apply(p, policy, s, d);
    }
}

void overlap_decide(struct overlap *o, const struct overlap_rules *rules, uint64_t running,
                    struct overlap_decision *ret)
{
    struct overlap_decision d = { 0 };
    struct pass p = { .o = o, .left = o->limited ? o->remaining : UINT64_MAX, .running = running > 0 };
    if (o->buffered == 0) {
        *ret = d;
        return;
    }
    p.kept = xcalloc(o->buffered, sizeof p.kept[0]);
    d.starts = xcalloc(o->buffered, sizeof d.starts[0]);
    for (size_t i = 0; i < o->buffered; i++)
        consider(&p, rules, &o->buffer[i], &d);
    if (d.cancel || d.terminate) { /* they would be cancelled with the others */
        for (size_t i = 0; i < d.count; i++)
            give_back(&p, &d.starts[i]);
        o->overlap_skipped += d.count;
        d.count = 0;
    }
    if (p.has_chosen)
        d.starts[d.count++] = p.chosen;
    if (o->limited)
        o->remaining = p.left;
    o->actions += d.count;
    o->buffer_room = o->buffered;
    free(o->buffer);
    o->buffer = p.kept;
    o->buffered = p.kept_count;
    overlap_check(o);
    *ret = d;
}

void overlap_decision_done(struct overlap_decision *d)
{
    free(d->starts);
    *d = (struct overlap_decision){ 0 };
}

bool overlap_ended(struct overlap *o, const struct overlap_rules *rules, bool failed)
{
    bool pauses = failed && rules->pause_on_failure && !o->paused;
    o->paused |= pauses;
    return pauses;
}

int64_t overlap_wake_ms(const struct overlap *o, const struct calendar *c, struct str seed)
{
    struct calendar_time t = { 0 };
    if (o->backfill_count > 0 && has_room(o))
        return INT64_MIN;
    if (!may_act(o))
        return INT64_MAX;
    enum calendar_found found = calendar_next(c, seed, o->decided_ms, &t);
    return found == CALENDAR_NONE ? INT64_MAX : t.actual_ms;
}

bool overlap_over(const struct overlap *o, const struct calendar *c, struct str seed, uint64_t running)
{
    struct calendar_time t;
    if (o->buffered > 0 || o->backfill_count > 0 || running > 0 || o->paused)
        return false;
    return !may_act(o) || calendar_next(c, seed, o->decided_ms, &t) == CALENDAR_NONE;
}
