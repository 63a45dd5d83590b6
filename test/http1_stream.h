/* http1_stream.h -- reads a whole connection with net/http1, in any pieces, and writes down what it saw.
 *
 * Every feed gets a fresh copy of exactly the bytes that "arrived", so that the sanitizer sees any
 * look past them and any text left pointing into the last copy. */
#pragma once

#include "base/buf.h"
#include "base/rng.h"
#include "net/http1_body.h"

#include <stdlib.h>

struct stream_case {
    enum http1_kind kind;
    enum http_method answers; /* responses */
    const struct limits *limits;
    size_t piece_max; /* 0: everything at once */
    uint64_t seed;    /* of the sizes of pieces; 0: always piece_max */
    bool verbose;     /* everything parsed, not only what was understood */
};

static inline size_t stream_piece(const struct stream_case *c, struct rng *r, size_t left)
{
    if (c->piece_max == 0)
        return left;
    size_t piece = c->seed ? (size_t)rng_below(r, c->piece_max) + 1 : c->piece_max;
    return MIN(piece, left);
}

static inline void stream_print_head(const struct stream_case *c, const struct http1_head *h,
                                     struct buf *out)
{
    if (h->kind == HTTP1_REQUEST)
        buf_printf(out, STR_FMT " " STR_FMT, STR_ARG(h->method), STR_ARG(h->target));
    else
        buf_printf(out, "%d", h->status);
    if (!c->verbose)
        return;
    buf_printf(out,
               " 1.%d m%d path=" STR_FMT " query=%d:" STR_FMT " host=" STR_FMT ":%d reason=" STR_FMT
               " framing=%d bytes=%llu length=%lld ka=%d up=%d exp=%d int=%d size=%u\n",
               h->minor, h->method_id, STR_ARG(h->path), h->query.at != NULL, STR_ARG(h->query),
               STR_ARG(h->host), h->port, STR_ARG(h->reason), h->framing,
               (unsigned long long)h->body_bytes, (long long)h->content_length, h->keep_alive,
               h->upgrade, h->expect_continue, h->interim, h->size);
    for (uint32_t i = 0; i < h->field_count; i++)
        buf_printf(out, " %d%s <" STR_FMT "> <" STR_FMT ">\n", h->fields[i].id,
                   h->fields[i].hop ? "h" : "", STR_ARG(h->fields[i].name),
                   STR_ARG(h->fields[i].value));
}

/* Reads one head from in[*at..]; *have is how much arrived. */
static inline enum http1_result stream_head(const struct stream_case *c, struct rng *r,
                                            struct http1_head *h, struct str in, size_t *at,
                                            size_t *have)
{
    char *copy = NULL;
    for (;;) {
        char *next = (char *)xcalloc(1, *have - *at + 1);
        memcpy(next, in.at + *at, *have - *at);
        next = (char *)xrealloc(next, MAX(*have - *at, 1), 1);
        enum http1_result result = http1_head_feed(h, next, *have - *at);
        free(copy);
        copy = next;
        if (result == HTTP1_MORE && *have < in.size) {
            *have += stream_piece(c, r, in.size - *have);
            continue;
        }
        if (result == HTTP1_DONE) {
            http1_head_rebase(h, in.at + *at);
            *at += h->size;
        }
        free(copy);
        return result;
    }
}

static inline enum http1_result stream_body(const struct stream_case *c, struct rng *r,
                                            struct http1_body *b, struct str in, size_t *at,
                                            size_t *have, struct buf *out)
{
    for (;;) {
        struct str data;
        size_t used, offer = *have - *at;
        char *copy = (char *)xcalloc(1, MAX(offer, 1));
        memcpy(copy, in.at + *at, offer);
        enum http1_result result = http1_body_feed(b, copy, offer, &used, &data);
        ASSERT(used <= offer);
        ASSERT(result != HTTP1_MORE || used == offer);
        ASSERT(result != HTTP1_DATA || data.size > 0);
        ASSERT(data.size == 0 || (data.at >= copy && data.at + data.size <= copy + used));
        buf_str_append(out, data);
        free(copy);
        *at += used;
        if (result == HTTP1_DONE || result == HTTP1_BAD)
            return result;
        if (*at < *have)
            continue;
        if (*have == in.size)
            return http1_body_ended(b) == HTTP1_DONE ? HTTP1_DONE : HTTP1_MORE;
        *have += stream_piece(c, r, in.size - *have);
    }
}

/* "POST /a[content] " or "200[content] " per message; then "" at a clean end between messages, "~" in
 * the middle of one, "." after a message that ends the connection, "^" after an upgrade, "!status"
 * after a refusal. */
static inline void stream_read(const struct stream_case *c, struct str in, struct buf *out)
{
    struct rng r = { c->seed };
    struct http1_head h;
    size_t at = 0, have = stream_piece(c, &r, in.size);

    http1_head_init(&h, c->kind, c->limits);
    for (;;) {
        if (at == in.size)
            break;
        http1_head_reset(&h);
        if (c->kind == HTTP1_RESPONSE)
            http1_head_answers(&h, c->answers);
        enum http1_result result = stream_head(c, &r, &h, in, &at, &have);
        if (result != HTTP1_DONE) {
            if (result == HTTP1_MORE)
                buf_text(out, "~");
            else
                buf_printf(out, "!%d%s%s", h.refusal.status, c->verbose ? " " : "",
                           c->verbose ? h.refusal.text : "");
            break;
        }
        struct http1_body b;
        stream_print_head(c, &h, out);
        buf_text(out, "[");
        http1_body_init(&b, &h);
        result = stream_body(c, &r, &b, in, &at, &have, out);
        if (result == HTTP1_DONE)
            buf_text(out, "] ");
        if (result == HTTP1_DONE && c->verbose)
            buf_printf(out, "%llu {" STR_FMT "}\n", (unsigned long long)b.content_bytes,
                       STR_ARG(buf_str(&b.trailers)));
        if (result == HTTP1_BAD)
            buf_printf(out, "!%d%s%s", b.refusal.status, c->verbose ? " " : "",
                       c->verbose ? b.refusal.text : "");
        else if (result == HTTP1_MORE)
            buf_text(out, "~");
        http1_body_done(&b);
        if (result != HTTP1_DONE)
            break;
        if (h.upgrade || !h.keep_alive) {
            buf_text(out, h.upgrade ? "^" : ".");
            break;
        }
    }
    http1_head_done(&h);
}
