/* tree.h -- the manifest of a folder: what names a bundle, as text.
 *
 *     hob-tree-1
 *     d<TAB>0555<TAB>path
 *     f<TAB>0444|0555<TAB>size<TAB>sha256:hex<TAB>path
 *     l<TAB>0777<TAB>target<TAB>path
 *
 * Sorted by path, byte by byte; a parent comes before what it holds. The SHA-256 of the whole text is
 * the folder's digest, so there must be one text for one folder: the parser refuses every other form.
 * Receives entries in any order, or text. Owns its entries. Pure.
 * Refuses names with control bytes (TAB and newline among them), `.`, `..`, empty parts, absolute
 * paths, entries below something that is not a folder, duplicates, more than `files_max` entries.
 */
#pragma once

#include "artifact/hasher.h"
#include "base/buf.h"

enum { TREE_PATH_MAX = 1023, TREE_DEPTH_MAX = 64 };

enum tree_type { TREE_DIR, TREE_FILE, TREE_LINK };

struct tree_entry {
    enum tree_type type;
    bool executable; /* files */
    uint64_t size;   /* files */
    struct digest digest;
    char *path;   /* relative, no leading or trailing slash */
    char *target; /* links; else NULL */
};
struct tree {
    struct tree_entry *entries;
    size_t count, capacity, files_max;
    uint64_t file_bytes; /* sum of the sizes */
};

void tree_init(struct tree *t, size_t files_max);
void tree_done(struct tree *t);
static inline void tree_auto(struct tree *t) { tree_done(t); } /* AUTO(tree): a value */

/* Copies path and target. Refuses what the manifest cannot hold. */
int tree_add(struct tree *t, const struct tree_entry *entry, struct err *e) MUST_USE;
int tree_sort(struct tree *t, struct err *e) MUST_USE; /* also checks parents and duplicates */
/* Sorted trees only. */
void tree_format(const struct tree *t, struct buf *into);
int tree_parse(struct str text, size_t files_max, struct tree *ret, struct err *e) MUST_USE;
size_t tree_leaf_count(const struct tree *t); /* of all files */
/* Upper bound of the text's size for a tree of so many entries. */
size_t tree_text_max(size_t files_max);
