#include "api/kube_openapi2.h"
#include "tap.h"

/* Each as protoc encodes the same message of gnostic's schema. */
static const struct {
    const char *tree, *bytes;
    size_t size;
} cases[] = {
#define CASE(tree, bytes) { tree, bytes, sizeof bytes - 1 }
    CASE("{}", ""),
    CASE("{\"swagger\":\"2.0\",\"info\":{\"title\":\"hob\",\"version\":\"1\"}}", "\x0a\x03" "2.0" "\x12\x08\x0a\x03" "hob" "\x12\x01" "1"),
    CASE("{\"swagger\":2,\"info\":[],\"paths\":\"x\",\"unknown\":{}}", ""),
    /* 9: definitions { 1: { 1: "K", 2: { 22: type { 1: "object" } } } } */
    CASE("{\"definitions\":{\"K\":{\"type\":\"object\"}}}",
         "\x4a\x12\x0a\x10\x0a\x01K\x12\x0b\xb2\x01\x08\x0a\x06object"),
    /* a bound of 600.0, little endian */
    CASE("{\"definitions\":{\"K\":{\"maximum\":600}}}", "\x4a\x10\x0a\x0e\x0a\x01K\x12\x09\x39\0\0\0\0\0\xc0\x82\x40"),
    /* 8: paths { 2: { 1: "/p", 2: { 8: patch { 8: { 1: { 2: { 3: { 4: "dryRun", 20: true } } } }, 13: { "x-a", yaml } } } } } */
    CASE("{\"paths\":{\"/p\":{\"patch\":{\"parameters\":[{\"name\":\"dryRun\",\"uniqueItems\":true},7],\"x-a\":{\"k\":1}}}}}",
         "\x42\x2f\x12\x2d\x0a\x02/p\x12\x27\x42\x25\x42\x11\x0a\x0f\x12\x0d\x1a\x0b\x22\x06" "dryRun" "\xa0\x01\x01"
         "\x6a\x10\x0a\x03" "x-a" "\x12\x09\x12\x07" "{\"k\":1}"),
};

TEST(the_document_is_encoded_as_clients_decode_it)
{
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO_JSON json_t *tree = json_loads(cases[i].tree, 0, NULL);
        struct buf b;
        buf_init(&b, 4096);
        kube_openapi2_write(tree, &b);
        CHECK_EQ(b.size, cases[i].size);
        CHECK(b.size == 0 || b.size != cases[i].size || memcmp(buf_str(&b).at, cases[i].bytes, b.size) == 0);
        buf_done(&b);
    }
}

TEST_MAIN()
