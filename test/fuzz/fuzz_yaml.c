/* What is accepted reads back equal when it is written as YAML, and when it is written as JSON and read
 * by either reader. */
#include "codec/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);

static json_t *again(struct str text, const struct limits *l)
{
    struct err e = { 0 };
    json_t *doc = NULL;
    size_t count = 0;
    int r = yaml_read(text, l, &doc, 1, &count, &e);
    ASSERT(r == 0 && count == 1);
    return doc;
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    struct limits l;
    struct err e = { 0 };
    json_t *docs[4];
    size_t count = 0;
    limits_default(&l);
    l.json_depth_max = 8;
    l.json_nodes_max = 64;
    if (yaml_read((struct str){ (const char *)in, size }, &l, docs, COUNT_OF(docs), &count, &e) < 0) {
        ASSERT(e.code == CODE_INVALID && e.text[0]);
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        struct buf b;
        AUTO_JSON json_t *j = docs[i];
        AUTO_JSON json_t *json = NULL;
        buf_init(&b, 16 * size + 4096);
        yaml_write(j, &b);
        ASSERT(!b.overflow);
        AUTO_JSON json_t *yaml = again(buf_str(&b), &l);
        ASSERT(json_equal(j, yaml));
        buf_clear(&b);
        json_write(j, &b);
        ASSERT(!b.overflow && json_read(buf_str(&b), &l, &json, &e) == 0);
        ASSERT(json_equal(j, json));
        AUTO_JSON json_t *both = again(buf_str(&b), &l);
        ASSERT(json_equal(j, both));
        buf_done(&b);
    }
    return 0;
}
