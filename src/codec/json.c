#include "codec/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- reading ---- */

/* Depth and number of values, counted over the text before jansson allocates for any of it: a value is
 * the first of all, or follows a comma, or is the first of a container. Malformed text may count
 * anything; the parser refuses it afterwards. */
struct extent {
    uint64_t depth, nodes;
};

static size_t string_end(struct str s, size_t at)
{
    while (at < s.size && s.at[at] != '"')
        at += s.at[at] == '\\' ? 2 : 1;
    return at;
}

static bool space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static struct extent extent_of(struct str s)
{
    struct extent x = { 0, 1 };
    uint64_t depth = 0;
    for (size_t i = 0; i < s.size; i++) {
        switch (s.at[i]) {
        case '"': i = string_end(s, i + 1); break;
        case ',': x.nodes++; break;
        case '{':
        case '[':
            depth++;
            x.depth = MAX(x.depth, depth);
            x.nodes++;
            while (i + 1 < s.size && space(s.at[i + 1]))
                i++;
            if (i + 1 < s.size && (s.at[i + 1] == '}' || s.at[i + 1] == ']'))
                x.nodes--;
            break;
        case '}':
        case ']': depth -= depth > 0; break;
        default: break;
        }
    }
    return x;
}

int json_read(struct str text, const struct limits *l, json_t **ret, struct err *e)
{
    struct extent x = extent_of(text);
    json_error_t why;
    if (text.size && memchr(text.at, '\0', text.size)) /* jansson takes it for the end */
        return err_set(e, CODE_INVALID, "json: the text holds a NUL");
    if (x.depth > l->json_depth_max)
        return err_set(e, CODE_INVALID, "json: nested deeper than %llu (limit json_depth_max)",
                       (unsigned long long)l->json_depth_max);
    if (x.nodes > l->json_nodes_max)
        return err_set(e, CODE_INVALID, "json: more than %llu values (limit json_nodes_max)",
                       (unsigned long long)l->json_nodes_max);
    json_t *j = json_loadb(text.size ? text.at : "", text.size,
                           JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    if (!j)
        return err_set(e, CODE_INVALID, "json: line %d, column %d: %s", why.line, why.column,
                       why.text);
    *ret = j;
    return 0;
}

/* ---- writing ---- */

static void write_text(const json_t *j, struct buf *into)
{
    static const char hex[] = "0123456789abcdef";
    const char *at = json_string_value(j);
    size_t size = json_string_length(j);
    buf_text(into, "\"");
    for (size_t i = 0, plain = 0; i <= size; i++) {
        unsigned char c = i < size ? (unsigned char)at[i] : 0;
        if (i < size && c >= 0x20 && c != '"' && c != '\\')
            continue;
        buf_append(into, at + plain, i - plain);
        plain = i + 1;
        if (i == size)
            break;
        switch (c) {
        case '"': buf_text(into, "\\\""); break;
        case '\\': buf_text(into, "\\\\"); break;
        case '\n': buf_text(into, "\\n"); break;
        case '\r': buf_text(into, "\\r"); break;
        case '\t': buf_text(into, "\\t"); break;
        default: buf_printf(into, "\\u00%c%c", hex[c >> 4], hex[c & 15]);
        }
    }
    buf_text(into, "\"");
}

/* The shortest of the forms that read back as the same number, and always one that reads as a real. */
static void real_format(double value, char *into, size_t size)
{
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(into, size, "%.*g", digits, value);
        if (strtod(into, NULL) == value)
            break;
    }
    if (!strpbrk(into, ".e"))
        (void)snprintf(into + strlen(into), size - strlen(into), ".0");
}

/* jansson's walk wants a pointer to non-const, and changes nothing through it. */
static json_t *unconst(const json_t *j) { return (json_t *)(uintptr_t)j; }

enum { INDENT = 2, FLAT = -1 };

static void new_line(struct buf *into, int depth)
{
    if (depth != FLAT)
        buf_printf(into, "\n%*s", depth * INDENT, "");
}

