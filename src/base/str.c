#include "base/str.h"

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c; }

bool str_eq_nocase(struct str a, struct str b)
{
    if (a.size != b.size)
        return false;
    for (size_t i = 0; i < a.size; i++)
        if (lower(a.at[i]) != lower(b.at[i]))
            return false;
    return true;
}

struct str str_trim(struct str s)
{
    while (s.size > 0 && (s.at[0] == ' ' || s.at[0] == '\t'))
        s = str_from(s, 1);
    while (s.size > 0 && (s.at[s.size - 1] == ' ' || s.at[s.size - 1] == '\t'))
        s.size--;
    return s;
}

struct str str_cut(struct str *rest, char by)
{
    const char *hit = rest->size ? memchr(rest->at, by, rest->size) : NULL;
    if (!hit) {
        struct str all = *rest;
        *rest = (struct str){ rest->at + rest->size, 0 };
        return all;
    }
    struct str head = { rest->at, (size_t)(hit - rest->at) };
    *rest = str_from(*rest, head.size + 1);
    return head;
}

bool str_u64(struct str s, uint64_t *ret)
{
    uint64_t n = 0;
    if (s.size == 0)
        return false;
    for (size_t i = 0; i < s.size; i++) {
        if (s.at[i] < '0' || s.at[i] > '9' || __builtin_mul_overflow(n, 10, &n) ||
            __builtin_add_overflow(n, (uint64_t)(s.at[i] - '0'), &n))
            return false;
    }
    *ret = n;
    return true;
}
