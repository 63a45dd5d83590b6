#include "artifact/tree.h"

#include <stdlib.h>

static const char heading[] = "hob-tree-1\n";

void tree_init(struct tree *t, size_t files_max) { *t = (struct tree){ .files_max = files_max }; }

void tree_done(struct tree *t)
{
    for (size_t i = 0; i < t->count; i++) {
        free(t->entries[i].path);
        free(t->entries[i].target);
    }
    free(t->entries);
    *t = (struct tree){ .files_max = t->files_max };
}

size_t tree_text_max(size_t files_max)
{
    /* type, mode, size, digest, tabs and newline: below 128 bytes; a link's target is a path, too */
    return sizeof heading + files_max * (128 + 2 * TREE_PATH_MAX);
}

size_t tree_leaf_count(const struct tree *t)
{
    size_t count = 0;
    for (size_t i = 0; i < t->count; i++)
        if (t->entries[i].type == TREE_FILE)
            count += hasher_leaf_count(t->entries[i].size);
    return count;
}

static bool text_plain(struct str s)
{
    for (size_t i = 0; i < s.size; i++)
        if ((unsigned char)s.at[i] < ' ' || s.at[i] == 0x7f)
            return false;
    return s.size > 0 && s.size <= TREE_PATH_MAX;
}

static int path_check(const char *path, struct err *e)
{
    struct str rest = str_of(path);
    size_t depth = 0;
    if (!text_plain(rest))
        return err_set(e, CODE_INVALID,
                       "a name with control characters, empty, or longer than %d bytes", TREE_PATH_MAX);
    if (str_ends(rest, STR("/")))
        return err_set(e, CODE_INVALID, "path %s: ends in a slash", path);
    while (rest.size > 0) {
        struct str name = str_cut(&rest, '/');
        if (name.size == 0 || str_is(name, ".") || str_is(name, ".."))
            return err_set(e, CODE_INVALID, "path %s: empty, . and .. are not names", path);
        if (++depth > TREE_DEPTH_MAX)
            return err_set(e, CODE_INVALID, "path %s: nested deeper than %d", path, TREE_DEPTH_MAX);
    }
    return 0;
}

/* Whether it stays inside is asked of the kernel when the folder is complete; here: can it at all? */
static int target_check(const struct tree_entry *entry, struct err *e)
{
    if (!entry->target || !text_plain(str_of(entry->target)))
        return err_set(e, CODE_INVALID, "symlink %s: its target is empty or has control characters",
                       entry->path);
    if (entry->target[0] == '/')
        return err_set(e, CODE_INVALID, "symlink %s: points outside the folder (%s)", entry->path,
                       entry->target);
    return 0;
}

int tree_add(struct tree *t, const struct tree_entry *entry, struct err *e)
{
    int r = path_check(entry->path, e);
    if (r == 0 && entry->type == TREE_LINK)
        r = target_check(entry, e);
    if (r < 0)
        return r;
    if (t->count >= t->files_max)
        return err_set(e, CODE_EXHAUSTED, "more than %zu files (limit artifact_files_max)",
                       t->files_max);
    uint64_t bytes = 0;
    if (entry->type == TREE_FILE && __builtin_add_overflow(t->file_bytes, entry->size, &bytes))
        return err_set(e, CODE_INVALID, "path %s: sizes overflow", entry->path);
    if (t->count == t->capacity) {
        t->capacity = t->capacity ? t->capacity * 2 : 32;
        t->entries = xrealloc(t->entries, t->capacity, sizeof *t->entries);
    }
    struct tree_entry *own = &t->entries[t->count++];
    *own = *entry;
    own->path = xstrdup(entry->path);
    own->target = entry->type == TREE_LINK ? xstrdup(entry->target) : NULL;
    if (entry->type == TREE_FILE)
        t->file_bytes = bytes;
    return 0;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct tree_entry *)a)->path, ((const struct tree_entry *)b)->path);
}

