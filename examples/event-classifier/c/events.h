/* events.h -- events in, answers out: JSON and CloudEvents 1.0, one or a batch.
 *
 * Receives a checked HTTP request's body and the three header fields that matter. Emits the answer's
 * JSON. Refuses, with an HTTP status and a reason, a body it cannot read whole: then nothing of a
 * batch is answered. Says byte for byte what ../python/handler.py says.
 */
#pragma once

#include "bytes.h"
#include "model.h"

enum { EVENT_ID_BYTES_MAX = 256, EVENTS_MAX = 1024, EVENT_DEPTH_MAX = 64 };

enum event_kind { EVENT_PLAIN, EVENT_CLOUD, EVENT_CLOUD_BATCH, EVENT_BINARY };

struct refusal {
    int status;
    char why[160];
};

/* ce_id: for EVENT_BINARY, from the header. 0, or -1 with *ret_refusal. Adds to `out` either way:
 * the caller throws it away on -1. */
int events_answer(const struct model *m, enum event_kind kind, const char *ce_id, const char *body,
                  size_t size, struct bytes *out, struct refusal *ret_refusal);

/* JSON text of a string, with what must be escaped and nothing else. */
void events_quote(struct bytes *out, const char *text, size_t size);
