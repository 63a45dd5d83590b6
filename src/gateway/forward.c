#include "gateway/forward.h"
#include "gateway/grpc.h"
#include "net/http1_write.h"

static void number_write(struct buf *b, uint64_t value)
{
    char text[24];
    char *at = text + sizeof text;
    do
        *--at = (char)('0' + value % 10);
    while ((value /= 10) > 0);
    buf_append(b, at, (size_t)(text + sizeof text - at));
}

/* "Name: old, old, " with all earlier values of a list field; what follows ends the line. */
static void list_open(struct buf *b, const struct http1_head *h, enum http_field_id id)
{
    buf_text(b, http_field_name(id));
    buf_str_append(b, STR(": "));
    for (uint32_t i = 0; http1_has(h, id) && i < h->field_count; i++) {
        if (h->fields[i].id != id || h->fields[i].value.size == 0)
            continue;
        buf_str_append(b, h->fields[i].value);
        buf_str_append(b, STR(", "));
    }
}

static void forwarded_write(struct buf *b, const struct forward_request *f)
{
    struct str host = http1_field(f->head, HTTP_FIELD_HOST);
    bool v6 = memchr(f->client.at, ':', f->client.size) != NULL;
    list_open(b, f->head, HTTP_FIELD_FORWARDED);
    buf_str_append(b, v6 ? STR("for=\"[") : STR("for="));
    buf_str_append(b, f->client);
    buf_str_append(b, v6 ? STR("]\"") : STR(""));
    if (host.size > 0) { /* the parser lets nothing into it that would need escaping */
        buf_str_append(b, STR(";host=\""));
        buf_str_append(b, host);
        buf_str_append(b, STR("\""));
    }
    buf_str_append(b, STR(";proto=http\r\n"));

    list_open(b, f->head, HTTP_FIELD_X_FORWARDED_FOR);
    buf_str_append(b, f->client);
    if (!http1_has(f->head, HTTP_FIELD_X_FORWARDED_PROTO))
        buf_str_append(b, STR("\r\nX-Forwarded-Proto: http"));
    if (!http1_has(f->head, HTTP_FIELD_X_FORWARDED_HOST) && host.size > 0) {
        buf_str_append(b, STR("\r\nX-Forwarded-Host: "));
        buf_str_append(b, host);
    }
    buf_str_append(b, STR("\r\n"));
}

static void id_write(struct buf *b, const struct uuid *id)
{
    char text[UUID_TEXT];
    uuid_format(id, text);
    buf_str_append(b, STR("Hob-Invocation-Id: "));
    buf_append(b, text, UUID_TEXT - 1);
}

void forward_upgrade(struct buf *b, const struct http1_head *h)
{
    for (uint32_t i = 0; i < h->field_count; i++)
        if (h->fields[i].id == HTTP_FIELD_UPGRADE)
            http1_write_field(b, h->fields[i].name, h->fields[i].value);
}

void forward_request(struct buf *b, const struct forward_request *f)
{
    const struct http1_head *h = f->head;
    const uint64_t of_attempt = BIT(HTTP_FIELD_HOB_INVOCATION_ID) | BIT(HTTP_FIELD_HOB_ATTEMPT) | BIT(HTTP_FIELD_HOB_CHECKPOINT);
    const bool named = f->kept || (f->attempt && http1_has(h, HTTP_FIELD_HOB_INVOCATION_ID));
    const uint64_t of_hop = f->kept ? BIT(HTTP_FIELD_PREFER) | BIT(HTTP_FIELD_HOB_CALLBACK) : 0;
    const uint64_t ours = (f->attempt ? 0 : of_attempt) | of_hop | (f->grpc ? BIT(HTTP_FIELD_GRPC_TIMEOUT) : 0) | BIT(HTTP_FIELD_FORWARDED) | BIT(HTTP_FIELD_X_FORWARDED_FOR) |
                          BIT(HTTP_FIELD_HOB_DEADLINE) |
                          BIT(HTTP_FIELD_HOB_HOPS) | BIT(HTTP_FIELD_EXPECT) | BIT(HTTP_FIELD_TRACEPARENT) |
                          BIT(HTTP_FIELD_TRACESTATE) |
                          /* Knative's own words between its parts: a function never sees them */
                          BIT(HTTP_FIELD_KNATIVE_NAMESPACE) | BIT(HTTP_FIELD_KNATIVE_REVISION) |
                          BIT(HTTP_FIELD_KNATIVE_DEFAULT_ROUTE) | (f->tag.size > 0 ? BIT(HTTP_FIELD_KNATIVE_SERVING_TAG) : 0);
    http1_write_request(b, h->method, h->target);
    http1_write_fields(b, h, ours);
    if (!f->kept && h->framing != HTTP1_BODY_NONE)
        http1_write_framing(b, h->framing, h->body_bytes);
    else if (!f->kept && h->content_length == 0)
        http1_write_framing(b, HTTP1_BODY_LENGTH, 0);
    if (f->upgrade) {
        buf_str_append(b, STR("Connection: Upgrade\r\n"));
        forward_upgrade(b, h);
    }
    forwarded_write(b, f);
    tracing_write(b, h, f->trace);
    if (f->tag.size > 0)
        http1_write_field(b, STR("Knative-Serving-Tag"), f->tag);
    if (f->default_route)
        http1_write_field(b, STR("Knative-Serving-Default-Route"), STR("true"));
    if (!named) {
        id_write(b, f->id);
        buf_str_append(b, STR("\r\n"));
    }
    buf_str_append(b, STR("Hob-Hops: "));
    number_write(b, f->hops);
    buf_str_append(b, STR("\r\n"));
}

