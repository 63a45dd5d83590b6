/* What is accepted is within its limits, and reads back equal from both ways of writing it. */
#include "codec/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);

static uint64_t depth_of(const json_t *j, uint64_t *nodes)
{
    uint64_t deepest = 0, below;
    const char *key;
    json_t *value;
    ++*nodes;
    if (json_is_object(j))
        json_object_foreach((json_t *)(uintptr_t)j, key, value) {
            below = depth_of(value, nodes);
            deepest = MAX(deepest, below);
        }
    for (size_t i = 0; i < json_array_size(j); i++) {
        below = depth_of(json_array_get(j, i), nodes);
        deepest = MAX(deepest, below);
    }
    return deepest + (json_is_object(j) || json_is_array(j));
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    struct limits l;
    struct err e = { 0 };
    AUTO_JSON json_t *j = NULL;
    AUTO_JSON json_t *compact = NULL;
    AUTO_JSON json_t *pretty = NULL;
    limits_default(&l);
    l.json_depth_max = 8;
    l.json_nodes_max = 64;
    if (json_read((struct str){ (const char *)in, size }, &l, &j, &e) < 0) {
        ASSERT(e.code == CODE_INVALID && e.text[0]);
        return 0;
    }
    uint64_t nodes = 0;
    ASSERT(depth_of(j, &nodes) <= l.json_depth_max && nodes <= l.json_nodes_max);
    struct buf b;
    buf_init(&b, 8 * size + 4096);
    json_write(j, &b);
    ASSERT(!b.overflow && json_read(buf_str(&b), &l, &compact, &e) == 0);
    ASSERT(json_equal(j, compact));
    buf_clear(&b);
    json_write_pretty(j, &b);
    ASSERT(!b.overflow && json_read(buf_str(&b), &l, &pretty, &e) == 0);
    ASSERT(json_equal(j, pretty));
    buf_done(&b);
    return 0;
}
