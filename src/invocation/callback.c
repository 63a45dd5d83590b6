#include "invocation/callback.h"
#include "codec/base64.h"
#include "codec/civil.h"
#include "telemetry/json_text.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <stdio.h>
#include <stdlib.h>

enum { SIGNED_HEAD_MAX = 128, HOSTS_MAX = 64 };

/* ---- where to ------------------------------------------------------------------------------- */

static bool scheme_cut(struct str *url)
{
    static const char *const schemes[] = { "http://", "https://" };
    for (size_t i = 0; i < COUNT_OF(schemes); i++)
        if (url->size >= strlen(schemes[i]) && str_eq_nocase(str_head(*url, strlen(schemes[i])), str_of(schemes[i]))) {
            *url = str_from(*url, strlen(schemes[i]));
            return true;
        }
    return false;
}

/* host or host:port of a URL; empty: it has none. */
static struct str authority_of(struct str url)
{
    if (!scheme_cut(&url))
        return str_head(url, 0);
    size_t end = 0;
    while (end < url.size && url.at[end] != '/' && url.at[end] != '?' && url.at[end] != '#')
        end++;
    return str_head(url, end);
}

static bool visible(struct str text)
{
    for (size_t i = 0; i < text.size; i++)
        if ((unsigned char)text.at[i] <= ' ' || (unsigned char)text.at[i] >= 0x7f)
            return false;
    return true;
}

static size_t last_colon(struct str authority)
{
    for (size_t i = authority.size; i > 0; i--) {
        if (authority.at[i - 1] == ']')
            break;
        if (authority.at[i - 1] == ':')
            return i - 1;
    }
    return authority.size;
}

static bool port_fits(struct str authority)
{
    size_t colon = last_colon(authority);
    uint64_t port;
    return colon == authority.size || (str_u64(str_from(authority, colon + 1), &port) && port > 0 && port <= 65535);
}

int callback_target_check(struct str url, struct err *e)
{
    struct str authority = authority_of(url);
    const char *why = NULL;
    if (url.size > CALLBACK_TARGET_MAX)
        why = "it is longer than 500 bytes";
    else if (!visible(url))
        why = "only visible ASCII characters can be sent: encode the others with %";
    else if (authority.size == 0 || last_colon(authority) == 0)
        why = "it is not a URL that begins with http:// or https:// and names a host";
    else if (memchr(authority.at, '@', authority.size))
        why = "user names and passwords do not belong into it: sign with hob.dev/callback-secret";
    else if (memchr(url.at, '#', url.size))
        why = "a fragment (#) is never sent";
    else if (!port_fits(authority))
        why = "its port is none";
    return why ? err_set(e, CODE_INVALID, "callback '%.*s': %s", (int)MIN(url.size, (size_t)100), url.at, why) : 0;
}

/* One of a list; the rest stays. False: the list is over. */
static bool host_cut(struct str *list, struct str *ret)
{
    while (list->size > 0) {
        *ret = str_trim(str_cut(list, ','));
        if (ret->size > 0)
            return true;
    }
    return false;
}

static bool host_matches(struct str want, struct str authority)
{
    struct str port = str_from(want, last_colon(want)), host = str_head(authority, last_colon(authority));
    want = str_head(want, last_colon(want));
    if (port.size > 0 && !str_eq(port, str_from(authority, host.size)))
        return false;
    if (str_is(want, "*"))
        return true;
    if (want.size < 3 || want.at[0] != '*')
        return str_eq_nocase(want, host);
    struct str tail = str_from(want, 1); /* with its dot: *.example.net is not example.net */
    return host.size > tail.size && str_eq_nocase(tail, str_from(host, host.size - tail.size));
}

int callback_target_allowed(struct str url, struct str hosts, struct err *e)
{
    struct str authority = authority_of(url), want;
    while (host_cut(&hosts, &want))
        if (host_matches(want, authority))
            return 0;
    return err_set(e, CODE_DENIED, "callback to '%.*s': this Service does not let clients name it; its annotation "
                                   "hob.dev/callback-hosts says which hosts they may",
                   (int)MIN(authority.size, (size_t)100), authority.at);
}

int callback_hosts_check(struct str hosts, struct err *e)
{
    struct str want;
    size_t count = 0;
    while (host_cut(&hosts, &want)) {
        bool star_inside = want.size > 1 && memchr(want.at + 1, '*', want.size - 1);
        bool star_alone = want.at[0] == '*' && last_colon(want) > 1 && want.at[1] != '.';
        if (++count > HOSTS_MAX || !visible(want) || star_inside || star_alone || memchr(want.at, '/', want.size) ||
            memchr(want.at, '@', want.size) || !port_fits(want))
            return err_set(e, CODE_INVALID, "'%.*s' is no host: write names like hooks.example.org, *.example.net or "
                                            "host:port, joined by commas (at most 64), or * for every one",
                           (int)MIN(want.size, (size_t)100), want.at);
    }
    return count > 0 ? 0 : err_set(e, CODE_INVALID, "it names no host");
}

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
