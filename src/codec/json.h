/* json.h -- JSON through jansson, with the limits that outside bytes need. The only header that
 * includes jansson.h; `json_t` is the tree everywhere (JSON and YAML become the same one).
 *
 * Refuses: over json_depth_max, over json_nodes_max, duplicate keys, NUL in strings, invalid UTF-8,
 * trailing bytes. Errors name line and column.
 */
#pragma once

#include "base/buf.h"
#include "base/limits.h"

#include <jansson.h>

static inline void json_unref(json_t *j) { json_decref(j); }
DEFINE_AUTO(json_unref, json_t *, json_unref)
#define AUTO_JSON AUTO(json_unref)

int json_read(struct str text, const struct limits *l, json_t **ret, struct err *e) MUST_USE;
/* YAML 1.1 as Kubernetes reads it (scalars resolved like sigs.k8s.io/yaml), one document of several;
 * refuses aliases, anchors, tags, merge keys, duplicate keys. Up to max documents. */
int yaml_read(struct str text, const struct limits *l, json_t **ret_docs, size_t max,
              size_t *ret_count, struct err *e) MUST_USE;
void yaml_write(const json_t *j, struct buf *into); /* block style, for -o yaml */
void json_write(const json_t *j, struct buf *into); /* compact */
void json_write_pretty(const json_t *j, struct buf *into);

/* Borrowed look-ups; path is dotted without escapes: "spec.template.metadata". NULL: absent or another type. */
json_t *json_at(const json_t *j, const char *path);
const char *json_text_at(const json_t *j, const char *path);
int64_t json_int_at(const json_t *j, const char *path, int64_t otherwise);
/* Label-like keys hold dots: object at path, then this literal key. */
const char *json_text_key(const json_t *j, const char *path, const char *key);
