/* json_patch.h -- RFC 6902: a list of operations, all of them or none. Pure.
 *
 * Receives a document and a patch. Emits the patched document, a tree of its own. Refuses with CODE_INVALID what is
 * not a patch (and more than json_patch_ops_max operations); with CODE_PRECONDITION an operation that does not fit
 * the document: a path that is not there, a failed test, a move into itself; with CODE_EXHAUSTED what would become
 * deeper than json_depth_max, put more than json_nodes_max values anywhere, or copy more than
 * json_patch_copy_bytes_max.
 */
#pragma once

#include "codec/json.h"

int json_patch_apply(const json_t *document, const json_t *patch, const struct limits *l, json_t **ret,
                     struct err *e) MUST_USE;
/* As RFC 6902 4.6 has it: numbers are equal when their values are, the order of members does not matter. */
bool json_patch_equal(const json_t *a, const json_t *b);
