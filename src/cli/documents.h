/* documents.h -- the objects that files describe; what `apply` and `delete` have from -f.
 *
 * Receives paths: a YAML or JSON file, a folder (its manifests, one level), "-" for stdin. Owns the trees.
 * Emits one tree for each document, and for each item of a List, in order. Refuses more than DOCUMENTS_MAX,
 * files over api_body_bytes_max, and paths without any object.
 */
#pragma once

#include "base/limits.h"
#include "cli/opt.h"
#include "codec/json.h"

enum { DOCUMENTS_MAX = 1000 };

struct documents {
    json_t *at[DOCUMENTS_MAX];
    size_t count;
};
struct documents *documents_new(void);
void documents_free(struct documents *d);
DEFINE_AUTO(documents, struct documents *, documents_free)
int documents_read(struct documents *d, const struct opt_list *files, const struct limits *l, struct err *e) MUST_USE;
