/* json.h -- JSON and YAML through jansson and libyaml, with the limits that outside bytes need. The
 * only header that includes jansson.h; `json_t` is the tree everywhere (JSON and YAML become the same).
 *
 * Receives text from outside; owns nothing but the trees it gives away.
 * Refuses: over json_depth_max, over json_nodes_max, duplicate keys, NUL in strings, invalid UTF-8,
 * integers beyond 64 bits, trailing bytes. Errors name line and column.
 */
#pragma once

#include "base/buf.h"
#include "base/limits.h"

#include <jansson.h>

static inline void json_unref(json_t *j) { json_decref(j); }
DEFINE_AUTO(json_unref, json_t *, json_unref)
#define AUTO_JSON AUTO(json_unref)

int json_read(struct str text, const struct limits *l, json_t **ret, struct err *e) MUST_USE;
/* YAML 1.1 as Kubernetes reads it (scalars resolved like sigs.k8s.io/yaml: yes/no/on/off are booleans,
 * 010 is eight, timestamps stay text, a whole float becomes an integer, keys become text). Empty
 * documents are left out; more than `max` others are refused.
 * Refuses also aliases, anchors, tags, merge keys, infinities. */
int yaml_read(struct str text, const struct limits *l, json_t **ret_docs, size_t max,
              size_t *ret_count, struct err *e) MUST_USE;
/* All three write what their reader gives back equal (yaml_write: for trees without whole reals). */
void yaml_write(const json_t *j, struct buf *into); /* block style, for -o yaml */
void json_write(const json_t *j, struct buf *into); /* compact; reals in their shortest form */
void json_write_pretty(const json_t *j, struct buf *into);

/* Borrowed look-ups; path is dotted without escapes: "spec.template.metadata"; a number steps into
 * an array ("containers.0.image"); "" is j itself. NULL: absent or another type. */
json_t *json_at(const json_t *j, const char *path);
const char *json_text_at(const json_t *j, const char *path);
int64_t json_int_at(const json_t *j, const char *path, int64_t otherwise);
/* Label-like keys hold dots: object at path, then this literal key. */
const char *json_text_key(const json_t *j, const char *path, const char *key);

/* RFC 7396. `target` may be NULL or of any type and is not changed; the result is a new reference. */
json_t *json_merge_patch(const json_t *target, const json_t *patch);
