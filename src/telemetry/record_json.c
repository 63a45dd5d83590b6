#include "telemetry/record_json.h"

#include <string.h>

enum kind { TEXT, U16, U32, U64, I64, FLAG };
struct field {
    const char *name;
    enum kind kind;
    size_t offset, size;
};
#define AT(name, kind, type, member) \
    { \
        name, kind, offsetof(struct type, member), sizeof(((struct type *)0)->member) \
    }

static const struct field record_fields[] = {
#define R(name, kind, member) AT(name, kind, invocation_record, member)
    R("namespace", TEXT, ns),
    R("service", TEXT, service),
    R("revision", TEXT, revision),
    R("instance", TEXT, instance),
    R("method", TEXT, method),
    R("path", TEXT, path),
    R("status", U16, status),
    R("arrivalUnixMs", I64, wall_ms),
    R("arrivalMonotonicUs", U64, arrival_us),
    R("dispatchUs", U32, dispatch_us),
    R("firstByteUs", U32, first_byte_us),
    R("totalUs", U32, total_us),
    R("requestBytes", U64, request_bytes),
    R("responseBytes", U64, response_bytes),
    R("cold", FLAG, cold),
    R("queueUs", U32, queue_us),
    R("coveragePermille", U32, coverage_permille),
    R("error", TEXT, error),
#undef R
};
static const struct field start_fields[] = {
#define S(name, kind, member) AT(name, kind, start_record, member)
    S("id", TEXT, id),
    S("beginMonotonicUs", U64, begin_us),
    S("beginUnixMs", I64, begin_wall_ms),
    S("pageCachePermille", U32, page_cache_permille),
    S("failed", FLAG, failed),
    S("finished", FLAG, finished),
    S("error", TEXT, error),
#undef S
};
static const struct field mark_fields[] = {
#define M(name, kind, member) AT(name, kind, phase_mark, member)
    M("startUs", U64, start_us),
    M("durationUs", I64, duration_us),
    M("bytes", U64, bytes),
#undef M
};

static const struct field beside_fields[] = {
#define B(name, kind, member) AT(name, kind, start_beside, member)
    B("name", TEXT, name),
    B("init", FLAG, is_init),
#undef B
};

/* ---- writing ---- */

static json_t *text_to_json(const char *text)
{
    json_t *j = json_string(text);
    if (j)
        return j;
    AUTO_FREE char *ascii = xstrdup(text);
    for (char *p = ascii; *p; p++)
        if (*p & 0x80)
            *p = '?';
    return json_string(ascii);
}

static void set(json_t *object, const char *name, json_t *take_value)
{
    int r = json_object_set_new(object, name, take_value);
    ASSERT(r == 0); /* names are ours, and memory that is out aborts */
}

static int64_t field_number(const struct field *f, const void *at)
{
    switch (f->kind) {
    case U16: return *(const uint16_t *)at;
    case U32: return *(const uint32_t *)at;
    case U64: return (int64_t)MIN(*(const uint64_t *)at, (uint64_t)INT64_MAX);
    case I64: return *(const int64_t *)at;
    case TEXT:
    case FLAG: break;
    }
    UNREACHABLE("texts and flags are no numbers");
}

static void fields_write(json_t *object, const struct field *fields, size_t count, const void *from)
{
    for (size_t i = 0; i < count; i++) {
        const struct field *f = &fields[i];
        const void *at = (const char *)from + f->offset;
        if (f->kind == TEXT && *(const char *)at)
            set(object, f->name, text_to_json(at));
        else if (f->kind == FLAG && *(const bool *)at)
            set(object, f->name, json_true());
        else if (f->kind != TEXT && f->kind != FLAG && field_number(f, at) != 0)
            set(object, f->name, json_integer(field_number(f, at)));
    }
}

static json_t *phases_to_json(const struct start_record *r)
{
    json_t *phases = json_array();
    for (unsigned p = 0; p < PHASES; p++) {
        const struct phase_mark *m = &r->phases[p];
        if (m->outcome == PHASE_ABSENT)
            continue;
        json_t *phase = json_object();
        set(phase, "name", json_string(phase_name((enum phase)p)));
        set(phase, "outcome", json_string(phase_outcome_name(m->outcome)));
        fields_write(phase, mark_fields, COUNT_OF(mark_fields), m);
        int appended = json_array_append_new(phases, phase);
        ASSERT(appended == 0);
    }
    return phases;
}

