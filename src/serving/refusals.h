/* refusals.h -- what is wrong with an object, field by field, and its text as Knative prints it.
 *
 * Receives one entry per field: message, path, details. Owns copies. Emits "message: path, path\ndetails":
 * entries of the same message and details are one line with their paths sorted, lines are sorted.
 * Refuses to grow past REFUSALS_MAX; what comes after is counted and said. The same list serves for
 * warnings.
 */
#pragma once

#include "base/buf.h"

enum { REFUSALS_MAX = 100 };

struct refusal_row {
    char *message, *path;
    char *details; /* NULL: none */
};
struct refusals {
    struct refusal_row *rows;
    uint32_t count, dropped;
};

void refusals_done(struct refusals *r); /* zeroed is empty */
void refusals_add(struct refusals *r, const char *path, const char *details, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* For a path made on the spot: refusals_add(r, REFUSAL_AT("%s.env[%zu].name", base, i), NULL, …). */
struct refusal_path {
    char text[512];
};
struct refusal_path refusal_path(const char *fmt, ...) PRINTF_LIKE(1, 2);
#define REFUSAL_AT(...) (refusal_path(__VA_ARGS__).text)

bool refusals_any(const struct refusals *r);
void refusals_text(struct refusals *r, struct buf *into); /* sorts */
