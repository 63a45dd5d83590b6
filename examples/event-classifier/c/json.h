/* json.h -- strict JSON, read in place.
 *
 * First json_check() looks at a whole document once: RFC 8259 and UTF-8, nothing looser, nesting
 * bounded. The other functions then walk a document that passed, and cannot fail on its form.
 * Owns nothing: values are slices of the text they came from. Numbers are never converted.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum json_fault { JSON_OK, JSON_NOT_UTF8, JSON_MALFORMED, JSON_TOO_DEEP };

struct json { /* one value; its first byte tells its kind */
    const char *at;
    size_t size;
};

/* On JSON_OK *ret is the document's value without the space around it. */
enum json_fault json_check(const char *at, size_t size, int depth_max, struct json *ret);

static inline bool json_is_object(struct json v) { return v.at[0] == '{'; }
static inline bool json_is_array(struct json v) { return v.at[0] == '['; }
static inline bool json_is_string(struct json v) { return v.at[0] == '"'; }

/* The member of an object with this name; the last one where there are several. */
bool json_member(struct json object, const char *name, struct json *ret);

/* Walks an array: start with *at = 0; false at its end. */
bool json_next(struct json array, size_t *at, struct json *ret);

/* Decodes a string as UTF-8 into `to`, writing at most `max` bytes; returns its whole size, which
 * may be larger. *ret_half: it holds half a surrogate pair, which is no text. */
size_t json_string(struct json string, char *to, size_t max, bool *ret_half);
