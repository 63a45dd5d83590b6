#include "codec/packed.h"

#include <stdlib.h>
#include <zlib.h>

enum {
    WINDOW_BITS = 14, /* raw deflate: no header, no checksum; the memory is ours */
    MEMORY_LEVEL = 5,
    LEVEL = 3,               /* more costs time and gains nothing on top of a good sample */
    PLAIN_MAX = 64,          /* smaller texts are not worth it */
    SAMPLE_MAX = (1 << WINDOW_BITS) - 262, /* more of a dictionary is not looked at */
    LIKENESS = 6,            /* a good sample makes a text six times smaller */
    UNLIKE_MAX = 3,          /* so many bad ones in a row, and the last becomes the sample */
    SCRATCH_KEPT = 64 << 10,
};

struct sample {
    struct packer *packer;
    uint32_t refs;
    uint32_t size;
    char text[];
};
struct packed {
    struct packer *packer;
    struct sample *sample; /* NULL: none was used */
    uint32_t refs;
    uint32_t size;   /* of the text */
    uint32_t stored; /* bytes of data; as many as `size`: it is the text itself */
    uint8_t data[];
};
struct kind {
    char *name;
    struct sample *sample;
    uint32_t unlike; /* texts in a row that it was no good for */
};
struct packer {
    z_stream in, out;
    struct kind kinds[PACKER_KINDS_MAX];
    uint32_t kind_count;
    uint8_t *scratch;
    size_t scratch_size;
    struct packer_totals totals;
};

static void *z_alloc(void *ctx, unsigned count, unsigned size)
{
    (void)ctx;
    return xcalloc(count, size);
}
static void z_free(void *ctx, void *p)
{
    (void)ctx;
    free(p);
}

struct packer *packer_new(void)
{
    struct packer *p = xcalloc(1, sizeof *p);
    p->in.zalloc = p->out.zalloc = z_alloc;
    p->in.zfree = p->out.zfree = z_free;
    int r = deflateInit2(&p->in, LEVEL, Z_DEFLATED, -WINDOW_BITS, MEMORY_LEVEL, Z_DEFAULT_STRATEGY);
    int s = inflateInit2(&p->out, -WINDOW_BITS);
    ASSERT(r == Z_OK && s == Z_OK);
    return p;
}

/* ---- samples ---- */

static size_t sample_bytes(uint32_t size) { return sizeof(struct sample) + size; }

static void sample_release(struct sample *s)
{
    if (!s || --s->refs > 0)
        return;
    s->packer->totals.held -= sample_bytes(s->size);
    s->packer->totals.samples--;
    free(s);
}

static void sample_set(struct packer *p, struct kind *k, struct str text)
{
    uint32_t size = (uint32_t)MIN(text.size, (size_t)SAMPLE_MAX);
    struct sample *s = xcalloc(1, sample_bytes(size));
    *s = (struct sample){ .packer = p, .refs = 1, .size = size };
    memcpy(s->text, text.at + (text.size - size), size);
    p->totals.held += sample_bytes(size);
    p->totals.samples++;
    sample_release(k->sample);
    k->sample = s;
    k->unlike = 0;
}

static struct kind *kind_of(struct packer *p, const char *name)
{
    for (uint32_t i = 0; i < p->kind_count; i++)
        if (strcmp(p->kinds[i].name, name) == 0)
            return &p->kinds[i];
    if (p->kind_count == PACKER_KINDS_MAX)
        return NULL;
    struct kind *k = &p->kinds[p->kind_count++];
    k->name = xstrdup(name);
    return k;
}

/* Larger texts win at once: an object grows from its creation to its status, and what has all of it is the better
 * likeness. That ends, as sizes do. Others must show that they are not the exception. */
static bool sample_outdated(struct kind *k, size_t size, size_t stored)
{
    if (stored <= size / LIKENESS) {
        k->unlike = 0;
        return false;
    }
    return ++k->unlike >= UNLIKE_MAX || (k->sample->size < SAMPLE_MAX && size > k->sample->size + k->sample->size / 8);
}

/* ---- packing ---- */

static uint8_t *scratch(struct packer *p, size_t size)
{
    if (p->scratch_size < size) {
        free(p->scratch);
        p->scratch = xcalloc(1, size);
        p->scratch_size = size;
    }
    return p->scratch;
}

static void scratch_relax(struct packer *p)
{
    if (p->scratch_size <= SCRATCH_KEPT)
        return;
    free(TAKE(p->scratch));
    p->scratch_size = 0;
}

