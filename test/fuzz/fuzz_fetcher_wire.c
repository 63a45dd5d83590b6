/* What the check lets through holds what its reader relies on; ranges that parse print back the same. */
#include "artifact/fetcher_wire.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    struct wire_message m = { 0 };
    struct err e;
    int64_t from = 0, total = 0;
    char text[96];
    if (size <= sizeof m) {
        memcpy(&m, in, size);
        for (int node = 0; node < 2; node++)
            if (wire_check(&m, sizeof m, node, &e) == 0) {
                ASSERT(strnlen(m.text, sizeof m.text) < sizeof m.text);
                ASSERT(strnlen(m.etag, sizeof m.etag) < sizeof m.etag);
                ASSERT(m.kind != WIRE_HEAD || (m.status >= 100 && m.status < 600 && m.size >= -1));
            }
    }
    struct str s = { (const char *)in, size };
    if (wire_range_parse(s, &from, &total)) {
        ASSERT(from >= 0 && (total == -1 || total > from));
        int n = snprintf(text, sizeof text, "bytes %lld-", (long long)from);
        ASSERT(str_starts(s, STR("bytes ")) && n > 0);
        ASSERT(total >= 0 || str_ends(s, STR("/*")));
    }
    return 0;
}
