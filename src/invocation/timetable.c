#include "invocation/timetable.h"
#include "artifact/hasher.h"
#include "codec/civil.h"
#include "codec/proto.h"
#include "invocation/desk.h"
#include "invocation/state.pb-c.h"

#include <stdio.h>
#include <stdlib.h>

enum { STATE_MEMORY_MAX = 4 << 20, LOOKS_MAX = 16, BITS_MAX = 64, SPEC_MAX = 1 << 20 };

struct timetable {
    Is__Timetable *s; /* but for what `overlap` has */
    struct overlap overlap;
    struct overlap_rules rules;
    json_t *spec;
    struct periodic says; /* its texts are `spec`'s */
    struct zone *zone;
    struct calendar *calendar;
    bool more; /* a look saw more than it could take in */
};

/* ---- the calendar ---------------------------------------------------------------------------- */

/* One set of a dial as ranges, each a single value. */
static size_t bits_as_ranges(uint64_t bits, struct calendar_range into[BITS_MAX])
{
    size_t count = 0;
    for (int32_t i = 0; i < BITS_MAX; i++)
        if (bits >> i & 1)
            into[count++] = (struct calendar_range){ i, i, 1 };
    return count;
}

struct sheets { /* a cron line as one calendar, or two of which either is enough */
    struct calendar_range ranges[2][CALENDAR_FIELDS][BITS_MAX];
    struct calendar_ranges calendars[2];
};

static void sheet_fill(struct sheets *s, size_t at, const struct dial *d, uint64_t days, uint64_t weekdays)
{
    const uint64_t bits[CALENDAR_FIELDS] = { [CALENDAR_SECOND] = 1,        [CALENDAR_MINUTE] = d->minutes, [CALENDAR_HOUR] = d->hours,
                                             [CALENDAR_DAY] = days,        [CALENDAR_MONTH] = d->months,   [CALENDAR_WEEKDAY] = weekdays };
    for (size_t f = 0; f < CALENDAR_FIELDS; f++) {
        s->calendars[at].count[f] = bits_as_ranges(bits[f], s->ranges[at][f]); /* of years none: all */
        s->calendars[at].at[f] = s->ranges[at][f];
    }
}

static int calendar_of(const struct cron *c, const struct zone *z, struct calendar **ret, struct err *e)
{
    const struct calendar_interval every = { .every_ms = c->every_s * 1000 };
    struct calendar_spec spec = { .start_ms = INT64_MIN, .end_ms = INT64_MAX };
    struct sheets *s = xcalloc(1, sizeof *s);
    const uint64_t all_days = dial_bits(1, 31, 1), all_weekdays = dial_bits(0, 6, 1);
    if (c->every_s > 0) {
        spec.intervals = &every;
        spec.interval_count = 1;
    } else if (c->dial.day_or_weekday) {
        sheet_fill(s, 0, &c->dial, c->dial.days, all_weekdays);
        sheet_fill(s, 1, &c->dial, all_days, c->dial.weekdays);
        spec.calendar_count = 2;
    } else {
        sheet_fill(s, 0, &c->dial, c->dial.days, c->dial.weekdays);
        spec.calendar_count = 1;
    }
    spec.calendars = s->calendars;
    int r = calendar_open(&spec, z, ret, e);
    free(s);
    return r;
}

/* What a spec says, with what it needs; all of it the caller's. */
struct meaning {
    json_t *json;
    struct periodic says;
    struct zone *zone;
    struct calendar *calendar;
};

static void meaning_done(struct meaning *m)
{
    json_decref(m->json);
    calendar_free(m->calendar);
    zone_free(m->zone);
}

static int meaning_read(struct str spec, const struct timetable_zones *zones, struct meaning *ret, struct err *e)
{
    struct meaning m = { 0 };
    struct limits limits;
    const char *field = "";
    limits_default(&limits);
    int r = json_read(spec, &limits, &m.json, e);
    if (r == 0)
        r = periodic_read(m.json, &m.says, &field, e);
    if (r == 0 && m.says.cron.zone[0])
        r = zones->load(zones->ctx, str_of(m.says.cron.zone), &m.zone, e);
    if (r == 0)
        r = calendar_of(&m.says.cron, m.zone, &m.calendar, e);
    if (r == 0)
        *ret = m;
    else
        meaning_done(&m);
    return r;
}

