#include "model.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEAD_BYTES = 4096, LABELS_AT = 64, LABELS_MAX = 4000, BUCKETS_MAX = 1 << 24 };

_Static_assert((MODEL_TEXT_BYTES_MAX / 2 + 2) * 4LL * 32768 < INT32_MAX, "scores fit 32 bits");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "weights are read as they lie in the file");

/* ---- reading the file ---------------------------------------------------------------------- */

struct head { /* of the file, at 0 */
    char magic[8];
    uint32_t version, head_bytes, buckets, classes, stride, labels_bytes;
};

static bool head_fits(const struct head *h, size_t file_size)
{
    return h->head_bytes == HEAD_BYTES && h->buckets > 0 && h->buckets <= BUCKETS_MAX &&
           (h->buckets & (h->buckets - 1)) == 0 && h->classes > 0 && h->classes <= h->stride &&
           h->stride <= MODEL_CLASSES_MAX && h->labels_bytes <= LABELS_MAX &&
           file_size == HEAD_BYTES + (size_t)h->buckets * h->stride * sizeof(int16_t);
}

static bool is_label_byte(char c)
{
    return c == '-' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Labels stand in answers as they are, so nothing that JSON would escape may be among them. */
static bool split_labels(struct model *m, const char *at, size_t size)
{
    const char *end = at + size;
    for (uint32_t i = 0; i < m->classes; i++) {
        const char *from = at;
        while (at < end && is_label_byte(*at))
            at++;
        if (at == from || at - from > UINT8_MAX)
            return false;
        m->labels[i] = from;
        m->label_sizes[i] = (uint8_t)(at - from);
        if (i + 1 < m->classes) {
            if (at == end || *at++ != '\n')
                return false;
        }
    }
    return at == end;
}

static int adopt(struct model *m, const char **ret_why)
{
    const struct head *h = m->map;
    if (memcmp(h->magic, "evclass", 8) != 0 || h->version != 1) {
        *ret_why = "not event-classifier weights of version 1";
        return -1;
    }
    if (!head_fits(h, m->map_size)) {
        *ret_why = "the header does not fit the file";
        return -1;
    }
    m->mask = h->buckets - 1;
    m->classes = h->classes;
    m->stride = h->stride;
    m->weights = (const int16_t *)((const char *)m->map + HEAD_BYTES);
    if (!split_labels(m, (const char *)m->map + LABELS_AT, h->labels_bytes)) {
        *ret_why = "the labels are not as many words as there are classes";
        return -1;
    }
    return 0;
}

int model_open(struct model *m, const char *path, const char **ret_why)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *map = MAP_FAILED;
    *ret_why = "cannot be opened and mapped";
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size >= HEAD_BYTES)
        map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    if (map == MAP_FAILED)
        return -1;
    *m = (struct model){ .map = map, .map_size = (size_t)st.st_size };
    if (adopt(m, ret_why) == 0)
        return 0;
    munmap(map, m->map_size);
    return -1;
}

/* ---- scoring ------------------------------------------------------------------------------- */

/* crc32 as zlib has it: crc(b, crc(a, 0)) is the CRC of a followed by b. */
static uint32_t crc(const void *data, size_t size, uint32_t before)
{
    static const uint32_t nibble[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
        0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
        0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
    };
    const uint8_t *at = data;
    uint32_t c = ~before;
    while (size-- > 0) {
        c ^= *at++;
        c = nibble[c & 15] ^ (c >> 4);
        c = nibble[c & 15] ^ (c >> 4);
    }
    return ~c;
}

/* Words are runs of ASCII letters (folded to lower case), digits, + and #, and of all that is not
 * ASCII. 0 for what separates them. */
static char fold(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c + 32);
    bool in_word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '#' ||
                   (unsigned char)c >= 128;
    return in_word ? c : '\0';
}

struct words { /* walks a text word by word */
    const char *at, *end;
    size_t size;
    char word[MODEL_TEXT_BYTES_MAX];
};

static bool next_word(struct words *w)
{
    while (w->at < w->end && fold(*w->at) == '\0')
        w->at++;
    w->size = 0;
    for (char c; w->at < w->end && (c = fold(*w->at)) != '\0'; w->at++)
        w->word[w->size++] = c;
    return w->size > 0;
}

static void add(const struct model *m, uint32_t hash, int32_t *scores)
{
    const int16_t *row = m->weights + (size_t)(hash & m->mask) * m->stride;
    for (uint32_t i = 0; i < m->classes; i++)
        scores[i] += row[i];
}

static void add_words(const struct model *m, struct words *w, int32_t *scores)
{
    uint32_t before = crc("^", 1, 0);
    while (next_word(w)) {
        add(m, crc(w->word, w->size, crc(" ", 1, before)), scores);
        before = crc(w->word, w->size, 0);
        add(m, before, scores);
    }
    add(m, crc(" $", 2, before), scores);
}

/* In "name - synopsis" the name's words have a second meaning of their own. */
static void add_name(const struct model *m, struct words *w, int32_t *scores)
{
    uint32_t last = 0;
    bool first = true;
    for (; next_word(w); first = false) {
        add(m, crc(w->word, w->size, crc("@", 1, 0)), scores);
        if (first)
            add(m, crc(w->word, w->size < 4 ? w->size : 4, crc("<", 1, 0)), scores);
        last = crc(w->word, w->size, crc(">", 1, 0));
    }
    if (!first)
        add(m, last, scores);
}

static size_t pick(const struct model *m, const int32_t *scores, struct model_best ret[MODEL_BEST])
{
    size_t count = 0;
    for (uint32_t i = 0; i < m->classes; i++) {
        size_t place = count;
        while (place > 0 && ret[place - 1].score < scores[i])
            place--;
        if (place == MODEL_BEST)
            continue;
        if (count < MODEL_BEST)
            count++;
        memmove(ret + place + 1, ret + place, (count - place - 1) * sizeof *ret);
        ret[place] = (struct model_best){ .label = i, .score = scores[i] };
    }
    return count;
}

size_t model_best(const struct model *m, const char *text, size_t size,
                  struct model_best ret[MODEL_BEST])
{
    int32_t scores[MODEL_CLASSES_MAX];
    struct words w = { .at = text, .end = text + size };
    memset(scores, 0, m->classes * sizeof *scores);
    add(m, crc("bias", 4, 0), scores);
    add_words(m, &w, scores);
    const char *dash = memmem(text, size, " - ", 3);
    if (dash != NULL) {
        w.at = text;
        w.end = dash;
        add_name(m, &w, scores);
    }
    return pick(m, scores, ret);
}
