/* Whatever is taken has spans that go forward and hold what they say, and local times that lead back. */
#include "codec/zone.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    struct err e = { 0 };
    AUTO(zone) struct zone *z = NULL;
    int64_t t = -3000000000, until, m[2];
    int32_t offset, same;
    if (zone_parse((struct str){ (const char *)in, size }, &z, &e) < 0) {
        ASSERT(e.code == CODE_INVALID && e.text[0]);
        return 0;
    }
    for (int i = 0; i < 50 && t < INT64_C(10000000000); i++) {
        int64_t inside;
        zone_span(z, t, &offset, &until);
        ASSERT(until > t && offset <= 26 * 3600 && offset >= -26 * 3600);
        inside = t + (MIN(until, t + 100000000) - t) / 2;
        zone_span(z, inside, &same, &until);
        ASSERT(same == offset);
        int count = zone_moments(z, t + offset, m);
        ASSERT(count > 0 && (m[0] <= t));
        t = MIN(until, t + 100000000);
    }
    return 0;
}