static void mean(struct timetable *t, struct meaning *take)
{
    static const enum overlap_policy policies[] = {
        [PERIODIC_SKIP] = OVERLAP_SKIP, [PERIODIC_BUFFER_ONE] = OVERLAP_BUFFER_ONE, [PERIODIC_ALLOW_ALL] = OVERLAP_ALLOW_ALL,
        [PERIODIC_CANCEL_OTHER] = OVERLAP_CANCEL_OTHER,
    };
    struct meaning old = { t->spec, t->says, t->zone, t->calendar };
    t->spec = take->json;
    t->says = take->says;
    t->zone = take->zone;
    t->calendar = take->calendar;
    t->rules = (struct overlap_rules){ .policy = policies[t->says.overlap], .catchup_ms = t->says.catchup_ms };
    meaning_done(&old);
}

static struct str seed(const struct timetable *t) { return str_of(t->s->uid); }

/* ---- deciding -------------------------------------------------------------------------------- */

static void tick_push(struct timetable *t, const struct overlap_start *o)
{
    Is__TimetableTick *k = proto_new(&is__timetable_tick__descriptor);
    char when[CIVIL_TEXT];
    k->number = t->s->next_number++;
    k->nominal_ms = o->nominal_ms;
    k->manual = o->manual;
    k->forgets = t->rules.policy == OVERLAP_ALLOW_ALL;
    civil_rfc3339_format(o->nominal_ms / 1000, 0, when);
    AUTO_FREE char *key = o->manual ? xasprintf("schedule/%s/trigger-%llu", t->s->uid, (unsigned long long)k->number)
                                    : xasprintf("schedule/%s/%s", t->s->uid, when);
    struct uuid id = desk_id_of(str_of(t->s->ns), str_of(t->says.service), str_of(key));
    proto_set_text(&k->key, key);
    proto_set_text(&k->service, t->says.service);
    proto_set_bytes(&k->id, (struct str){ (const char *)id.at, sizeof id.at });
    proto_push(&t->s->n_ticks, &t->s->ticks, k);
}

static uint64_t waited_for(const struct timetable *t)
{
    uint64_t count = 0;
    for (size_t i = 0; i < t->s->n_ticks; i++)
        count += !t->s->ticks[i]->forgets;
    return count;
}

static void decide(struct timetable *t)
{
    struct overlap_decision d;
    overlap_decide(&t->overlap, &t->rules, waited_for(t), &d);
    for (size_t i = 0; i < t->s->n_ticks && (d.cancel || d.terminate); i++)
        t->s->ticks[i]->cancel = t->s->ticks[i]->cancel || !t->s->ticks[i]->forgets;
    for (size_t i = 0; i < d.count; i++)
        tick_push(t, &d.starts[i]);
    overlap_decision_done(&d);
}

static void advance(struct timetable *t, int64_t now_ns)
{
    t->more = true;
    for (int i = 0; i < LOOKS_MAX && t->more && t->s->n_ticks < TIMETABLE_TICKS_MAX; i++) {
        t->more = overlap_look(&t->overlap, &t->rules, t->calendar, seed(t), now_ns / 1000000);
        decide(t);
    }
    timetable_check(t);
}

static void turned(struct timetable *t, struct durable_turn *turn)
{
    advance(t, turn->now_ns);
    turn->changed = turn->indexed = true;
}

void timetable_due(struct timetable *t, struct durable_turn *turn) { turned(t, turn); }

static void object_take(struct timetable *t, const struct timetable_object *o, int64_t now_ms)
{
    proto_set_str(&t->s->spec, o->spec);
    t->s->generation = o->generation;
    overlap_allow(&t->overlap, t->calendar, seed(t), now_ms, t->says.suspend, false, 0);
}

