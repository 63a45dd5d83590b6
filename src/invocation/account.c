#include "invocation/account.h"
#include "artifact/hasher.h"
#include "codec/civil.h"
#include "codec/json.h"

#include <stdio.h>

struct uuid account_record_of(const struct uuid *id, uint32_t attempt)
{
    char text[UUID_TEXT], both[UUID_TEXT + 16];
    struct uuid record;
    uuid_format(id, text);
    snprintf(both, sizeof both, "%s %u", text, attempt);
    struct digest hash = hasher_of(both, strlen(both));
    memcpy(record.at, hash.at, sizeof record.at);
    record.at[6] = (uint8_t)((record.at[6] & 0x0f) | 0x80); /* version 8 */
    record.at[8] = (uint8_t)((record.at[8] & 0x3f) | 0x80);
    return record;
}

static void text_set(json_t *j, const char *name, const char *text)
{
    if (text && *text) /* bytes that are not UTF-8 are none: a path may have them */
        json_object_set_new(j, name, json_string(text));
}

static void number_set(json_t *j, const char *name, uint64_t n)
{
    json_object_set_new(j, name, json_integer((json_int_t)n));
}

static void number_set_if(json_t *j, const char *name, uint64_t n)
{
    if (n != 0)
        number_set(j, name, n);
}

static void time_set(json_t *j, const char *name, int64_t ns)
{
    char text[CIVIL_TEXT];
    if (ns <= 0)
        return;
    civil_rfc3339_format(ns / 1000000000, (int32_t)(ns % 1000000000 / 1000000 * 1000000), text);
    json_object_set_new(j, name, json_string(text));
}

static void attempts_set(json_t *j, const struct uuid *id, uint32_t last)
{
    json_t *list = json_array();
    for (uint32_t n = last > ACCOUNT_ATTEMPTS_MAX ? last - ACCOUNT_ATTEMPTS_MAX + 1 : 1; n <= last; n++) {
        struct uuid record = account_record_of(id, n);
        char text[UUID_TEXT];
        uuid_format(&record, text);
        json_array_append_new(list, json_pack("{s:i, s:s}", "attempt", (int)n, "record", text));
    }
    json_object_set_new(j, "attempts", list);
}

static void callback_set(json_t *j, const struct invocation_facts *f)
{
    if (!f->callback || !f->callback[0])
        return;
    json_t *c = json_pack("{s:b, s:i}", "done", f->callback_done, "tries", (int)f->callback_tries);
    text_set(c, "url", f->callback);
    text_set(c, "why", f->callback_why);
    json_object_set_new(j, "callback", c);
}

static json_t *account_json(const struct uuid *id, const struct invocation_facts *f)
{
    char text[UUID_TEXT];
    json_t *j = json_object();
    if (id) {
        uuid_format(id, text);
        text_set(j, "id", text);
    }
    text_set(j, "namespace", f->ns);
    text_set(j, "service", f->service);
    text_set(j, "method", f->method);
    text_set(j, "path", f->path);
    text_set(j, "key", f->key);
    text_set(j, "status", invoked_status_name(f->status));
    number_set(j, "attempt", f->attempt);
    number_set(j, "attempts_max", f->attempts_max);
    json_object_set_new(j, "safe", json_boolean(f->safe));
    number_set_if(j, "redrives", f->redrives);
    if (f->cancel_asked && !invoked_status_ended(f->status))
        json_object_set_new(j, "cancel_asked", json_true());
    time_set(j, "accepted_at", f->accepted_ns);
    time_set(j, "deadline", f->deadline_ms > INT64_MAX / 1000000 ? INT64_MAX : f->deadline_ms * 1000000);
    if (f->status == INVOKED_WAITING)
        time_set(j, "next_attempt_at", f->next_ms * 1000000);
    if (f->status == INVOKED_RUNNING)
        time_set(j, "attempt_began_at", f->attempt_ns);
    time_set(j, "ended_at", f->ended_ns);
    number_set_if(j, "answer_status", f->answer_status);
    if (f->answer_row != 0)
        number_set(j, "answer_size", f->answer_bytes);
    text_set(j, "why", f->why);
    if (f->checkpoint != 0) {
        number_set(j, "checkpoint_size", f->checkpoint_bytes);
        number_set(j, "checkpoint_attempt", f->checkpoint);
    }
    callback_set(j, f);
    if (id)
        attempts_set(j, id, f->attempt);
    return j;
}

void account_write(const struct uuid *id, const struct invocation_facts *f, struct buf *into)
{
    AUTO_JSON json_t *j = account_json(id, f);
    json_write(j, into);
}