static json_t *besides_to_json(const struct start_record *r)
{
    json_t *all = json_array();
    for (uint32_t k = 0; k < r->beside_count; k++) {
        const struct start_beside *b = &r->besides[k];
        json_t *one = json_object();
        fields_write(one, beside_fields, COUNT_OF(beside_fields), b);
        set(one, "outcome", json_string(phase_outcome_name(b->mark.outcome)));
        fields_write(one, mark_fields, COUNT_OF(mark_fields), &b->mark);
        int appended = json_array_append_new(all, one);
        ASSERT(appended == 0);
    }
    return all;
}

json_t *start_to_json(const struct start_record *r)
{
    json_t *j = json_object(), *caches = json_object();
    fields_write(j, start_fields, COUNT_OF(start_fields), r);
    if (r->failed)
        set(j, "failedPhase", json_string(phase_name(r->failed_phase)));
    set(j, "phases", phases_to_json(r));
    if (r->beside_count > 0)
        set(j, "containers", besides_to_json(r));
    for (unsigned c = 0; c < CACHES; c++)
        if (r->caches[c] != CACHE_UNKNOWN)
            set(caches, cache_name((enum cache)c), json_string(cache_state_name(r->caches[c])));
    set(j, "caches", caches);
    return j;
}

json_t *record_to_json(const struct invocation_record *r)
{
    json_t *j = json_object();
    char id[UUID_TEXT];
    uuid_format(&r->id, id);
    set(j, "id", json_string(id));
    if (!trace_id_none(&r->trace)) {
        char trace[TRACE_ID_TEXT];
        trace_id_format(r->trace.trace_id, trace);
        set(j, "traceId", json_string(trace));
    }
    set(j, "outcome", json_string(invocation_outcome_name(r->outcome)));
    fields_write(j, record_fields, COUNT_OF(record_fields), r);
    if (r->has_start)
        set(j, "start", start_to_json(&r->start));
    return j;
}

/* ---- reading ---- */

static int number_read(const struct field *f, const json_t *j, void *at, struct err *e)
{
    int64_t n = json_integer_value(j);
    bool fits =
        f->kind == I64 || (n >= 0 && (f->kind == U64 || (f->kind == U32 && n <= UINT32_MAX) ||
                                      (f->kind == U16 && n <= UINT16_MAX)));
    if (!json_is_integer(j) || !fits)
        return err_set(e, CODE_INVALID, "%s: not a whole number in its range", f->name);
    if (f->kind == U16)
        *(uint16_t *)at = (uint16_t)n;
    else if (f->kind == U32)
        *(uint32_t *)at = (uint32_t)n;
    else
        *(int64_t *)at = n;
    return 0;
}

static int field_read(const struct field *f, const json_t *j, void *at, struct err *e)
{
    if (f->kind == FLAG) {
        if (!json_is_boolean(j))
            return err_set(e, CODE_INVALID, "%s: neither true nor false", f->name);
        *(bool *)at = json_is_true(j);
        return 0;
    }
    if (f->kind != TEXT)
        return number_read(f, j, at, e);
    if (!json_is_string(j) || json_string_length(j) >= f->size ||
        strlen(json_string_value(j)) != json_string_length(j))
        return err_set(e, CODE_INVALID, "%s: not a text of at most %zu bytes", f->name,
                       f->size - 1);
    memcpy(at, json_string_value(j), json_string_length(j) + 1);
    return 0;
}