static void trigger_take(struct timetable *t, struct str trigger, int64_t now_ms)
{
    if (trigger.size == 0 || str_eq(trigger, str_of(t->s->trigger)))
        return;
    proto_set_str(&t->s->trigger, trigger);
    overlap_trigger(&t->overlap, OVERLAP_UNSPECIFIED, now_ms);
}

int timetable_configure(struct timetable *t, struct durable_turn *turn, const struct timetable_object *o,
                        const struct timetable_zones *zones, struct err *e)
{
    bool newer = o->generation > t->s->generation, triggered = o->trigger.size > 0 && !str_eq(o->trigger, str_of(t->s->trigger));
    int64_t now_ms = turn->now_ns / 1000000;
    struct meaning m;
    if (!newer && !triggered)
        return 0;
    if (newer) {
        int r = meaning_read(o->spec, zones, &m, e);
        if (r < 0)
            return r;
        bool other = strcmp(json_text_at(m.json, "schedule"), json_text_at(t->spec, "schedule")) != 0 ||
                     strcmp(m.says.cron.zone, t->says.cron.zone) != 0;
        advance(t, turn->now_ns); /* what has come by now is decided as it was */
        mean(t, &m);
        if (other)
            overlap_changed(&t->overlap, now_ms);
        object_take(t, o, now_ms);
    }
    trigger_take(t, o->trigger, now_ms);
    turned(t, turn);
    return 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

int timetable_new(const struct timetable_object *o, int64_t now_ns, const struct timetable_zones *zones, struct timetable **ret,
                  struct err *e)
{
    struct meaning m;
    int r = o->spec.size > SPEC_MAX ? err_set(e, CODE_INVALID, "the spec is larger than 1 MiB") : meaning_read(o->spec, zones, &m, e);
    if (r < 0)
        return r;
    struct timetable *t = xcalloc(1, sizeof *t);
    t->s = proto_new(&is__timetable__descriptor);
    proto_set_str(&t->s->ns, o->ns);
    proto_set_str(&t->s->name, o->name);
    proto_set_str(&t->s->uid, o->uid);
    mean(t, &m);
    overlap_init(&t->overlap, now_ns / 1000000);
    object_take(t, o, now_ns / 1000000);
    trigger_take(t, o->trigger, now_ns / 1000000);
    advance(t, now_ns);
    *ret = t;
    return 0;
}

void timetable_free(struct timetable *t)
{
    if (!t)
        return;
    struct meaning m = { t->spec, t->says, t->zone, t->calendar };
    meaning_done(&m);
    overlap_done(&t->overlap);
    proto_free(t->s);
    free(t);
}

static void state_write(const struct timetable *t, Is__Timetable *into)
{
    into->decided_ms = t->overlap.decided_ms;
    into->actions = t->overlap.actions;
    into->missed_catchup = t->overlap.missed_catchup;
    into->overlap_skipped = t->overlap.overlap_skipped;
    into->buffer_dropped = t->overlap.buffer_dropped;
    into->paused = t->overlap.paused;
    for (size_t i = 0; i < into->n_buffer; i++)
        proto_free(into->buffer[i]);
    into->n_buffer = 0;
    for (size_t i = 0; i < t->overlap.buffered; i++) {
        Is__TimetableStart *s = proto_new(&is__timetable_start__descriptor);
        s->nominal_ms = t->overlap.buffer[i].nominal_ms;
        s->actual_ms = t->overlap.buffer[i].actual_ms;
        s->policy = (int32_t)t->overlap.buffer[i].policy;
        s->manual = t->overlap.buffer[i].manual;
        proto_push(&into->n_buffer, &into->buffer, s);
    }
}

void timetable_pack(const struct timetable *t, struct buf *into)
{
    state_write(t, t->s);
    proto_encode(t->s, into);
}

size_t timetable_bytes(const struct timetable *t) { return sizeof *t + 3 * proto_size(t->s) + 4096; }

static int state_read(struct timetable *t)
{
    const Is__Timetable *s = t->s;
    t->overlap.decided_ms = s->decided_ms;
    t->overlap.actions = s->actions;
    t->overlap.missed_catchup = s->missed_catchup;
    t->overlap.overlap_skipped = s->overlap_skipped;
    t->overlap.buffer_dropped = s->buffer_dropped;
    t->overlap.paused = s->paused;
    for (size_t i = 0; i < s->n_buffer; i++)
        if (!overlap_hold(&t->overlap, (struct overlap_start){ s->buffer[i]->nominal_ms, s->buffer[i]->actual_ms,
                                                               (enum overlap_policy)s->buffer[i]->policy, s->buffer[i]->manual }))
            return -1;
    for (size_t i = 0; i < s->n_ticks; i++)
        if (s->ticks[i]->id.len != sizeof(struct uuid) || s->ticks[i]->number >= s->next_number)
            return -1;
    return s->uid[0] && s->last_status <= INVOKED_AMBIGUOUS ? 0 : -1;
}

int timetable_unpack(struct str state, const struct timetable_zones *zones, struct timetable **ret, struct err *e)
{
    ProtobufCMessage *read;
    struct meaning m;
    int r = proto_decode_new(&is__timetable__descriptor, state, STATE_MEMORY_MAX, &read, e);
    if (r < 0)
        return err_set(e, CODE_DATA_LOSS, "the state of a schedule cannot be read: %s", e->text);
    AUTO(timetable) struct timetable *t = xcalloc(1, sizeof *t);
    t->s = (Is__Timetable *)read;
    if (state_read(t) < 0)
        return err_set(e, CODE_DATA_LOSS, "these %zu bytes are not the state of a schedule", state.size);
    r = meaning_read(str_of(t->s->spec), zones, &m, e);
    if (r < 0)
        return err_set(e, CODE_DATA_LOSS, "the spec in the state of schedule %s/%s: %s", t->s->ns, t->s->name, e->text);
    mean(t, &m);
    *ret = TAKE(t);
    return 0;
}

void timetable_check(const struct timetable *t)
{
    overlap_check(&t->overlap);
    for (size_t i = 0; i < t->s->n_ticks; i++) {
        ASSERT(t->s->ticks[i]->number < t->s->next_number && t->s->ticks[i]->id.len == sizeof(struct uuid));
        ASSERT(i == 0 || t->s->ticks[i - 1]->number < t->s->ticks[i]->number);
    }
}

struct durable_standing timetable_standing(const struct timetable *t)
{
    struct durable_standing st = { .open = true, .ready = t->s->n_ticks > 0, .due_ms = JOURNAL_NEVER };
    if (t->s->n_ticks < TIMETABLE_TICKS_MAX)
        st.due_ms = t->more ? 0 : MAX(overlap_wake_ms(&t->overlap, t->calendar, seed(t)), INT64_C(0));
    return st;
}

void timetable_index(const struct timetable *t, struct journal_index *into)
{
    *into = (struct journal_index){ .status = 1, .type = str_of(t->s->name), .queue = str_of(t->s->ns), .close_ns = JOURNAL_NEVER };
}

/* ---- what there is to do ----------------------------------------------------------------------- */

static Is__TimetableTick *tick_find(const struct timetable *t, uint64_t number, size_t *ret_at)
{
    for (size_t i = 0; i < t->s->n_ticks; i++)
        if (t->s->ticks[i]->number == number) {
            *ret_at = i;
            return t->s->ticks[i];
        }
    return NULL;
}

bool timetable_wants(const struct timetable *t, size_t n, struct timetable_want *ret)
{
    if (n >= t->s->n_ticks)
        return false;
    const Is__TimetableTick *k = t->s->ticks[n];
    *ret = (struct timetable_want){ k->accepted ? TIMETABLE_WATCH : TIMETABLE_ACCEPT, k->number, k->cancel };
    return true;
}

struct uuid timetable_id(const struct timetable *t, uint64_t number)
{
    size_t at;
    struct uuid id;
    const Is__TimetableTick *k = tick_find(t, number, &at);
    ASSERT(k);
    memcpy(id.at, k->id.data, sizeof id.at);
    return id;
}

static bool has_header(const json_t *headers, const char *want)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)headers, name, value)
        if (str_eq_nocase(str_of(name), str_of(want)))
            return true;
    return false;
}

