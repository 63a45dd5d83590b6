/* manifest.h -- every field of a Service manifest in one table: path, kind, range, default, meaning.
 *
 * Receives a JSON tree. Emits the same tree with what says nothing removed (null, "", what only the
 * server may say) and with the table's defaults. Refuses fields it does not know, values of the wrong type,
 * values out of range, and fields that Knative forbids. Rules that join several fields are in service.h.
 * docs/reference/manifest.md is made from the table.
 */
#pragma once

#include "codec/json.h"
#include "serving/refusals.h"

#include <stdio.h>

enum manifest_kind {
    MANIFEST_OBJECT,
    MANIFEST_LIST,       /* its elements have the row "path[]" */
    MANIFEST_TEXT,
    MANIFEST_TEXTS,      /* list of text */
    MANIFEST_TEXT_MAP,
    MANIFEST_INT,
    MANIFEST_BOOL,
    MANIFEST_PORT,       /* number or name */
    MANIFEST_QUANTITY,   /* text or number */
    MANIFEST_QUANTITIES, /* map of them */
    MANIFEST_ANY,        /* not looked into */
};
enum manifest_rule {
    MANIFEST_MAY,
    MANIFEST_NOT,    /* Knative: "must not set the field(s)" */
    MANIFEST_OFF,    /* a feature that Knative has and hob does not have yet */
    MANIFEST_FALSE,  /* may be given, but only as false */
    MANIFEST_SERVER, /* the server's own: accepted, and dropped */
    MANIFEST_IDLE,   /* accepted and checked, has no effect: a warning */
};
struct manifest_row {
    const char *path;
    enum manifest_kind kind;
    enum manifest_rule rule;
    int64_t min, max;     /* INT; both 0: not checked here */
    size_t limit;         /* INT: offset in struct limits of the real maximum; 0: none */
    const char *initial;  /* JSON; applied where the parent is there and this is not */
    const char *like;     /* its children are those of this path */
    const char *keys;     /* LIST: what tells its elements apart, "a,b=default"; NULL: it is one value */
    const char *meaning;
};
extern const struct manifest_row manifest_rows[]; /* sorted by path (strcmp) */
extern const size_t manifest_row_count;

struct manifest_table { /* of one kind */
    const struct manifest_row *rows;
    size_t count;
};
struct manifest_findings {
    struct refusals unknown;  /* the message is the whole sentence; no paths to merge */
    struct refusals types;    /* likewise */
    struct refusals refused;  /* Knative's validation */
    struct refusals warnings;
};
void manifest_findings_done(struct manifest_findings *f);

/* Changes the tree in place. Unknown fields are removed and reported, always. */
void manifest_apply(json_t *object, const struct limits *l, struct manifest_findings *f);
/* The same for another kind's table. */
void manifest_apply_table(const struct manifest_table *t, json_t *object, const struct limits *l,
                          struct manifest_findings *f);
/* The `keys` of the list at a path as the table has it ("spec.template.spec.containers[].env"), or NULL. */
const char *manifest_list_keys(const char *path);
void manifest_document(FILE *out); /* docs/reference/manifest.md */
