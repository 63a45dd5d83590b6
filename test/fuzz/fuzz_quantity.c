/* The canonical form reads back as the same number and is its own canonical form; both roundings
 * enclose the exact value. */
#include "codec/quantity.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    struct quantity q, again;
    struct err e = { 0 };
    char text[QUANTITY_TEXT], twice[QUANTITY_TEXT];
    if (quantity_parse((struct str){ (const char *)in, size }, &q, &e) < 0) {
        ASSERT(e.code == CODE_INVALID && e.text[0]);
        return 0;
    }
    quantity_format(&q, text);
    ASSERT(quantity_parse(str_of(text), &again, &e) == 0);
    ASSERT(again.nano == q.nano && again.negative == q.negative);
    quantity_format(&again, twice);
    ASSERT(strcmp(text, twice) == 0);
    unsigned __int128 units = (unsigned __int128)(q.negative ? -quantity_units(&q) : quantity_units(&q));
    ASSERT(units * 1000000000 >= q.nano && units * 1000000000 < q.nano + 1000000000);
    int64_t milli = quantity_milli(&q);
    unsigned __int128 size_milli = (unsigned __int128)(milli < 0 ? -milli : milli);
    ASSERT(size_milli == INT64_MAX || (size_milli * 1000000 >= q.nano &&
                                       size_milli * 1000000 < q.nano + 1000000));
    return 0;
}
