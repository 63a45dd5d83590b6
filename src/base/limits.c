#include "base/limits.h"
#include "base/suggest.h"

const struct limit_row limit_rows[] = {
#define X(name, unit, initial, low, high, help) \
    { #name, unit, help, UINT64_C(initial), low, high, offsetof(struct limits, name) },
    LIMITS(X)
#undef X
};
const size_t limit_row_count = COUNT_OF(limit_rows);

static uint64_t *field_of(struct limits *l, const struct limit_row *row)
{
    return (uint64_t *)(void *)((char *)l + row->offset);
}

void limits_default(struct limits *l)
{
    for (size_t i = 0; i < limit_row_count; i++)
        *field_of(l, &limit_rows[i]) = limit_rows[i].initial;
}

uint64_t limit_value(const struct limits *l, const struct limit_row *row)
{
    return *(const uint64_t *)(const void *)((const char *)l + row->offset);
}

int limits_set(struct limits *l, struct str name, struct str value, struct err *e)
{
    for (size_t i = 0; i < limit_row_count; i++) {
        const struct limit_row *row = &limit_rows[i];
        uint64_t n;
        if (!str_is(name, row->name))
            continue;
        if (!str_u64(value, &n) || n < row->min || n > row->max)
            return err_set(e, CODE_INVALID,
                           "limit %s: '" STR_FMT "' is not a whole number from %llu to %llu",
                           row->name, STR_ARG(value), (unsigned long long)row->min,
                           (unsigned long long)row->max);
        *field_of(l, row) = n;
        return 0;
    }
    struct suggest near = suggest_begin(name);
    for (size_t i = 0; i < limit_row_count; i++)
        suggest_offer(&near, str_of(limit_rows[i].name));
    return err_set(e, CODE_NOT_FOUND, "limit '" STR_FMT "': no limit has this name%s; see hob limits",
                   STR_ARG(name), suggest_phrase(&near, (char[SUGGEST_TEXT]){ 0 }));
}
