/* callback.h -- how somebody is told that an invocation ended: a CloudEvent, signed as Standard Webhooks are. Pure.
 *
 * Receives what is known of the invocation, the time, and the secret's bytes. Emits the event (JSON, structured mode) and the
 * header lines of one try: webhook-id is the same for each try of one end, webhook-timestamp is the try's. Owns nothing.
 * Refuses secrets that cannot sign. Where it may go is codec/callback_target.h's. */
#pragma once

#include "invocation/invocation.h"

enum { CALLBACK_KEY_MAX = 1024, CALLBACK_EVENT_MAX = 16384 };

/* What stands in a Secret: "whsec_" and base64, or the bytes themselves. */
int callback_key_read(struct str secret, struct buf *into, struct err *e) MUST_USE;

/* Of one that has ended. */
void callback_event(const struct invocation_facts *f, const struct uuid *id, struct buf *into);
/* "Name: value\n"…; without a key (NULL) it is not signed. */
void callback_headers(const struct uuid *id, uint32_t redrives, int64_t now_s, const struct str *key, struct str body,
                      struct buf *into);
