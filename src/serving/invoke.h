/* invoke.h -- what a Revision's annotations say about durable invocations (docs/decisions/0011): which requests may be repeated,
 * how often, how soon, and how long their ends are kept. Pure.
 *
 * Receives annotations that were checked. Emits values. Refuses, in invoke_methods_parse(), what is neither "true", "false" nor a
 * list of methods; in invoke_check(), checkpoints of what is bound to a task queue, or that has the port they need. */
#pragma once

#include "codec/json.h"
#include "net/http.h"
#include "serving/refusals.h"

enum { INVOKE_PORT = 7234 }; /* of 127.0.0.1 inside an instance: its attempts leave checkpoints there, served by hob */

struct invoke_policy {
    uint32_t safe_methods; /* hob.dev/idempotent: bits of enum http_method; ~0: all there are */
    bool durable_events;   /* hob.dev/durable-events */
    bool checkpoints;      /* hob.dev/checkpoints */
    uint32_t attempts_max, backoff_ms, backoff_max_ms;
    uint64_t retention_ms;
    const char *callback, *callback_hosts, *callback_secret; /* the Revision's own; NULL: none */
};
void invoke_read(const json_t *annotations, struct invoke_policy *ret);
/* `at`: the path of the template. */
void invoke_check(const json_t *annotations, const json_t *pod, const char *at, struct refusals *refused);
bool invoke_is_safe(const struct invoke_policy *p, enum http_method m);

/* "true": ~0, "false": 0, "GET, PUT": theirs. */
bool invoke_methods_parse(struct str text, uint32_t *ret);