static void headers_write(const struct periodic *p, struct buf *b)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)p->headers, name, value)
        buf_printf(b, "%s: %s\r\n", name, json_string_value(value));
    if (p->body[0] && !has_header(p->headers, "Content-Type"))
        buf_text(b, "Content-Type: application/json\r\n");
}

static bool bodied(const struct periodic *p) { return p->body[0] || (strcmp(p->method, "GET") != 0 && strcmp(p->method, "HEAD") != 0); }

void timetable_call(const struct timetable *t, uint64_t number, const char *host, struct buf *request, struct timetable_call *ret)
{
    size_t at;
    char when[CIVIL_TEXT];
    const struct periodic *p = &t->says;
    const Is__TimetableTick *k = tick_find(t, number, &at);
    ASSERT(k);
    civil_rfc3339_format(k->nominal_ms / 1000, 0, when);
    buf_printf(request, "%s %s HTTP/1.1\r\nHost: %s\r\nHob-Schedule: %s\r\nHob-Scheduled-Time: %s\r\n", p->method, p->path, host,
               t->s->name, when);
    headers_write(p, request);
    if (bodied(p))
        buf_printf(request, "Content-Length: %zu\r\n", strlen(p->body));
    buf_text(request, "\r\n");
    buf_text(request, p->body);
    struct digest d = hasher_of(buf_at(request), request->size);
    *ret = (struct timetable_call){ .ns = t->s->ns, .service = k->service, .key = k->key, .nominal_ms = k->nominal_ms,
                                    .deadline_ms = p->deadline_ms, .method = { buf_at(request), strlen(p->method) },
                                    .path = { buf_at(request) + strlen(p->method) + 1, strcspn(p->path, "?") } };
    memcpy(ret->id.at, k->id.data, sizeof ret->id.at);
    memcpy(ret->fingerprint, d.at, sizeof ret->fingerprint);
}

