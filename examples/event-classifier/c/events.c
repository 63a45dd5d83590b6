#include "events.h"

#include "json.h"

#include <stdarg.h>

__attribute__((format(printf, 2, 3))) static int refuse(struct refusal *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(r->why, sizeof r->why, format, args);
    va_end(args);
    r->status = 400;
    return -1;
}

void events_quote(struct bytes *out, const char *text, size_t size)
{
    static const char named[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    bytes_text(out, "\"");
    for (size_t i = 0; i < size; i++) {
        const char *name = NULL;
        for (size_t k = 0; k < sizeof named - 1 && name == NULL; k += 2)
            name = named[k] == text[i] ? named + k + 1 : NULL;
        if (name != NULL) {
            bytes_add(out, (char[]){ '\\', *name }, 2);
        } else if ((unsigned char)text[i] < 0x20) {
            bytes_format(out, "\\u%04x", (unsigned)text[i]);
        } else {
            bytes_add(out, text + i, 1);
        }
    }
    bytes_text(out, "\"");
}

/* A member that must be a string with something in it. Returns its size or -1. */
static int member(struct json event, const char *key, const char *where, char *to, size_t max,
                  struct refusal *r)
{
    struct json v;
    bool half = false;
    size_t size = 0;
    if (json_member(event, key, &v) && json_is_string(v))
        size = json_string(v, to, max, &half);
    if (size == 0)
        return refuse(r, "%s: %s is not a string, or empty", where, key);
    if (half)
        return refuse(r, "%s: %s holds half a surrogate pair", where, key);
    if (size > max)
        return refuse(r, "%s: %s is longer than %zu bytes", where, key, max);
    return (int)size;
}

/* Checks the envelope and steps into `data`. */
static int open_cloud_event(struct json *event, const char *where, char *room, struct refusal *r)
{
    struct json v;
    bool half;
    if (!json_member(*event, "specversion", &v) || !json_is_string(v) ||
        json_string(v, room, 4, &half) != 3 || memcmp(room, "1.0", 3) != 0)
        return refuse(r, "%s: specversion is not 1.0", where);
    if (member(*event, "source", where, room, MODEL_TEXT_BYTES_MAX, r) < 0 ||
        member(*event, "type", where, room, MODEL_TEXT_BYTES_MAX, r) < 0)
        return -1;
    if (!json_member(*event, "data", &v) || !json_is_object(v))
        return refuse(r, "%s: data is not an object", where);
    *event = v;
    return 0;
}

static void write_answer(const struct model *m, const char *id, size_t id_size, const char *text,
                         size_t text_size, struct bytes *out)
{
    struct model_best best[MODEL_BEST];
    size_t count = model_best(m, text, text_size, best);
    bytes_text(out, "{\"id\":");
    events_quote(out, id, id_size);
    bytes_format(out, ",\"section\":\"%.*s\",\"top\":[", m->label_sizes[best[0].label],
                 m->labels[best[0].label]);
    for (size_t i = 0; i < count; i++)
        bytes_format(out, "%s{\"section\":\"%.*s\",\"score\":%d}", i > 0 ? "," : "",
                     m->label_sizes[best[i].label], m->labels[best[i].label], best[i].score);
    bytes_text(out, "]}");
}

static int answer_one(const struct model *m, struct json event, const char *where, bool cloud,
                      const char *ce_id, struct bytes *out, struct refusal *r)
{
    char id[EVENT_ID_BYTES_MAX], text[MODEL_TEXT_BYTES_MAX];
    if (!json_is_object(event))
        return refuse(r, "%s: not an object", where);
    int id_size = ce_id != NULL ? (int)strlen(ce_id) : member(event, "id", where, id, sizeof id, r);
    if (id_size < 0 || (cloud && open_cloud_event(&event, where, text, r) < 0))
        return -1;
    const char *name = ce_id != NULL ? ce_id : id;
    int size = member(event, "text", where, text, sizeof text, r);
    if (size < 0)
        return -1;
    if (cloud) {
        bytes_text(out, "{\"specversion\":\"1.0\",\"id\":");
        events_quote(out, name, (size_t)id_size);
        bytes_text(out, ",\"source\":\"/event-classifier\",\"type\":\"dev.hob.example.classified\","
                        "\"datacontenttype\":\"application/json\",\"data\":");
    }
    write_answer(m, name, (size_t)id_size, text, (size_t)size, out);
    if (cloud)
        bytes_text(out, "}");
    return 0;
}

static int answer_batch(const struct model *m, struct json batch, bool cloud, struct bytes *out,
                        struct refusal *r)
{
    struct json event;
    int count = 0;
    for (size_t at = 0; json_next(batch, &at, &event);)
        count++;
    if (count > EVENTS_MAX)
        return refuse(r, "batch of more than %d events", EVENTS_MAX);
    count = 0;
    bytes_text(out, "[");
    for (size_t at = 0; json_next(batch, &at, &event); count++) {
        char where[32];
        snprintf(where, sizeof where, "event %d", count);
        if (count > 0)
            bytes_text(out, ",");
        if (answer_one(m, event, where, cloud, NULL, out, r) < 0)
            return -1;
    }
    bytes_text(out, "]");
    return 0;
}

int events_answer(const struct model *m, enum event_kind kind, const char *ce_id, const char *body,
                  size_t size, struct bytes *out, struct refusal *ret_refusal)
{
    struct json v;
    switch (json_check(body, size, EVENT_DEPTH_MAX, &v)) {
    case JSON_OK: break;
    case JSON_NOT_UTF8: return refuse(ret_refusal, "body is not UTF-8");
    case JSON_MALFORMED: return refuse(ret_refusal, "body is not JSON");
    case JSON_TOO_DEEP: return refuse(ret_refusal, "body is nested too deeply");
    }
    if (kind == EVENT_CLOUD_BATCH && !json_is_array(v))
        return refuse(ret_refusal, "body is not an array");
    if (kind == EVENT_CLOUD_BATCH || (kind == EVENT_PLAIN && json_is_array(v)))
        return answer_batch(m, v, kind == EVENT_CLOUD_BATCH, out, ret_refusal);
    return answer_one(m, v, "event", kind == EVENT_CLOUD, kind == EVENT_BINARY ? ce_id : NULL, out,
                      ret_refusal);
}