void forward_request_end(struct buf *b, uint64_t deadline_left_ms, bool grpc)
{
    if (deadline_left_ms != UINT64_MAX) {
        if (grpc)
            grpc_timeout_write(b, deadline_left_ms);
        buf_str_append(b, STR("Hob-Deadline: "));
        number_write(b, deadline_left_ms);
        buf_str_append(b, STR("\r\n"));
    }
    http1_write_end(b);
}

/* ---- what the function says of itself ------------------------------------------------------- */

/* Only hob speaks of itself under "Hob-"; some read '_' as '-'. */
static bool name_is_ours(struct str name)
{
    static const struct str prefix = STR("hob");
    return name.size > prefix.size && (name.at[prefix.size] == '-' || name.at[prefix.size] == '_') &&
           str_eq_nocase(str_head(name, prefix.size), prefix);
}

/* The name with which a list's member begins: "queue" of "queue;dur=1". */
static struct str member_name(struct str member) { return str_trim(str_cut(&member, ';')); }

static bool metric_is_ours(struct str name)
{
    static const struct str others[] = { STR("queue"), STR("ready"), STR("handler") };
    for (size_t i = 0; i < COUNT_OF(others); i++)
        if (str_eq_nocase(name, others[i]))
            return true;
    for (unsigned p = 0; p < PHASES; p++)
        if (str_eq_nocase(name, str_of(phase_name((enum phase)p))))
            return true;
    return false;
}

/* A quoted string without an end would swallow what hob says after it. */
static bool quotes_end(struct str member)
{
    bool quoted = false;
    for (size_t i = 0; i < member.size; i++) {
        if (quoted && member.at[i] == '\\')
            i++;
        else if (member.at[i] == '"')
            quoted = !quoted;
    }
    return !quoted;
}

static bool member_passes(enum http_field_id id, struct str member)
{
    struct str name = member_name(member);
    bool ours = id == HTTP_FIELD_CACHE_STATUS ? name_is_ours(name) : metric_is_ours(name);
    return !ours && quotes_end(member) && !memchr(name.at, '"', name.size);
}

/* The list without the members that would pass for hob's; nothing, when none is left. */
static void list_write(struct buf *b, const struct http_field *f)
{
    struct str rest = f->value, member;
    bool first = true;
    while (http_list_next(&rest, &member)) {
        if (!member_passes((enum http_field_id)f->id, member))
            continue;
        if (first)
            buf_str_append(b, f->name);
        buf_str_append(b, first ? STR(": ") : STR(", "));
        buf_str_append(b, member);
        first = false;
    }
    if (!first)
        buf_str_append(b, STR("\r\n"));
}

static bool is_list(const struct http_field *f)
{
    return f->id == HTTP_FIELD_SERVER_TIMING || f->id == HTTP_FIELD_CACHE_STATUS;
}

static void answer_field(struct buf *b, const struct http_field *f)
{
    if (is_list(f))
        list_write(b, f);
    else if (!f->hop && f->id != HTTP_FIELD_CONTENT_LENGTH && !name_is_ours(f->name))
        http1_write_field(b, f->name, f->value);
}

void forward_answer_fields(struct buf *b, const struct http1_head *answer)
{
    bool plain = true;
    for (uint32_t i = 0; plain && i < answer->field_count; i++)
        plain = !is_list(&answer->fields[i]) && !name_is_ours(answer->fields[i].name);
    if (plain) { /* as good as always */
        http1_write_fields(b, answer, 0);
        return;
    }
    for (uint32_t i = 0; i < answer->field_count; i++)
        answer_field(b, &answer->fields[i]);
}

void forward_answer_last_chunk(struct buf *b, struct str trailers)
{
    struct buf kept;
    buf_init(&kept, trailers.size + 1);
    while (trailers.size > 0) {
        struct str line = str_cut(&trailers, '\n');
        struct http_field f;
        const char *why;
        if (line.size > 1 && http1_field_line(str_head(line, line.size - 1), &f, &why))
            answer_field(&kept, &f);
    }
    http1_write_last_chunk(b, buf_str(&kept));
    buf_done(&kept);
}

void forward_answer_end(struct buf *b, const struct forward_answer *f)
{
    static const struct str connection[] = {
        [FORWARD_KEEP] = { "", 0 },
        [FORWARD_KEEP_1_0] = { "Connection: keep-alive\r\n", 24 },
        [FORWARD_CLOSE] = { "Connection: close\r\n", 19 },
        [FORWARD_UPGRADE] = { "Connection: Upgrade\r\n", 21 },
    };
    buf_str_append(b, connection[f->connection]);
    if (f->date.at) {
        buf_str_append(b, STR("Date: "));
        buf_str_append(b, f->date);
        buf_str_append(b, STR("\r\n"));
    }
    if (f->id) {
        id_write(b, f->id);
        buf_str_append(b, STR("\r\n"));
    }
    timing_write(b, f->timing);
    timing_write_caches(b, f->timing);
    http1_write_end(b);
}