/* ---- what came of it ------------------------------------------------------------------------------ */

static void tick_drop(struct timetable *t, size_t at)
{
    proto_free(t->s->ticks[at]);
    memmove(&t->s->ticks[at], &t->s->ticks[at + 1], (--t->s->n_ticks - at) * sizeof t->s->ticks[0]);
}

void timetable_accepted(struct timetable *t, struct durable_turn *turn, uint64_t number)
{
    size_t at;
    Is__TimetableTick *k = tick_find(t, number, &at);
    if (!k || k->accepted)
        return;
    k->accepted = true;
    t->s->last_ms = k->nominal_ms;
    t->s->last_status = 0;
    proto_set_bytes(&t->s->last_id, (struct str){ (const char *)k->id.data, k->id.len });
    if (k->forgets)
        tick_drop(t, at);
    turned(t, turn);
}

void timetable_ended(struct timetable *t, struct durable_turn *turn, uint64_t number, enum invoked_status status)
{
    size_t at;
    const Is__TimetableTick *k = tick_find(t, number, &at);
    if (!k)
        return;
    if (t->s->last_id.len == k->id.len && memcmp(t->s->last_id.data, k->id.data, k->id.len) == 0)
        t->s->last_status = status;
    bool paused = overlap_ended(&t->overlap, &t->rules, false);
    ASSERT(!paused);
    tick_drop(t, at);
    turned(t, turn);
}

void timetable_facts(const struct timetable *t, struct timetable_facts *ret)
{
    *ret = (struct timetable_facts){
        .ns = t->s->ns, .name = t->s->name, .uid = t->s->uid, .generation = t->s->generation, .last_ms = t->s->last_ms,
        .next_ms = t->overlap.paused ? INT64_MAX : overlap_wake_ms(&t->overlap, t->calendar, seed(t)),
        .last_status = (enum invoked_status)t->s->last_status, .active = (uint32_t)t->s->n_ticks, .actions = t->overlap.actions,
        .missed = t->overlap.missed_catchup, .skipped = t->overlap.overlap_skipped, .dropped = t->overlap.buffer_dropped,
        .paused = t->overlap.paused,
    };
    if (t->s->last_id.len == sizeof ret->last_id.at)
        memcpy(ret->last_id.at, t->s->last_id.data, sizeof ret->last_id.at);
}
