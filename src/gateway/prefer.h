/* prefer.h -- what a request's head asks for beyond an answer: to be a durable invocation (docs/decisions/0011), to be waited for,
 * to be known by a key. Pure.
 *
 * Receives a head, and for a structured CloudEvent its content. Emits a value; owns nothing.
 * Refuses (CODE_INVALID) a key that could be read in two ways: more than one, empty, over 255 bytes, with other than visible
 * characters; an event without what would be its key; a wait that is no number. Preferences that it does not know are passed over,
 * as RFC 7240 says. */
#pragma once

#include "base/limits.h"
#include "base/uuid.h"
#include "net/http1.h"

enum { PREFER_KEY_MAX = 255, PREFER_EVENT_MAX = 2048 /* source, a space, id */, PREFER_KEY_TEXT = PREFER_EVENT_MAX + 1 };

struct prefer {
    bool async;              /* Prefer: respond-async */
    bool waits;              /* Prefer: wait=N */
    uint64_t wait_ms;        /* of it */
    bool structured;         /* the key is in the content: prefer_structured() */
    char key[PREFER_KEY_TEXT]; /* "": none */
};
static inline bool prefer_is_durable(const struct prefer *d) { return d->async || d->structured || d->key[0]; }

/* events: a CloudEvent is one, its source and id are the key. */
int prefer_read(const struct http1_head *h, bool events, struct prefer *ret, struct err *e) MUST_USE;
int prefer_structured(struct prefer *d, struct str content, const struct limits *l, struct err *e) MUST_USE;

/* "/v1/invocations/{id}", "/v1/invocations/{id}/result" */
bool prefer_is_look(struct str path, struct uuid *ret, bool *ret_result);
/* "5" or "5.5" seconds as milliseconds, no more than 10^9 seconds. */
bool prefer_seconds(struct str text, uint64_t *ret_ms);
