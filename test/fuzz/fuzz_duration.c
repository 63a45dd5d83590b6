/* The canonical form reads back as the same duration; and any 8 bytes are a duration that does. */
#include "codec/duration.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);

static void round_trip(int64_t ns)
{
    struct err e;
    char text[DURATION_TEXT];
    int64_t again = 0;
    duration_format(ns, text);
    ASSERT(duration_parse(str_of(text), &again, &e) == 0 && again == ns);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    struct err e = { 0 };
    int64_t ns = 0;
    if (duration_parse((struct str){ (const char *)in, size }, &ns, &e) == 0)
        round_trip(ns);
    else
        ASSERT(e.code == CODE_INVALID && e.text[0]);
    if (size >= sizeof ns) {
        memcpy(&ns, in, sizeof ns);
        round_trip(ns);
    }
    return 0;
}
