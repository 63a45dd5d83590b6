/* Messages as kubectl 1.32 builds them, written out by hand; then cut short at every byte, and bent. */
#include "api/kube_protobuf.h"
#include "tap.h"

/* Unknown { typeMeta { "v1", "ConfigMap" }, raw { metadata { name "c", labels { "a": "b" } }, data { "k": "1" },
 * binaryData { "z": "\xff\x00" }, immutable true } } */
static const char message[] = "k8s\0"
    "\x0a\x0f" "\x0a\x02" "v1" "\x12\x09" "ConfigMap"
    "\x12\x24"
        "\x0a\x0d" "\x0a\x01" "c" "\x12\x00" "\x5a\x06" "\x0a\x01" "a" "\x12\x01" "b"
        "\x12\x06" "\x0a\x01" "k" "\x12\x01" "1"
        "\x1a\x07" "\x0a\x01" "z" "\x12\x02" "\xff\x00"
        "\x20\x01"
        "\x48\x05" /* an unknown number */
    "\x1a\x00" "\x22\x00";
enum { SIZE = sizeof message - 1 };

static int read_it(const char *bytes, size_t size, json_t **ret, struct err *e)
{
    struct limits l;
    limits_default(&l);
    return kube_protobuf_read((struct str){ bytes, size }, &l, ret, e);
}

TEST(a_config_map_is_the_same_as_in_json)
{
    json_t *j = NULL;
    struct err e = { 0 };
    if (read_it(message, SIZE, &j, &e) < 0)
        FAIL("%s", e.text);
    AUTO_JSON json_t *object = j;
    AUTO_JSON json_t *want = json_loads("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\",\"labels\":{\"a\":\"b\"}},"
                                        "\"data\":{\"k\":\"1\"},\"binaryData\":{\"z\":\"/wA=\"},\"immutable\":true}", 0, NULL);
    AUTO_FREE char *is = json_dumps(object, JSON_COMPACT);
    if (!json_equal(object, want))
        FAIL("%s", is);
}

TEST(what_is_cut_or_bent_is_refused_or_another_whole_object)
{
    char bent[SIZE];
    for (size_t size = 0; size < SIZE; size++) {
        json_t *j = NULL;
        struct err e = { 0 };
        AUTO_FREE char *copy = xcalloc(1, size + 1); /* exact, so that the sanitizer sees one byte too far */
        memcpy(copy, message, size);
        int r = read_it(copy, size, &j, &e);
        CHECK((r == 0) == (j != NULL) && (r == 0 || e.code == CODE_INVALID));
        json_decref(j);
        /* whole without the two empty fields at its end, or without any object at all */
        CHECK(r < 0 || size >= SIZE - 4 || size == 4 + 17);
    }
    for (size_t i = 0; i < SIZE; i++)
        for (int bit = 0; bit < 8; bit++) {
            json_t *j = NULL;
            struct err e = { 0 };
            memcpy(bent, message, SIZE);
            bent[i] = (char)(bent[i] ^ 1 << bit);
            int r = read_it(bent, SIZE, &j, &e);
            CHECK((r == 0) == (j != NULL) && (r == 0 || e.text[0]));
            json_decref(j);
        }
}

TEST(other_kinds_and_other_beginnings_are_refused_by_name)
{
    json_t *j = NULL;
    struct err e = { 0 };
    CHECK_EQ(read_it("{}", 2, &j, &e), -CODE_INVALID);
    CHECK(strstr(e.text, "does not begin"));
    static const char pod[] = "k8s\0" "\x0a\x09" "\x0a\x02" "v1" "\x12\x03" "Pod" "\x12\x00";
    CHECK_EQ(read_it(pod, sizeof pod - 1, &j, &e), -CODE_INVALID);
    CHECK(strstr(e.text, "only Namespace, ConfigMap and Secret"));
}

TEST_MAIN()
