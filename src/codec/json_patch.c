#include "codec/json_patch.h"

#include <stdio.h>
#include <stdlib.h>

struct patching {
    const struct limits *limits;
    json_t *root;         /* owned; NULL: it was removed */
    uint64_t nodes;       /* put somewhere so far, by whatever operation */
    uint64_t copied;      /* bytes, by the copy operations so far */
    const char *op, *path; /* of the operation at work, for messages */
    struct err *e;
};

/* ---- pointers (RFC 6901) ---- */

enum { TOKEN_MAX = 1024 };

/* The next reference token of *rest, which begins with a slash, unescaped. False: not a pointer, or too long. */
static bool token_next(struct str *rest, char into[TOKEN_MAX], size_t *ret_size)
{
    size_t at = 0;
    struct str token = str_from(*rest, 1);
    struct str raw = str_cut(&token, '/');
    *rest = str_from(*rest, 1 + raw.size);
    for (size_t i = 0; i < raw.size; i++) {
        char c = raw.at[i];
        if (c == '~') {
            char next = i + 1 < raw.size ? raw.at[++i] : '\0';
            if (next != '0' && next != '1')
                return false;
            c = next == '0' ? '~' : '/';
        }
        if (at + 1 >= TOKEN_MAX)
            return false;
        into[at++] = c;
    }
    into[at] = '\0';
    *ret_size = at;
    return true;
}

/* 0, or digits without a leading zero; below `end`. */
static bool index_read(const char *token, size_t size, size_t end, size_t *ret)
{
    uint64_t n;
    if ((size > 1 && token[0] == '0') || !str_u64((struct str){ token, size }, &n) || n >= end)
        return false;
    *ret = (size_t)n;
    return true;
}

static int missing(struct patching *p, const char *path)
{
    return err_set(p->e, CODE_PRECONDITION, "%s operation does not apply: there is no %.150s in the document",
                   p->op, *path ? path : "document");
}

static int bad_pointer(struct patching *p, const char *path)
{
    return err_set(p->e, CODE_INVALID, "json patch: \"%.150s\" is not a JSON pointer", path);
}

static json_t *member(json_t *parent, const char *token, size_t size)
{
    size_t index;
    if (json_is_object(parent))
        return json_object_get(parent, token);
    if (json_is_array(parent) && index_read(token, size, json_array_size(parent), &index))
        return json_array_get(parent, index);
    return NULL;
}

struct place { /* where a pointer leads: a member of `parent`, or the whole document */
    json_t *parent; /* NULL: the whole document */
    char token[TOKEN_MAX];
    size_t size, depth;
};

/* The last token need not be there. */
static int place_find(struct patching *p, const char *path, struct place *ret)
{
    struct str rest = str_of(path);
    json_t *at = p->root;
    *ret = (struct place){ 0 };
    if (rest.size > 0 && rest.at[0] != '/')
        return bad_pointer(p, path);
    while (rest.size > 0) {
        if (ret->depth > 0)
            at = member(at, ret->token, ret->size);
        if (!token_next(&rest, ret->token, &ret->size))
            return bad_pointer(p, path);
        if (!json_is_object(at) && !json_is_array(at))
            return missing(p, path);
        ret->parent = at;
        ret->depth++;
    }
    return 0;
}

static int value_at(struct patching *p, const char *path, json_t **ret)
{
    struct place place;
    int r = place_find(p, path, &place);
    if (r < 0)
        return r;
    *ret = place.parent ? member(place.parent, place.token, place.size) : p->root;
    return *ret ? 0 : missing(p, path);
}

/* ---- operations ---- */

struct measure {
    uint64_t nodes, bytes; /* bytes: about those of its JSON text */
    size_t deepest;
};

