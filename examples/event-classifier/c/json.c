#include "json.h"

#include <stdint.h>
#include <string.h>

/* ---- checking ------------------------------------------------------------------------------ */

struct reader {
    const char *at, *end;
    int depth_left;
    bool too_deep;
};

static void skip_space(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\r' || *r->at == '\n'))
        r->at++;
}

static bool take(struct reader *r, char c)
{
    bool there = r->at < r->end && *r->at == c;
    r->at += there;
    return there;
}

static bool take_word(struct reader *r, const char *word)
{
    size_t size = strlen(word);
    if ((size_t)(r->end - r->at) < size || memcmp(r->at, word, size) != 0)
        return false;
    r->at += size;
    return true;
}

static bool take_digits(struct reader *r)
{
    const char *from = r->at;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
        r->at++;
    return r->at > from;
}

static bool take_number(struct reader *r)
{
    take(r, '-');
    if (!take(r, '0') && !take_digits(r))
        return false;
    if (take(r, '.') && !take_digits(r))
        return false;
    if (take(r, 'e') || take(r, 'E')) {
        if (!take(r, '+'))
            take(r, '-');
        return take_digits(r);
    }
    return true;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool take_escape(struct reader *r)
{
    if (r->at == r->end)
        return false;
    char c = *r->at++;
    if (c != 'u')
        return memchr("\"\\/bfnrt", c, 8) != NULL;
    for (int i = 0; i < 4; i++) {
        if (r->at == r->end || hex(*r->at++) < 0)
            return false;
    }
    return true;
}

static bool take_string(struct reader *r)
{
    if (!take(r, '"'))
        return false;
    while (r->at < r->end) {
        char c = *r->at++;
        if (c == '"')
            return true;
        if ((unsigned char)c < 0x20 || (c == '\\' && !take_escape(r)))
            return false;
    }
    return false;
}

static bool take_value(struct reader *r);

static bool take_items(struct reader *r, char close, bool named)
{
    skip_space(r);
    if (take(r, close))
        return true;
    do {
        skip_space(r);
        if (named) {
            if (!take_string(r))
                return false;
            skip_space(r);
            if (!take(r, ':'))
                return false;
            skip_space(r);
        }
        if (!take_value(r))
            return false;
        skip_space(r);
    } while (take(r, ','));
    return take(r, close);
}

static bool take_value(struct reader *r)
{
    if (r->at == r->end)
        return false;
    char c = *r->at;
    if (c != '{' && c != '[') {
        return c == '"' ? take_string(r)
                        : take_word(r, "true") || take_word(r, "false") || take_word(r, "null") ||
                              take_number(r);
    }
    if (r->depth_left == 0) {
        r->too_deep = true;
        return false;
    }
    r->at++;
    r->depth_left--;
    bool good = take_items(r, c == '{' ? '}' : ']', c == '{');
    r->depth_left++;
    return good;
}

/* How many bytes the character at `at` has; 0 when it is not UTF-8 (RFC 3629: nothing overlong, no
 * surrogates, nothing above U+10FFFF). */
static size_t utf8_size(const unsigned char *at, size_t left)
{
    unsigned char c = at[0], low = 0x80, high = 0xbf;
    if (c < 0x80)
        return 1;
    size_t size = c >= 0xc2 && c <= 0xdf ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 0;
    if (size == 0 || size > left)
        return 0;
    if (c == 0xe0)
        low = 0xa0;
    if (c == 0xed)
        high = 0x9f;
    if (c == 0xf0)
        low = 0x90;
    if (c == 0xf4)
        high = 0x8f;
    if (at[1] < low || at[1] > high)
        return 0;
    for (size_t i = 2; i < size; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    }
    return size;
}

enum json_fault json_check(const char *at, size_t size, int depth_max, struct json *ret)
{
    for (size_t i = 0, n; i < size; i += n) {
        n = utf8_size((const unsigned char *)at + i, size - i);
        if (n == 0)
            return JSON_NOT_UTF8;
    }
    struct reader r = { .at = at, .end = at + size, .depth_left = depth_max };
    skip_space(&r);
    const char *from = r.at;
    bool good = take_value(&r);
    const char *to = r.at;
    skip_space(&r);
    if (!good || r.at != r.end)
        return r.too_deep ? JSON_TOO_DEEP : JSON_MALFORMED;
    *ret = (struct json){ .at = from, .size = (size_t)(to - from) };
    return JSON_OK;
}

/* ---- walking what was checked --------------------------------------------------------------- */

static struct json walk(struct reader *r, bool (*take_what)(struct reader *r))
{
    skip_space(r);
    const char *from = r->at;
    (void)take_what(r); /* checked before: it is there */
    struct json v = { .at = from, .size = (size_t)(r->at - from) };
    skip_space(r);
    return v;
}

/* A reader behind the opening bracket of a checked array or object. Depth was bounded before. */
static struct reader inside(struct json v)
{
    return (struct reader){ .at = v.at + 1, .end = v.at + v.size, .depth_left = 1 << 30 };
}

bool json_member(struct json object, const char *name, struct json *ret)
{
    struct reader r = inside(object);
    bool found = false;
    skip_space(&r);
    if (take(&r, '}'))
        return false;
    do {
        char key[32];
        bool half;
        size_t size = json_string(walk(&r, take_string), key, sizeof key, &half);
        (void)take(&r, ':');
        struct json v = walk(&r, take_value);
        if (size == strlen(name) && size <= sizeof key && memcmp(key, name, size) == 0) {
            *ret = v;
            found = true;
        }
    } while (take(&r, ','));
    return found;
}

bool json_next(struct json array, size_t *at, struct json *ret)
{
    struct reader r = inside(array);
    if (*at > 0)
        r.at = array.at + *at;
    skip_space(&r);
    if (*r.at == ']')
        return false;
    if (*at > 0)
        (void)take(&r, ',');
    *ret = walk(&r, take_value);
    *at = (size_t)(r.at - array.at);
    return true;
}

struct writer {
    char *to;
    size_t size, max;
    bool half;
};

static void put(struct writer *w, char c)
{
    if (w->size < w->max)
        w->to[w->size] = c;
    w->size++;
}

static void put_code(struct writer *w, uint32_t code)
{
    if (code >= 0xd800 && code <= 0xdfff)
        w->half = true;
    if (code < 0x80)
        return put(w, (char)code);
    if (code < 0x800) {
        put(w, (char)(0xc0 | code >> 6));
    } else {
        if (code < 0x10000) {
            put(w, (char)(0xe0 | code >> 12));
        } else {
            put(w, (char)(0xf0 | code >> 18));
            put(w, (char)(0x80 | (code >> 12 & 0x3f)));
        }
        put(w, (char)(0x80 | (code >> 6 & 0x3f)));
    }
    put(w, (char)(0x80 | (code & 0x3f)));
}

static uint32_t four_hex(const char *at)
{
    uint32_t code = 0;
    for (int i = 0; i < 4; i++)
        code = code << 4 | (uint32_t)hex(at[i]);
    return code;
}

/* `at` is behind "\u"; returns where the escape, or the pair of them, ends. */
static const char *put_escaped_code(struct writer *w, const char *at, const char *end)
{
    uint32_t code = four_hex(at);
    at += 4;
    if (code >= 0xd800 && code <= 0xdbff && end - at >= 6 && at[0] == '\\' && at[1] == 'u') {
        uint32_t low = four_hex(at + 2);
        if (low >= 0xdc00 && low <= 0xdfff) {
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            at += 6;
        }
    }
    put_code(w, code);
    return at;
}

size_t json_string(struct json string, char *to, size_t max, bool *ret_half)
{
    static const char meant[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
    struct writer w = { .to = to, .max = max };
    const char *at = string.at + 1, *end = string.at + string.size - 1;
    while (at < end) {
        char c = *at++;
        if (c != '\\') {
            put(&w, c);
            continue;
        }
        c = *at++;
        if (c == 'u') {
            at = put_escaped_code(&w, at, end);
            continue;
        }
        for (size_t i = 0; i < sizeof meant - 1; i += 2) {
            if (meant[i] == c)
                put(&w, meant[i + 1]);
        }
    }
    *ret_half = w.half;
    return w.size;
}
