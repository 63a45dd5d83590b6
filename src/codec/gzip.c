#include "codec/gzip.h"

#include <stdlib.h>
#include <zlib.h>

enum {
    WINDOW_BITS = MAX_WBITS + 16, /* with gzip's head and checksum */
    MEMORY_LEVEL = 8,
    LEVEL = 1,
    STEP_BYTES = 16384,
    INPUT_MAX = 1 << 30, /* zlib counts in unsigned int */
};

struct gzip {
    z_stream in, out;
    bool reads, writes;
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

struct gzip *gzip_new(void)
{
    struct gzip *g = xcalloc(1, sizeof *g);
    g->in.zalloc = g->out.zalloc = z_alloc;
    g->in.zfree = g->out.zfree = z_free;
    return g;
}

void gzip_free(struct gzip *g)
{
    if (!g)
        return;
    if (g->reads)
        (void)inflateEnd(&g->in);
    if (g->writes)
        (void)deflateEnd(&g->out);
    free(g);
}

static void begin_read(struct gzip *g, struct str packed)
{
    int r = g->reads ? inflateReset(&g->in) : inflateInit2(&g->in, WINDOW_BITS);
    ASSERT(r == Z_OK);
    g->reads = true;
    g->in.next_in = (Bytef *)(uintptr_t)packed.at; /* zlib only reads it */
    g->in.avail_in = (uInt)packed.size;
}

int gzip_read(struct gzip *g, struct str packed, struct buf *into, struct err *e)
{
    if (packed.size == 0 || packed.size > INPUT_MAX)
        return err_set(e, CODE_INVALID, "gzip: %zu bytes are not a compressed text", packed.size);
    begin_read(g, packed);
    for (;;) {
        size_t room;
        Bytef one;
        char *at = buf_reserve(into, STEP_BYTES, &room);
        room = MIN(room, (size_t)INPUT_MAX);
        /* A text that just fits has its checksum still to come: there must be room to find out. */
        g->in.next_out = room > 0 ? (Bytef *)at : &one;
        g->in.avail_out = room > 0 ? (uInt)room : 1;
        int r = inflate(&g->in, Z_NO_FLUSH);
        if (room > 0)
            buf_commit(into, room - g->in.avail_out);
        else if (g->in.avail_out == 0)
            return err_set(e, CODE_EXHAUSTED, "gzip: more than %zu bytes unpacked", into->max);
        if (r == Z_STREAM_END && g->in.avail_in == 0)
            return 0;
        if (r == Z_STREAM_END)
            r = inflateReset(&g->in); /* one more member */
        if (r != Z_OK)
            return err_set(e, CODE_INVALID, "gzip: %s", r == Z_BUF_ERROR ? "the text is cut short" : "the bytes are damaged, or no gzip");
    }
}

void gzip_write(struct gzip *g, struct str plain, struct buf *into)
{
    int r = g->writes ? deflateReset(&g->out)
                      : deflateInit2(&g->out, LEVEL, Z_DEFLATED, WINDOW_BITS, MEMORY_LEVEL, Z_DEFAULT_STRATEGY);
    ASSERT(r == Z_OK && plain.size <= INPUT_MAX);
    g->writes = true;
    g->out.next_in = (Bytef *)(uintptr_t)plain.at;
    g->out.avail_in = (uInt)plain.size;
    do {
        size_t room;
        char *at = buf_reserve(into, STEP_BYTES, &room);
        if (room == 0) {
            into->overflow = true;
            return;
        }
        room = MIN(room, (size_t)INPUT_MAX);
        g->out.next_out = (Bytef *)at;
        g->out.avail_out = (uInt)room;
        r = deflate(&g->out, Z_FINISH);
        ASSERT(r == Z_OK || r == Z_STREAM_END || r == Z_BUF_ERROR);
        buf_commit(into, room - g->out.avail_out);
    } while (r != Z_STREAM_END);
}