/* As deep as what was read or made under the same bound. */
static void measure(const json_t *j, size_t depth, struct measure *into)
{
    enum { PUNCTUATION = 4 }; /* quotes, a colon or a comma */
    const char *key;
    const json_t *value;
    into->nodes++;
    into->bytes += PUNCTUATION + json_string_length(j);
    into->deepest = MAX(into->deepest, depth);
    json_object_foreach((json_t *)(uintptr_t)j, key, value) {
        into->bytes += PUNCTUATION + strlen(key);
        measure(value, depth + 1, into);
    }
    for (size_t i = 0; i < json_array_size(j); i++)
        measure(json_array_get(j, i), depth + 1, into);
}

static int put(struct patching *p, const char *path, json_t *take_value)
{
    struct place at;
    struct measure m = { 0 };
    size_t index;
    AUTO_JSON json_t *value = take_value;
    int r = place_find(p, path, &at);
    if (r < 0)
        return r;
    measure(value, at.depth, &m);
    p->nodes += m.nodes;
    if (p->nodes > p->limits->json_nodes_max || m.deepest > p->limits->json_depth_max)
        return err_set(p->e, CODE_EXHAUSTED,
                       "json patch: more than json_nodes_max values, or deeper than json_depth_max");
    if (!at.parent) {
        json_decref(p->root);
        p->root = TAKE(value);
        return 0;
    }
    if (json_is_object(at.parent)) {
        (void)json_object_set_new(at.parent, at.token, TAKE(value));
        return 0;
    }
    if (strcmp(at.token, "-") == 0)
        index = json_array_size(at.parent);
    else if (!index_read(at.token, at.size, json_array_size(at.parent) + 1, &index))
        return missing(p, path);
    (void)json_array_insert_new(at.parent, index, TAKE(value));
    return 0;
}

/* The patch's own values are as many bytes as it brought, each used once. */
static int add(struct patching *p, const char *path, const json_t *value)
{
    return put(p, path, json_deep_copy(value));
}

static int take_out(struct patching *p, const char *path)
{
    struct place at;
    size_t index;
    int r = place_find(p, path, &at);
    if (r < 0)
        return r;
    if (!at.parent) {
        json_decref(TAKE(p->root));
        return 0;
    }
    if (!member(at.parent, at.token, at.size))
        return missing(p, path);
    if (json_is_object(at.parent))
        (void)json_object_del(at.parent, at.token);
    else if (index_read(at.token, at.size, json_array_size(at.parent), &index))
        (void)json_array_remove(at.parent, index);
    return 0;
}

static int replace(struct patching *p, const char *path, const json_t *value)
{
    json_t *old;
    int r = value_at(p, path, &old);
    if (r < 0)
        return r;
    if (*path && (r = take_out(p, path)) < 0)
        return r;
    return add(p, path, value);
}

/* The one operation that makes much of little: it is paid for before it is done. */
static int copy(struct patching *p, const char *from, const char *path)
{
    json_t *value;
    struct measure m = { 0 };
    int r = value_at(p, from, &value);
    if (r < 0)
        return r;
    measure(value, 0, &m);
    p->copied += m.bytes;
    if (p->copied > p->limits->json_patch_copy_bytes_max)
        return err_set(p->e, CODE_EXHAUSTED,
                       "Unable to complete the copy, the accumulated size increase of copy is %llu, exceeding the "
                       "limit %llu (json_patch_copy_bytes_max)",
                       (unsigned long long)p->copied, (unsigned long long)p->limits->json_patch_copy_bytes_max);
    if (p->nodes + m.nodes > p->limits->json_nodes_max)
        return err_set(p->e, CODE_EXHAUSTED, "json patch: more than json_nodes_max values");
    return put(p, path, json_deep_copy(value));
}