static int parent_check(const struct tree *t, const char *path, struct err *e)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return 0;
    AUTO_FREE char *parent = xstrndup(path, (size_t)(slash - path));
    struct tree_entry key = { .path = parent };
    const struct tree_entry *found =
        bsearch(&key, t->entries, t->count, sizeof *t->entries, by_path);
    if (!found || found->type != TREE_DIR)
        return err_set(e, CODE_INVALID, "path %s: %s is not a folder of this tree", path, parent);
    return 0;
}

static int order_check(const struct tree *t, struct err *e)
{
    for (size_t i = 0; i < t->count; i++) {
        const char *path = t->entries[i].path;
        if (i > 0 && strcmp(t->entries[i - 1].path, path) >= 0)
            return err_set(e, CODE_INVALID, "path %s: twice, or out of order", path);
        int r = parent_check(t, path, e);
        if (r < 0)
            return r;
    }
    return 0;
}

int tree_sort(struct tree *t, struct err *e)
{
    if (t->count > 0)
        qsort(t->entries, t->count, sizeof *t->entries, by_path);
    return order_check(t, e);
}

void tree_format(const struct tree *t, struct buf *into)
{
    char digest[DIGEST_TEXT];
    buf_text(into, heading);
    for (size_t i = 0; i < t->count; i++) {
        const struct tree_entry *f = &t->entries[i];
        switch (f->type) {
        case TREE_DIR: buf_printf(into, "d\t0555\t%s\n", f->path); break;
        case TREE_LINK: buf_printf(into, "l\t0777\t%s\t%s\n", f->target, f->path); break;
        case TREE_FILE:
            digest_format(&f->digest, digest);
            buf_printf(into, "f\t%s\t%llu\t%s\t%s\n", f->executable ? "0555" : "0444",
                       (unsigned long long)f->size, digest, f->path);
            break;
        }
    }
}

static bool mode_parse(struct str mode, struct tree_entry *into)
{
    into->executable = into->type == TREE_FILE && str_is(mode, "0555");
    switch (into->type) {
    case TREE_DIR: return str_is(mode, "0555");
    case TREE_LINK: return str_is(mode, "0777");
    case TREE_FILE: return into->executable || str_is(mode, "0444");
    }
    return false;
}

static bool size_parse(struct str s, uint64_t *ret)
{
    return str_u64(s, ret) && (s.size == 1 || s.at[0] != '0'); /* one text for one number */
}

static int line_parse(struct str line, struct tree *into, struct err *e)
{
    struct tree_entry f = { 0 };
    struct str type = str_cut(&line, '\t'), mode = str_cut(&line, '\t');
    AUTO_FREE char *path = NULL, *target = NULL;
    bool good = memchr(type.at, '\0', (size_t)(line.at + line.size - type.at)) == NULL;
    if (str_is(type, "f")) {
        f.type = TREE_FILE;
        good = size_parse(str_cut(&line, '\t'), &f.size) && good;
        good = good && digest_parse(str_cut(&line, '\t'), &f.digest, e) == 0;
    } else if (str_is(type, "l")) {
        f.type = TREE_LINK;
        struct str s = str_cut(&line, '\t');
        f.target = target = xstrndup(s.at, s.size);
    } else {
        good = good && str_is(type, "d");
    }
    if (!good || !mode_parse(mode, &f))
        return err_set(e, CODE_INVALID, "not a line of a folder's manifest");
    f.path = path = xstrndup(line.at, line.size);
    return tree_add(into, &f, e);
}

int tree_parse(struct str text, size_t files_max, struct tree *ret, struct err *e)
{
    AUTO(tree) struct tree t;
    tree_init(&t, files_max);
    if (!str_starts(text, str_of(heading)) || !str_ends(text, STR("\n")))
        return err_set(e, CODE_INVALID, "manifest of a folder: wrong beginning or cut end");
    struct str rest = str_from(text, sizeof heading - 1);
    for (size_t line = 2; rest.size > 0; line++) {
        int r = line_parse(str_cut(&rest, '\n'), &t, e);
        if (r < 0)
            return err_wrap(e, "manifest of a folder: line %zu", line);
    }
    int r = order_check(&t, e);
    if (r < 0)
        return err_wrap(e, "manifest of a folder");
    *ret = t;
    t = (struct tree){ 0 };
    return 0;
}
