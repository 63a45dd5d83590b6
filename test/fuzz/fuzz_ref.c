/* A reference that is accepted is accepted again from its own parts, and means the same. */
#include "artifact/ref.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    if (size < 1 || size > 2000)
        return 0;
    enum artifact_kind kind = in[0] & 1 ? ARTIFACT_MODEL : ARTIFACT_BUNDLE;
    AUTO_FREE char *text = xstrndup((const char *)in + 1, size - 1);
    struct ref ref = { .origin = "?" }, again;
    struct err e = { 0 };
    if (ref_parse(kind, text, &ref, &e) < 0) {
        ASSERT(e.code == CODE_INVALID && ref.origin[0] == '?');
        return 0;
    }
    AUTO_FREE char *made = xasprintf("%s%s%s%s", ref.scheme == REF_FILE ? "file://" : "", ref.origin,
                                     ref.hex[0] ? "@sha256:" : "", ref.hex);
    ASSERT(ref_parse(kind, made, &again, &e) == 0);
    ASSERT(again.scheme == ref.scheme && strcmp(again.origin, ref.origin) == 0);
    ASSERT(strcmp(again.hex, ref.hex) == 0);
    ASSERT(ref.scheme == REF_FILE ? ref.origin[0] == '/' : ref.hex[0] != '\0');
    ASSERT(strstr(ref.origin, "/../") == NULL || ref.scheme != REF_FILE);
    for (const char *c = ref.origin; *c; c++)
        ASSERT((unsigned char)*c >= ' ' && *c != '\\' && *c != '#');
    return 0;
}
