/* Whatever is taken means moments that go forward, on whole minutes unless it is an interval, and that it matches. */
#include "codec/cron.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    struct err e = { 0 };
    struct cron c;
    int64_t t = 1767323045, next;
    if (cron_parse((struct str){ (const char *)in, size }, &c, &e) < 0) {
        ASSERT(e.code == CODE_INVALID && e.text[0]);
        return 0;
    }
    for (int i = 0; i < 5 && cron_next(&c, NULL, t, &next); i++) {
        ASSERT(next > t);
        if (c.every_s == 0)
            ASSERT(next % 60 == 0 && dial_matches(&c.dial, NULL, next));
        t = next;
    }
    return 0;
}
