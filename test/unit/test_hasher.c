#include "artifact/hasher.h"
#include "base/rng.h"
#include "tap.h"

static const char empty_hex[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

TEST(known_answers)
{
    static const struct {
        const char *text, *hex;
    } cases[] = { /* FIPS 180-2 examples */
        { "", empty_hex },
        { "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
        { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char hex[65];
        struct digest d = hasher_of(cases[i].text, strlen(cases[i].text));
        digest_hex(&d, hex);
        CHECK_STR(hex, cases[i].hex);
    }
}

/* The same bytes in any pieces give the same whole, and leaves that are the digests of 4 MiB each. */
TEST(pieces_do_not_matter_and_leaves_fit)
{
    size_t size = 2 * LEAF_BYTES + 12345;
    uint8_t *bytes = xcalloc(1, size);
    struct rng rng = { 7 };
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)rng_next(&rng);
    struct digest want = hasher_of(bytes, size);
    AUTO(hasher) struct hasher *s = hasher_new();
    for (int turn = 0; turn < 3; turn++) {
        hasher_clear(s);
        for (size_t at = 0; at < size;) {
            size_t n = MIN(size - at, 1 + rng_below(&rng, turn == 0 ? 700000 : LEAF_BYTES * 2));
            hasher_add(s, bytes + at, n);
            at += n;
        }
        struct digest got = hasher_end(s);
        size_t count = 0;
        const struct digest *leaves = hasher_leaves(s, &count);
        CHECK(memcmp(&got, &want, sizeof got) == 0);
        CHECK_EQ(count, 3);
        for (size_t i = 0; i < 3; i++) {
            struct digest leaf = hasher_of(bytes + i * LEAF_BYTES, MIN(LEAF_BYTES, size - i * LEAF_BYTES));
            CHECK(memcmp(&leaf, &leaves[i], sizeof leaf) == 0);
        }
    }
    free(bytes);
}

TEST(files_after_each_other_keep_their_own_leaves)
{
    AUTO(hasher) struct hasher *s = hasher_new();
    size_t count = 0;
    hasher_add(s, "abc", 3);
    (void)hasher_end(s);
    struct digest empty = hasher_end(s); /* an empty file has no leaf */
    hasher_add(s, "abc", 3);
    struct digest abc = hasher_end(s), want = hasher_of("abc", 3), none = hasher_of("", 0);
    const struct digest *leaves = hasher_leaves(s, &count);
    CHECK_EQ(count, 2);
    CHECK(memcmp(&leaves[0], &leaves[1], sizeof abc) == 0 && memcmp(&leaves[1], &want, sizeof abc) == 0);
    CHECK(memcmp(&abc, &want, sizeof abc) == 0 && memcmp(&empty, &none, sizeof abc) == 0);
    hasher_add(s, "x", 1);
    (void)hasher_end(s);
    (void)hasher_leaves(s, &count);
    CHECK_EQ(count, 3);
    CHECK_EQ(hasher_leaf_count(0), 0);
    CHECK_EQ(hasher_leaf_count(LEAF_BYTES), 1);
    CHECK_EQ(hasher_leaf_count(LEAF_BYTES + 1), 2);
}

TEST_MAIN()
