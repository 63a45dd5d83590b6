#include "base/crc32c.h"
#include "base/rng.h"
#include "tap.h"

typedef uint32_t crc_function(uint32_t before, const void *data, size_t size);
static crc_function *const ways[] = { crc32c, crc32c_plain };

TEST(it_is_the_sum_that_rfc_3720_gives_for_its_examples)
{
    /* B.4 gives the bytes as they are sent: the lowest first. The last is a SCSI read command. */
    static const unsigned char command[48] = {
        0x01, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 0x04, 0,
        0, 0, 0, 0x14, 0, 0, 0, 0x18, 0x28, 0, 0, 0, 0, 0, 0, 0, 0x02, 0, 0, 0, 0, 0, 0, 0,
    };
    unsigned char zeros[32] = { 0 }, ones[32], up[32], down[32];
    for (unsigned i = 0; i < 32; i++) {
        ones[i] = 0xff;
        up[i] = (unsigned char)i;
        down[i] = (unsigned char)(31 - i);
    }
    const struct {
        const void *data;
        size_t size;
        uint32_t sum;
    } examples[] = {
        { zeros, 32, 0x8a9136aa }, { ones, 32, 0x62a8ab43 },      { up, 32, 0x46dd794e },
        { down, 32, 0x113fdb5c },  { command, 48, 0xd9963a56 }, { "123456789", 9, 0xe3069283 },
        { "", 0, 0 },
    };
    for (size_t w = 0; w < COUNT_OF(ways); w++)
        for (size_t i = 0; i < COUNT_OF(examples); i++)
            CHECK_EQ(ways[w](0, examples[i].data, examples[i].size), examples[i].sum);
}

TEST(both_ways_agree_wherever_the_bytes_begin_and_end_and_are_cut)
{
    unsigned char bytes[200];
    struct rng rng = { 3 };
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)rng_next(&rng);
    for (int round = 0; round < 5000; round++) {
        size_t from = rng_below(&rng, sizeof bytes), size = rng_below(&rng, sizeof bytes - from + 1);
        size_t cut = rng_below(&rng, size + 1);
        uint32_t whole = crc32c_plain(0, bytes + from, size);
        for (size_t w = 0; w < COUNT_OF(ways); w++) {
            uint32_t first = ways[w](0, bytes + from, cut);
            CHECK_EQ(ways[w](first, bytes + from + cut, size - cut), whole);
        }
    }
}

TEST_MAIN()
