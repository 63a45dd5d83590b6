#include "telemetry/tracecontext.h"

enum {
    VERSION_00_SIZE = 55,
    TRACE_AT = 3,
    SPAN_AT = 36,
    FLAGS_AT = 53,
    FLAG_SAMPLED = 1,
    FLAG_RANDOM = 2,
    MEMBER_LONG = 128, /* these go first */
};

/* ---- hex ---- */

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; /* capitals are not W3C's */
}

static bool hex_read(const char *at, size_t bytes, uint8_t *into)
{
    for (size_t i = 0; i < bytes; i++) {
        int high = digit_value(at[2 * i]), low = digit_value(at[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        into[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static void hex_put(const uint8_t *at, size_t bytes, char *into)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes; i++) {
        into[2 * i] = digits[at[i] >> 4];
        into[2 * i + 1] = digits[at[i] & 15];
    }
    into[2 * bytes] = '\0';
}

static bool is_zero(const uint8_t *at, size_t size)
{
    uint8_t any = 0;
    for (size_t i = 0; i < size; i++)
        any |= at[i];
    return any == 0;
}

static uint64_t span_of(const uint8_t at[8])
{
    uint64_t span = 0;
    for (int i = 0; i < 8; i++)
        span = span << 8 | at[i];
    return span;
}

bool trace_id_none(const struct trace_context *t) { return is_zero(t->trace_id, sizeof t->trace_id); }

void trace_id_format(const uint8_t trace_id[16], char into[TRACE_ID_TEXT]) { hex_put(trace_id, 16, into); }

bool trace_id_parse(struct str text, uint8_t ret[16])
{
    uint8_t id[16];
    if (text.size != TRACE_ID_TEXT - 1 || !hex_read(text.at, sizeof id, id) || is_zero(id, sizeof id))
        return false;
    memcpy(ret, id, sizeof id);
    return true;
}

void span_id_format(uint64_t span, char into[SPAN_ID_TEXT])
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(span >> (56 - 8 * i));
    hex_put(bytes, sizeof bytes, into);
}

/* ---- traceparent ---- */

/* Version 00 ends with its flags; what a later one adds begins with another dash. */
static bool shape_good(struct str text, uint8_t version)
{
    if (version == 0xff || text.at[2] != '-' || text.at[SPAN_AT - 1] != '-' || text.at[FLAGS_AT - 1] != '-')
        return false;
    return text.size == VERSION_00_SIZE || (version > 0 && text.at[VERSION_00_SIZE] == '-');
}

bool traceparent_parse(struct str text, struct trace_context *ret)
{
    uint8_t version, flags, span[8];
    struct trace_context t = { .span = ret->span };
    if (text.size < VERSION_00_SIZE || !hex_read(text.at, 1, &version) || !shape_good(text, version) ||
        !hex_read(text.at + TRACE_AT, sizeof t.trace_id, t.trace_id) ||
        !hex_read(text.at + SPAN_AT, sizeof span, span) || !hex_read(text.at + FLAGS_AT, 1, &flags))
        return false;
    t.parent_span = span_of(span);
    if (trace_id_none(&t) || t.parent_span == 0)
        return false;
    t.sampled = (flags & FLAG_SAMPLED) != 0;
    t.random = (flags & FLAG_RANDOM) != 0;
    *ret = t;
    return true;
}

void traceparent_format(const struct trace_context *t, char into[TRACEPARENT_TEXT])
{
    const uint8_t flags = (uint8_t)((t->sampled ? FLAG_SAMPLED : 0) | (t->random ? FLAG_RANDOM : 0));
    ASSERT(t->span != 0 && !trace_id_none(t));
    memcpy(into, "00-", TRACE_AT);
    trace_id_format(t->trace_id, into + TRACE_AT);
    into[SPAN_AT - 1] = '-';
    span_id_format(t->span, into + SPAN_AT);
    into[FLAGS_AT - 1] = '-';
    hex_put(&flags, 1, into + FLAGS_AT);
}

/* By the last seven bytes, which level 2 and UUIDs of version 7 promise to be random. */
bool trace_sampled(const uint8_t trace_id[16], uint32_t per_million)
{
    uint64_t at = 0;
    for (int i = 9; i < 16; i++)
        at = at << 8 | trace_id[i];
    return per_million >= TRACE_SAMPLE_ALL || at < (UINT64_C(1) << 56) / TRACE_SAMPLE_ALL * per_million;
}

/* ---- tracestate ---- */

static bool key_byte(char c, bool first)
{
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
        return true;
    return !first && (c == '_' || c == '-' || c == '*' || c == '/');
}

static bool key_part(struct str part, size_t max)
{
    if (part.size == 0 || part.size > max)
        return false;
    for (size_t i = 0; i < part.size; i++)
        if (!key_byte(part.at[i], i == 0))
            return false;
    return true;
}

/* "vendor" up to 256, or "tenant@vendor" with 241 and 14. */
static bool key_good(struct str key)
{
    struct str vendor = key, tenant;
    if (!memchr(key.at, '@', key.size))
        return key_part(key, 256);
    tenant = str_cut(&vendor, '@');
    return key_part(tenant, 241) && key_part(vendor, 14);
}

static bool value_good(struct str value)
{
    if (value.size == 0 || value.size > 256)
        return false;
    for (size_t i = 0; i < value.size; i++)
        if (value.at[i] < ' ' || value.at[i] > '~' || value.at[i] == ',' || value.at[i] == '=')
            return false;
    return true;
}

static struct str key_of(struct str member) { return str_cut(&member, '='); }

static bool key_known(const struct tracestate *s, struct str key)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (str_eq(key_of(s->at[i]), key))
            return true;
    return false;
}

static bool member_good(const struct tracestate *s, struct str member)
{
    struct str value = member, key = str_cut(&value, '=');
    return s->count < TRACESTATE_MEMBERS_MAX && key.size > 0 && key_good(key) && value_good(value) &&
           !key_known(s, key);
}

void tracestate_add(struct tracestate *s, struct str value)
{
    while (!s->bad && value.size > 0) {
        struct str member = str_trim(str_cut(&value, ','));
        if (member.size == 0)
            continue;
        s->bad = !member_good(s, member);
        if (!s->bad)
            s->at[s->count++] = member;
    }
}

static size_t size_all(const struct tracestate *s)
{
    size_t size = s->count > 0 ? s->count - 1 : 0; /* commas */
    for (uint32_t i = 0; i < s->count; i++)
        size += s->at[i].size;
    return size;
}

/* The first are the newest, and of most use to who comes next. */
static void shorten(struct tracestate *s)
{
    for (uint32_t i = s->count; i-- > 0 && size_all(s) > TRACESTATE_BYTES_MAX;) {
        if (s->at[i].size <= MEMBER_LONG)
            continue;
        s->count--;
        memmove(&s->at[i], &s->at[i + 1], (s->count - i) * sizeof s->at[0]);
    }
    while (size_all(s) > TRACESTATE_BYTES_MAX)
        s->count--;
}

bool tracestate_write(struct tracestate *s, struct buf *b)
{
    if (s->bad)
        return false;
    shorten(s);
    for (uint32_t i = 0; i < s->count; i++) {
        if (i > 0)
            buf_str_append(b, STR(","));
        buf_str_append(b, s->at[i]);
    }
    return s->count > 0;
}
