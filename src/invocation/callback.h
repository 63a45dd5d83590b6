/* callback.h -- how somebody is told that an invocation ended: a CloudEvent, signed as Standard Webhooks are. Pure.
 *
 * Receives what is known of the invocation, the time, and the secret's bytes. Emits the event (JSON, structured mode) and the
 * header lines of one try: webhook-id is the same for each try of one end, webhook-timestamp is the try's. Owns nothing.
 * Refuses targets that are no plain http(s) URL of at most CALLBACK_TARGET_MAX bytes, or that the Service does not name. Where a name
 * leads is looked at when it is connected to (artifact/origin.h). */
#pragma once

#include "invocation/invocation.h"

enum { CALLBACK_TARGET_MAX = 500, CALLBACK_KEY_MAX = 1024, CALLBACK_EVENT_MAX = 16384 };

int callback_target_check(struct str url, struct err *e) MUST_USE;
/* May a client name this target? `hosts`: "hooks.example.org, *.example.net:8443"; "*" is every one; without a port: any.
 * CODE_DENIED: no. */
int callback_target_allowed(struct str url, struct str hosts, struct err *e) MUST_USE;
int callback_hosts_check(struct str hosts, struct err *e) MUST_USE;

/* What stands in a Secret: "whsec_" and base64, or the bytes themselves. */
int callback_key_read(struct str secret, struct buf *into, struct err *e) MUST_USE;

/* Of one that has ended. */
void callback_event(const struct invocation_facts *f, const struct uuid *id, struct buf *into);
/* "Name: value\n"…; without a key (NULL) it is not signed. */
void callback_headers(const struct uuid *id, uint32_t redrives, int64_t now_s, const struct str *key, struct str body,
                      struct buf *into);
