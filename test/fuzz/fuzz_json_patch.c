/* The input is [document, patch]. Whatever the patch is: the document stays as it was, and what comes out is within
 * the bounds, equal to itself under a "test" of the whole, and different once it is wrapped. */
#include "codec/json_patch.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);

static size_t depth_of(const json_t *j)
{
    const char *key;
    json_t *value;
    size_t deepest = 0;
    json_object_foreach((json_t *)(uintptr_t)j, key, value)
        deepest = MAX(deepest, 1 + depth_of(value));
    for (size_t i = 0; i < json_array_size(j); i++)
        deepest = MAX(deepest, 1 + depth_of(json_array_get(j, i)));
    return deepest;
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    struct limits l;
    struct err e = { 0 };
    json_t *both = NULL, *made = NULL, *again = NULL;
    limits_default(&l);
    l.json_nodes_max = 1000;
    if (json_read((struct str){ (const char *)in, size }, &l, &both, &e) < 0)
        return 0;
    const json_t *document = json_array_get(both, 0), *patch = json_array_get(both, 1);
    if (document && patch) {
        AUTO_JSON json_t *before = json_deep_copy(document);
        int r = json_patch_apply(document, patch, &l, &made, &e);
        ASSERT(json_equal(document, before) && (r == 0) == (made != NULL) && (r == 0 || e.text[0]));
        if (r == 0) {
            AUTO_JSON json_t *test = json_pack("[{s:s,s:s,s:O}]", "op", "test", "path", "", "value", made);
            ASSERT(depth_of(made) <= l.json_depth_max);
            ASSERT(json_patch_apply(made, test, &l, &again, &e) == 0 && json_equal(made, again));
            AUTO_JSON json_t *wrapped = json_pack("[O]", made);
            ASSERT(!json_patch_equal(made, wrapped));
        }
    }
    json_decref(made);
    json_decref(again);
    json_decref(both);
    return 0;
}
