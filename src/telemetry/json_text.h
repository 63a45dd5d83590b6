/* json_text.h -- texts and numbers written as JSON without a tree: what is written per request.
 *
 * Receives texts of unknown origin. Appends; the buf's maximum bounds it. A byte that belongs to no UTF-8
 * character becomes '?', so what comes out is always JSON. Owns nothing. */
#pragma once

#include "base/buf.h"

void json_text_put(struct buf *b, const char *text); /* with its quotes */
/* A list of "name":value members; zeroed but for `out` it begins. */
struct json_members {
    struct buf *out;
    bool begun;
};
void json_member_text(struct json_members *m, const char *name, const char *value);
void json_member_flag(struct json_members *m, const char *name, bool value);
void json_member_number(struct json_members *m, const char *name, int64_t value);
