#include "gateway/prefer.h"
#include "codec/json.h"

#define LOOK "/v1/invocations/"
#define SECONDS_MAX UINT64_C(1000000000)

bool prefer_seconds(struct str text, uint64_t *ret_ms)
{
    struct str rest = text, whole = str_cut(&rest, '.');
    bool dotted = memchr(text.size ? text.at : "", '.', text.size) != NULL;
    uint64_t seconds = 0, thousandths = 0, scale = 100;
    if (!str_u64(whole, &seconds) || seconds > SECONDS_MAX || (dotted && rest.size == 0))
        return false;
    for (size_t i = 0; i < rest.size; i++, scale /= 10) {
        if (rest.at[i] < '0' || rest.at[i] > '9')
            return false;
        thousandths += (uint64_t)(rest.at[i] - '0') * scale;
    }
    *ret_ms = seconds * 1000 + thousandths;
    return true;
}

bool prefer_is_look(struct str path, struct uuid *ret, bool *ret_result)
{
    if (!str_starts(path, STR(LOOK)))
        return false;
    struct str rest = str_from(path, strlen(LOOK));
    *ret_result = str_ends(rest, STR("/result"));
    if (*ret_result)
        rest.size -= strlen("/result");
    return uuid_parse(rest, ret);
}

/* ---- Prefer --------------------------------------------------------------------------------- */

static struct str unquoted(struct str s)
{
    bool quoted = s.size >= 2 && s.at[0] == '"' && s.at[s.size - 1] == '"';
    return quoted ? (struct str){ s.at + 1, s.size - 2 } : s;
}

static int preference(struct str element, struct prefer *d, struct err *e)
{
    struct str value = str_cut(&element, ';'); /* its parameters mean nothing here */
    struct str name = str_trim(str_cut(&value, '='));
    value = unquoted(str_trim(value));
    if (str_eq_nocase(name, STR("respond-async")))
        d->async = true;
    if (!str_eq_nocase(name, STR("wait")) || d->waits) /* the first counts */
        return 0;
    d->waits = prefer_seconds(value, &d->wait_ms);
    return d->waits ? 0
                    : err_set(e, CODE_INVALID, "Prefer: wait=\"" STR_FMT "\": seconds expected", (int)MIN(value.size, 40),
                              value.at ? value.at : "");
}

static int preferences(const struct http1_head *h, struct prefer *d, struct err *e)
{
    int r = 0;
    for (uint32_t i = 0; http1_has(h, HTTP_FIELD_PREFER) && i < h->field_count && r == 0; i++) {
        struct str rest = h->fields[i].value, element;
        while (h->fields[i].id == HTTP_FIELD_PREFER && r == 0 && http_list_next(&rest, &element))
            r = preference(element, d, e);
    }
    return r;
}

/* ---- the key -------------------------------------------------------------------------------- */

static bool is_visible(struct str s)
{
    for (size_t i = 0; i < s.size; i++)
        if (s.at[i] <= ' ' || s.at[i] > '~')
            return false;
    return true;
}

static int key_refused(struct err *e, const char *why)
{
    return err_set(e, CODE_INVALID, "Idempotency-Key: %s; want 1 to %d visible characters, best a UUID, with or without quotes",
                   why, PREFER_KEY_MAX);
}

static int key_read(const struct http1_head *h, struct prefer *d, struct err *e)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < h->field_count; i++)
        found += h->fields[i].id == HTTP_FIELD_IDEMPOTENCY_KEY;
    struct str key = unquoted(http1_field(h, HTTP_FIELD_IDEMPOTENCY_KEY));
    if (found == 0)
        return 0;
    if (found > 1)
        return key_refused(e, "it is there more than once");
    if (key.size == 0 || key.size > PREFER_KEY_MAX)
        return key_refused(e, key.size == 0 ? "it is empty" : "it is too long");
    if (!is_visible(key) || memchr(key.at, '"', key.size))
        return key_refused(e, "it has a space, a quote or what is not ASCII");
    memcpy(d->key, key.at, key.size);
    d->key[key.size] = '\0';
    return 0;
}

/* Source and id with a space between: no Idempotency-Key has one, and no source, so no two events have the same. */
static int event_key(struct prefer *d, struct str source, struct str id, struct err *e)
{
    if (source.size == 0 || id.size == 0)
        return err_set(e, CODE_INVALID, "a CloudEvent has a source and an id: they are its key here (hob.dev/durable-events)");
    if (!is_visible(source))
        return err_set(e, CODE_INVALID, "the CloudEvent's source is no URI-reference: it has a space or what is not ASCII");
    if (source.size + id.size + 1 > PREFER_EVENT_MAX || memchr(id.at, '\0', id.size))
        return err_set(e, CODE_INVALID, "the CloudEvent's source and id are longer than %d bytes together", PREFER_EVENT_MAX - 1);
    memcpy(d->key, source.at, source.size);
    d->key[source.size] = ' ';
    memcpy(d->key + source.size + 1, id.at, id.size);
    d->key[source.size + 1 + id.size] = '\0';
    return 0;
}

int prefer_structured(struct prefer *d, struct str content, const struct limits *l, struct err *e)
{
    AUTO_JSON json_t *event = NULL;
    ASSERT(d->structured);
    int r = json_read(content, l, &event, e);
    if (r < 0)
        return err_wrap(e, "the CloudEvent");
    return event_key(d, str_of(json_text_at(event, "source")), str_of(json_text_at(event, "id")), e);
}

int prefer_read(const struct http1_head *h, bool events, struct prefer *ret, struct err *e)
{
    struct prefer d = { 0 };
    int r = preferences(h, &d, e);
    if (r == 0)
        r = key_read(h, &d, e);
    if (r == 0 && events && !d.key[0]) {
        struct str type = http1_field(h, HTTP_FIELD_CONTENT_TYPE), version = http1_field_named(h, STR("ce-specversion"));
        d.structured = str_eq_nocase(str_trim(str_cut(&type, ';')), STR("application/cloudevents+json"));
        if (!d.structured && version.at)
            r = event_key(&d, http1_field_named(h, STR("ce-source")), http1_field_named(h, STR("ce-id")), e);
    }
    if (r == 0)
        *ret = d;
    return r;
}