static int fields_read(const json_t *object, const struct field *fields, size_t count, void *into,
                       struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        const json_t *j = json_object_get(object, fields[i].name);
        int r = j ? field_read(&fields[i], j, (char *)into + fields[i].offset, e) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

/* The index whose name is the text of j, or -1. */
static int name_index(const json_t *j, unsigned count, const char *(*name_at)(unsigned i))
{
    const char *text = json_string_value(j);
    for (unsigned i = 0; text && i < count; i++)
        if (strcmp(text, name_at(i)) == 0)
            return (int)i;
    return -1;
}
static const char *phase_outcome_at(unsigned i)
{
    return phase_outcome_name((enum phase_outcome)i);
}
static const char *phase_at(unsigned i) { return phase_name((enum phase)i); }
static const char *cache_state_at(unsigned i) { return cache_state_name((enum cache_state)i); }
static const char *outcome_at(unsigned i)
{
    return invocation_outcome_name((enum invocation_outcome)i);
}

static int phase_read(const json_t *j, struct start_record *into, struct err *e)
{
    int p = name_index(json_object_get(j, "name"), PHASES, phase_at);
    int o = name_index(json_object_get(j, "outcome"), PHASE_FAILED + 1, phase_outcome_at);
    if (!json_is_string(json_object_get(j, "name")))
        return err_set(e, CODE_INVALID, "phases: an entry without a name");
    if (p < 0)
        return 0; /* a phase of a newer hob */
    if (o < 0)
        return err_set(e, CODE_INVALID, "phases: %s: unknown outcome", phase_at((unsigned)p));
    struct phase_mark m = { .outcome = (enum phase_outcome)o };
    int r = fields_read(j, mark_fields, COUNT_OF(mark_fields), &m, e);
    if (r < 0)
        return err_wrap(e, "phases: %s", phase_at((unsigned)p));
    into->phases[p] = m;
    return 0;
}

static int beside_read(const json_t *j, struct start_record *into, struct err *e)
{
    struct start_beside b = { 0 };
    int o = name_index(json_object_get(j, "outcome"), PHASE_FAILED + 1, phase_outcome_at);
    if (o < 0)
        return err_set(e, CODE_INVALID, "containers: unknown outcome");
    int r = fields_read(j, beside_fields, COUNT_OF(beside_fields), &b, e);
    if (r == 0)
        r = fields_read(j, mark_fields, COUNT_OF(mark_fields), &b.mark, e);
    if (r < 0)
        return err_wrap(e, "containers");
    b.mark.outcome = (enum phase_outcome)o;
    if (into->beside_count < START_BESIDES_MAX) /* a newer hob may keep more */
        into->besides[into->beside_count++] = b;
    return 0;
}

static int caches_read(const json_t *caches, struct start_record *into, struct err *e)
{
    for (unsigned c = 0; c < CACHES; c++) {
        const json_t *state = json_object_get(caches, cache_name((enum cache)c));
        int s = state ? name_index(state, CACHE_HIT + 1, cache_state_at) : CACHE_UNKNOWN;
        if (s < 0)
            return err_set(e, CODE_INVALID, "caches: %s: unknown state", cache_name((enum cache)c));
        into->caches[c] = (enum cache_state)s;
    }
    return 0;
}

int start_from_json(const json_t *j, struct start_record *ret, struct err *e)
{
    struct start_record s = { 0 };
    if (!json_is_object(j))
        return err_set(e, CODE_INVALID, "start: not an object");
    int r = fields_read(j, start_fields, COUNT_OF(start_fields), &s, e);
    if (r == 0)
        r = caches_read(json_object_get(j, "caches"), &s, e);
    const json_t *phases = json_object_get(j, "phases");
    for (size_t i = 0; r == 0 && i < json_array_size(phases); i++)
        r = phase_read(json_array_get(phases, i), &s, e);
    const json_t *besides = json_object_get(j, "containers");
    for (size_t i = 0; r == 0 && i < json_array_size(besides); i++)
        r = beside_read(json_array_get(besides, i), &s, e);
    if (r < 0)
        return err_wrap(e, "start");
    int culprit = name_index(json_object_get(j, "failedPhase"), PHASES, phase_at);
    if (s.failed && culprit < 0)
        return err_set(e, CODE_INVALID, "start: failedPhase: unknown phase");
    s.failed_phase = s.failed ? (enum phase)culprit : 0;
    *ret = s;
    return 0;
}

int record_from_json(const json_t *j, struct invocation_record *ret, struct err *e)
{
    struct invocation_record record = { 0 };
    if (!json_is_object(j))
        return err_set(e, CODE_INVALID, "record: not an object");
    const char *id = json_string_value(json_object_get(j, "id"));
    if (!uuid_parse(str_of(id), &record.id))
        return err_set(e, CODE_INVALID, "record: id: not a UUID");
    const json_t *trace = json_object_get(j, "traceId");
    if (trace && !trace_id_parse(str_of(json_string_value(trace)), record.trace.trace_id))
        return err_set(e, CODE_INVALID, "record: traceId: not 32 hexadecimal digits");
    int o = name_index(json_object_get(j, "outcome"), INVOCATION_OUTCOMES, outcome_at);
    if (o < 0)
        return err_set(e, CODE_INVALID, "record: outcome: unknown");
    record.outcome = (enum invocation_outcome)o;
    int r = fields_read(j, record_fields, COUNT_OF(record_fields), &record, e);
    const json_t *start = json_object_get(j, "start");
    record.has_start = start != NULL;
    if (r == 0 && start)
        r = start_from_json(start, &record.start, e);
    if (r < 0)
        return err_wrap(e, "record");
    *ret = record;
    return 0;
}