static void write_value(const json_t *j, struct buf *into, int depth);

static void write_object(const json_t *j, struct buf *into, int depth)
{
    int inner = depth == FLAT ? FLAT : depth + 1;
    const char *comma = "";
    const char *key;
    const json_t *value;
    buf_text(into, "{");
    json_object_foreach(unconst(j), key, value) {
        AUTO_JSON json_t *name = json_string(key);
        buf_text(into, comma);
        new_line(into, inner);
        write_text(name, into);
        buf_text(into, depth == FLAT ? ":" : ": ");
        write_value(value, into, inner);
        comma = ",";
    }
    if (*comma)
        new_line(into, depth);
    buf_text(into, "}");
}

static void write_array(const json_t *j, struct buf *into, int depth)
{
    int inner = depth == FLAT ? FLAT : depth + 1;
    buf_text(into, "[");
    for (size_t i = 0; i < json_array_size(j); i++) {
        buf_text(into, i ? "," : "");
        new_line(into, inner);
        write_value(json_array_get(j, i), into, inner);
    }
    if (json_array_size(j))
        new_line(into, depth);
    buf_text(into, "]");
}

/* Recurses as deep as the tree, which json_depth_max or our own code bounds. */
static void write_value(const json_t *j, struct buf *into, int depth)
{
    char real[64];
    switch (json_typeof(j)) {
    case JSON_OBJECT: write_object(j, into, depth); return;
    case JSON_ARRAY: write_array(j, into, depth); return;
    case JSON_STRING: write_text(j, into); return;
    case JSON_INTEGER: buf_printf(into, "%lld", (long long)json_integer_value(j)); return;
    case JSON_REAL:
        real_format(json_real_value(j), real, sizeof real);
        buf_text(into, real);
        return;
    case JSON_TRUE: buf_text(into, "true"); return;
    case JSON_FALSE: buf_text(into, "false"); return;
    case JSON_NULL: buf_text(into, "null"); return;
    }
    UNREACHABLE("every type returns");
}

void json_write(const json_t *j, struct buf *into) { write_value(j, into, FLAT); }

void json_write_pretty(const json_t *j, struct buf *into) { write_value(j, into, 0); }

/* ---- looking ---- */

json_t *json_at(const json_t *j, const char *path)
{
    struct str rest = str_of(path);
    while (j && rest.size > 0) {
        struct str step = str_cut(&rest, '.');
        uint64_t index;
        if (json_is_array(j))
            j = str_u64(step, &index) ? json_array_get(j, (size_t)index) : NULL;
        else
            j = json_object_getn(j, step.at, step.size);
    }
    return unconst(j); /* as jansson's own look-ups: const in, usable out */
}

const char *json_text_at(const json_t *j, const char *path)
{
    return json_string_value(json_at(j, path));
}

int64_t json_int_at(const json_t *j, const char *path, int64_t otherwise)
{
    const json_t *at = json_at(j, path);
    return json_is_integer(at) ? json_integer_value(at) : otherwise;
}

const char *json_text_key(const json_t *j, const char *path, const char *key)
{
    return json_string_value(json_object_get(json_at(j, path), key));
}

/* ---- merge patch ---- */

static void merge_into(json_t *target, const json_t *patch)
{
    const char *key;
    json_t *change;
    json_object_foreach(unconst(patch), key, change) {
        json_t *old = json_object_get(target, key);
        if (json_is_null(change)) {
            (void)json_object_del(target, key); /* absent already is fine */
        } else if (!json_is_object(change)) {
            (void)json_object_set_new(target, key, json_deep_copy(change));
        } else {
            if (!json_is_object(old)) {
                old = json_object();
                (void)json_object_set_new(target, key, old);
            }
            merge_into(old, change);
        }
    }
}

json_t *json_merge_patch(const json_t *target, const json_t *patch)
{
    if (!json_is_object(patch))
        return json_deep_copy(patch);
    json_t *merged = json_is_object(target) ? json_deep_copy(target) : json_object();
    merge_into(merged, patch);
    return merged;
}
