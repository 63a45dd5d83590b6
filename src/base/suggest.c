#include "base/suggest.h"

#include <stdio.h>

uint32_t suggest_distance(struct str a, struct str b)
{
    uint32_t rows[3][SUGGEST_SIZE_MAX + 1];
    uint32_t *before = rows[0], *last = rows[1], *now = rows[2];

    ASSERT(a.size <= SUGGEST_SIZE_MAX && b.size <= SUGGEST_SIZE_MAX);
    for (size_t k = 0; k <= b.size; k++)
        last[k] = (uint32_t)k;
    for (size_t i = 1; i <= a.size; i++) {
        now[0] = (uint32_t)i;
        for (size_t k = 1; k <= b.size; k++) {
            uint32_t change = last[k - 1] + (a.at[i - 1] != b.at[k - 1]);
            uint32_t best = MIN(change, 1 + MIN(last[k], now[k - 1]));
            bool swapped =
                i > 1 && k > 1 && a.at[i - 1] == b.at[k - 2] && a.at[i - 2] == b.at[k - 1];
            now[k] = swapped ? MIN(best, before[k - 2] + 1) : best;
        }
        uint32_t *oldest = before;
        before = last;
        last = now;
        now = oldest;
    }
    return last[b.size];
}

struct suggest suggest_begin(struct str typed)
{
    uint32_t near = (uint32_t)MIN(MAX(typed.size / 3, 1), 3);
    return (struct suggest){ .typed = typed, .distance = near + 1 };
}

void suggest_offer(struct suggest *s, struct str name)
{
    if (name.size == 0 || name.size > SUGGEST_SIZE_MAX || s->typed.size > SUGGEST_SIZE_MAX)
        return;
    uint32_t distance =
        s->typed.size >= 3 && str_starts(name, s->typed) ? 1 : suggest_distance(s->typed, name);
    if (distance < s->distance && distance < MAX(s->typed.size, name.size)) {
        s->distance = distance;
        s->best = name;
    }
}

const char *suggest_phrase(const struct suggest *s, char into[SUGGEST_TEXT])
{
    into[0] = '\0';
    if (s->best.size)
        snprintf(into, SUGGEST_TEXT, "; did you mean '" STR_FMT "'?", STR_ARG(s->best));
    return into;
}

const char *suggest_clause(const struct suggest *s, char into[SUGGEST_TEXT])
{
    into[0] = '\0';
    if (s->best.size)
        snprintf(into, SUGGEST_TEXT, " (did you mean \"" STR_FMT "\"?)", STR_ARG(s->best));
    return into;
}