/* The value itself goes there: nothing is copied. */
static int move(struct patching *p, const char *from, const char *path)
{
    json_t *value;
    size_t size = strlen(from);
    int r = value_at(p, from, &value);
    if (r < 0)
        return r;
    if (strncmp(path, from, size) == 0 && path[size] == '/')
        return err_set(p->e, CODE_PRECONDITION, "move operation does not apply: %.100s lies inside %.100s", path,
                       from);
    AUTO_JSON json_t *held = json_incref(value);
    r = take_out(p, from);
    return r < 0 ? r : put(p, path, TAKE(held));
}

bool json_patch_equal(const json_t *a, const json_t *b)
{
    const char *key;
    const json_t *value;
    if (json_is_number(a) && json_is_number(b) && (json_is_real(a) || json_is_real(b)))
        return json_number_value(a) >= json_number_value(b) && json_number_value(a) <= json_number_value(b);
    if (json_is_object(a) && json_is_object(b)) {
        if (json_object_size(a) != json_object_size(b))
            return false;
        json_object_foreach((json_t *)(uintptr_t)a, key, value)
            if (!json_object_get(b, key) || !json_patch_equal(value, json_object_get(b, key)))
                return false;
        return true;
    }
    if (!json_is_array(a) || !json_is_array(b))
        return json_equal(a, b);
    if (json_array_size(a) != json_array_size(b))
        return false;
    for (size_t i = 0; i < json_array_size(a); i++)
        if (!json_patch_equal(json_array_get(a, i), json_array_get(b, i)))
            return false;
    return true;
}

static int test(struct patching *p, const char *path, const json_t *value)
{
    json_t *there;
    int r = value_at(p, path, &there);
    if (r < 0)
        return r;
    if (!json_patch_equal(there, value))
        return err_set(p->e, CODE_PRECONDITION, "testing value %.200s failed", path);
    return 0;
}

static int operate(struct patching *p, const json_t *operation, size_t index)
{
    const json_t *value = json_object_get(operation, "value");
    const char *op = json_text_at(operation, "op"), *path = json_text_at(operation, "path");
    const char *from = json_text_at(operation, "from");
    if (!op || !path)
        return err_set(p->e, CODE_INVALID, "json patch: operation %zu wants \"op\" and \"path\"", index);
    p->op = op;
    bool valued = !strcmp(op, "add") || !strcmp(op, "replace") || !strcmp(op, "test");
    bool copies = !strcmp(op, "move") || !strcmp(op, "copy");
    if (valued && !value)
        return err_set(p->e, CODE_INVALID, "json patch: operation %zu (%s) wants \"value\"", index, op);
    if (copies && !from)
        return err_set(p->e, CODE_INVALID, "json patch: operation %zu (%s) wants \"from\"", index, op);
    if (!strcmp(op, "add"))
        return add(p, path, value);
    if (!strcmp(op, "replace"))
        return replace(p, path, value);
    if (!strcmp(op, "test"))
        return test(p, path, value);
    if (copies)
        return !strcmp(op, "copy") ? copy(p, from, path) : move(p, from, path);
    if (!strcmp(op, "remove"))
        return take_out(p, path);
    return err_set(p->e, CODE_INVALID, "json patch: operation %zu: there is no \"%.50s\"", index, op);
}

int json_patch_apply(const json_t *document, const json_t *patch, const struct limits *l, json_t **ret,
                     struct err *e)
{
    int r = 0;
    if (!json_is_array(patch))
        return err_set(e, CODE_INVALID, "json patch: not an array of operations");
    if (json_array_size(patch) > l->json_patch_ops_max)
        return err_set(e, CODE_INVALID, "json patch: more than json_patch_ops_max operations");
    struct patching p = { .limits = l, .root = json_deep_copy(document), .e = e };
    for (size_t i = 0; r == 0 && i < json_array_size(patch); i++)
        r = operate(&p, json_array_get(patch, i), i);
    if (r == 0 && !p.root)
        r = err_set(e, CODE_PRECONDITION, "json patch: nothing is left of the document");
    if (r == 0)
        *ret = TAKE(p.root);
    json_decref(p.root);
    return r;
}
