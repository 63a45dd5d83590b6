#include "invocation/callback.h"
#include "codec/base64.h"
#include "codec/civil.h"
#include "telemetry/json_text.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <stdio.h>
#include <stdlib.h>

enum { SIGNED_HEAD_MAX = 128 };

/* ---- the secret ------------------------------------------------------------------------------ */

int callback_key_read(struct str secret, struct buf *into, struct err *e)
{
    static const struct str prefix = { "whsec_", 6 };
    bool good = true;
    while (secret.size > 0 && strchr(" \r\n", secret.at[secret.size - 1]))
        secret.size--; /* files end with a line */
    if (str_starts(secret, prefix))
        good = base64_read(str_from(secret, prefix.size), into);
    else
        buf_str_append(into, secret);
    if (good && into->size > 0 && into->size <= CALLBACK_KEY_MAX && !into->overflow)
        return 0;
    return err_set(e, CODE_INVALID, "the secret that signs callbacks is 1 to 1024 bytes, as they are or as 'whsec_' and base64");
}

/* ---- what is sent ----------------------------------------------------------------------------- */

static void member_time(struct json_members *m, const char *name, int64_t ns)
{
    char text[CIVIL_TEXT];
    if (ns == 0)
        return;
    civil_rfc3339_format(ns / 1000000000, (int32_t)(ns % 1000000000), text);
    json_member_text(m, name, text);
}

static void member_id(struct json_members *m, const struct uuid *id, uint32_t redrives)
{
    char text[UUID_TEXT], all[UUID_TEXT + 16];
    uuid_format(id, text);
    snprintf(all, sizeof all, "%s.%u", text, redrives);
    json_member_text(m, "id", all);
}

static void data_write(const struct invocation_facts *f, const struct uuid *id, struct buf *into)
{
    char text[UUID_TEXT], result[UUID_TEXT + 32];
    struct json_members m = { .out = into };
    uuid_format(id, text);
    snprintf(result, sizeof result, "/v1/invocations/%s/result", text);
    buf_text(into, ",\"data\":{");
    json_member_text(&m, "id", text);
    json_member_text(&m, "namespace", f->ns);
    json_member_text(&m, "service", f->service);
    json_member_text(&m, "status", invoked_status_name(f->status));
    json_member_number(&m, "attempt", f->attempt);
    if (f->key[0])
        json_member_text(&m, "key", f->key);
    if (f->why[0])
        json_member_text(&m, "why", f->why);
    member_time(&m, "accepted_at", f->accepted_ns);
    member_time(&m, "ended_at", f->ended_ns);
    if (f->answer_row > 0) {
        json_member_number(&m, "answer_status", f->answer_status);
        json_member_number(&m, "answer_bytes", (int64_t)f->answer_bytes);
        json_member_text(&m, "result", result);
    }
    buf_text(into, "}");
}

void callback_event(const struct invocation_facts *f, const struct uuid *id, struct buf *into)
{
    struct json_members m = { .out = into };
    char type[64], text[UUID_TEXT];
    ASSERT(invoked_status_ended(f->status));
    AUTO_FREE char *source = xasprintf("/namespaces/%s/services/%s", f->ns, f->service);
    snprintf(type, sizeof type, "dev.hob.invocation.%s", invoked_status_name(f->status));
    uuid_format(id, text);
    buf_text(into, "{");
    json_member_text(&m, "specversion", "1.0");
    member_id(&m, id, f->redrives);
    json_member_text(&m, "source", source);
    json_member_text(&m, "type", type);
    json_member_text(&m, "subject", text);
    member_time(&m, "time", f->ended_ns);
    json_member_text(&m, "datacontenttype", "application/json");
    data_write(f, id, into);
    buf_text(into, "}");
}

static void sign(struct str head, struct str key, struct str body, struct buf *into)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    AUTO_FREE char *all = xcalloc(1, head.size + body.size + 1);
    memcpy(all, head.at, head.size);
    memcpy(all + head.size, body.at, body.size);
    ASSERT(HMAC(EVP_sha256(), key.at, (int)key.size, (const unsigned char *)all, head.size + body.size, mac, &size));
    base64_write((struct str){ (const char *)mac, size }, into);
}

void callback_headers(const struct uuid *id, uint32_t redrives, int64_t now_s, const struct str *key, struct str body,
                      struct buf *into)
{
    char text[UUID_TEXT], head[SIGNED_HEAD_MAX];
    uuid_format(id, text);
    int size = snprintf(head, sizeof head, "%s.%u.%lld.", text, redrives, (long long)now_s);
    buf_printf(into, "Content-Type: application/cloudevents+json; charset=utf-8\nwebhook-id: %s.%u\nwebhook-timestamp: %lld\n",
               text, redrives, (long long)now_s);
    if (!key)
        return;
    buf_text(into, "webhook-signature: v1,");
    sign((struct str){ head, (size_t)size }, *key, body, into);
    buf_text(into, "\n");
}
