/* str.h -- borrowed text: a pointer and a size, not NUL-terminated. Owns nothing. */
#pragma once

#include "base/base.h"

#include <string.h>

struct str {
    const char *at;
    size_t size;
};

#define STR(literal)    ((struct str){ "" literal, sizeof(literal) - 1 })
#define STR_FMT         "%.*s"
#define STR_ARG(s)      (int)(s).size, (s).at

static inline struct str str_of(const char *text)
{
    return (struct str){ text, text ? strlen(text) : 0 };
}
static inline bool str_eq(struct str a, struct str b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.at, b.at, a.size) == 0);
}
static inline bool str_is(struct str a, const char *b) { return str_eq(a, str_of(b)); }
static inline bool str_starts(struct str s, struct str head)
{
    return s.size >= head.size && str_eq((struct str){ s.at, head.size }, head);
}
static inline bool str_ends(struct str s, struct str tail)
{
    return s.size >= tail.size && str_eq((struct str){ s.at + (s.size - tail.size), tail.size }, tail);
}
static inline struct str str_from(struct str s, size_t start)
{
    ASSERT(start <= s.size);
    return (struct str){ start > 0 ? s.at + start : s.at, s.size - start }; /* an empty one may be nowhere */
}
static inline struct str str_head(struct str s, size_t size)
{
    ASSERT(size <= s.size);
    return (struct str){ s.at, size };
}

bool str_eq_nocase(struct str a, struct str b); /* ASCII only, as HTTP field names are */
struct str str_trim(struct str s);              /* spaces and tabs at both ends */
/* Cuts `*rest` at the first `by`; returns what came before, and leaves what came after. Where
 * there is no `by`, returns all and leaves an empty rest. */
struct str str_cut(struct str *rest, char by);
/* Digits only, no sign, no space, no overflow. */
bool str_u64(struct str s, uint64_t *ret);