/* Into the scratch; how much it became. */
static size_t deflate_with(struct packer *p, const struct sample *s, struct str text)
{
    z_stream *z = &p->in;
    size_t room = deflateBound(z, text.size);
    int r = deflateReset(z);
    if (r == Z_OK && s)
        r = deflateSetDictionary(z, (const Bytef *)s->text, s->size);
    ASSERT(r == Z_OK && room <= UINT32_MAX);
    z->next_in = (z_const Bytef *)(uintptr_t)text.at;
    z->avail_in = (uInt)text.size;
    z->next_out = scratch(p, room);
    z->avail_out = (uInt)room;
    r = deflate(z, Z_FINISH);
    ASSERT(r == Z_STREAM_END);
    return room - z->avail_out;
}

static struct packed *packed_make(struct packer *p, struct sample *s, size_t size, const void *data,
                                  size_t stored)
{
    struct packed *t = xcalloc(1, sizeof *t + stored);
    *t = (struct packed){ p, s, 1, (uint32_t)size, (uint32_t)stored };
    memcpy(t->data, data, stored);
    if (s)
        s->refs++;
    p->totals.texts++;
    p->totals.size += size;
    p->totals.held += packed_bytes(t);
    return t;
}

struct packed *packed_new(struct packer *p, const char *kind, struct str text)
{
    ASSERT(text.size < UINT32_MAX / 2);
    struct kind *k = text.size > PLAIN_MAX ? kind_of(p, kind) : NULL;
    if (text.size <= PLAIN_MAX)
        return packed_make(p, NULL, text.size, text.at, text.size);
    if (k && !k->sample)
        sample_set(p, k, text);
    size_t stored = deflate_with(p, k ? k->sample : NULL, text);
    if (k && sample_outdated(k, text.size, stored)) {
        sample_set(p, k, text);
        stored = deflate_with(p, k->sample, text);
    }
    struct packed *t = stored < text.size
                           ? packed_make(p, k ? k->sample : NULL, text.size, p->scratch, stored)
                           : packed_make(p, NULL, text.size, text.at, text.size);
    scratch_relax(p);
    return t;
}

struct packed *packed_share(struct packed *t)
{
    if (t)
        t->refs++;
    return t;
}

void packed_free(struct packed *t)
{
    if (!t || --t->refs > 0)
        return;
    struct packer_totals *all = &t->packer->totals;
    all->texts--;
    all->size -= t->size;
    all->held -= packed_bytes(t);
    sample_release(t->sample);
    free(t);
}

/* ---- reading ---- */

static void inflate_into(const struct packed *t, char *text)
{
    z_stream *z = &t->packer->out;
    int r = inflateReset(z);
    if (r == Z_OK && t->sample)
        r = inflateSetDictionary(z, (const Bytef *)t->sample->text, t->sample->size);
    ASSERT(r == Z_OK);
    z->next_in = (z_const Bytef *)(uintptr_t)t->data;
    z->avail_in = t->stored;
    z->next_out = (Bytef *)text;
    z->avail_out = t->size;
    r = inflate(z, Z_FINISH);
    ASSERT(r == Z_STREAM_END && z->avail_out == 0);
}

char *packed_text(const struct packed *t)
{
    if (!t)
        return NULL;
    char *text = xcalloc(1, (size_t)t->size + 1);
    if (t->stored == t->size)
        memcpy(text, t->data, t->size);
    else
        inflate_into(t, text);
    return text;
}

size_t packed_size(const struct packed *t) { return t->size; }

size_t packed_bytes(const struct packed *t) { return sizeof *t + t->stored; }

struct packer_totals packer_totals(const struct packer *p) { return p->totals; }

void packer_check(const struct packer *p)
{
    uint64_t here = 0, bytes = 0;
    for (uint32_t i = 0; i < p->kind_count; i++)
        if (p->kinds[i].sample) {
            here++;
            bytes += sample_bytes(p->kinds[i].sample->size);
        }
    ASSERT(p->totals.samples >= here && p->totals.held >= bytes + p->totals.texts * sizeof(struct packed));
    ASSERT(p->totals.texts > 0 || (p->totals.size == 0 && p->totals.samples == here && p->totals.held == bytes));
}

void packer_free(struct packer *p)
{
    if (!p)
        return;
    packer_check(p);
    ASSERT(p->totals.texts == 0);
    for (uint32_t i = 0; i < p->kind_count; i++) {
        sample_release(p->kinds[i].sample);
        free(p->kinds[i].name);
    }
    (void)deflateEnd(&p->in);
    (void)inflateEnd(&p->out);
    free(p->scratch);
    free(p);
}
