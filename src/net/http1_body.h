/* http1_body.h -- the body after a head: where its bytes are and where it ends. Sans-I/O.
 *
 * Receives bytes as they come, in any pieces; emits pieces of content that point into them, nothing
 * copied. Owns only the trailer fields of a chunked body, if there are any.
 * Refuses malformed or overflowing chunk sizes, chunk-size lines over http_chunk_line_bytes_max, chunks not
 * closed by CRLF, bare CR or LF, trailers that frame, route or authorise, and extensions and
 * trailers of together more than http_trailer_bytes_max.
 *
 * Invariant as in http1.h: the result does not depend on how the bytes were cut.
 */
#pragma once

#include "base/buf.h"
#include "net/http1.h"

struct http1_body {
    struct http1_refusal refusal; /* after HTTP1_BAD */
    uint64_t content_bytes;       /* given out so far */
    /* "Name: value\r\n" lines, checked; empty mostly. Valid after DONE, until http1_body_done(). */
    struct buf trailers;

    /* --- own --- */
    const struct limits *limits;
    struct buf line; /* the trailer line that is coming in */
    uint8_t framing, state, kind;
    uint8_t digits, name_bytes;
    uint32_t line_bytes, extra_bytes, trailer_count;
    uint64_t left; /* of the body or the chunk */
};

void http1_body_init(struct http1_body *b, const struct http1_head *h); /* after its DONE */
void http1_body_done(struct http1_body *b);

/* Takes *ret_used of the bytes; *ret_data is content among them, or empty.
 * DATA: feed on from *ret_used. MORE: all were taken. DONE: the body is complete, and *ret_data may
 * be its last piece; what was not taken belongs to the next message. BAD: refused.
 * A body without bytes is DONE at the first feed, even of nothing: feed once after each head. */
enum http1_result http1_body_feed(struct http1_body *b, const char *at, size_t size,
                                  size_t *ret_used, struct str *ret_data) MUST_USE;
/* The connection ended: DONE if that was the end of the body, BAD if it was cut short. */
enum http1_result http1_body_ended(struct http1_body *b) MUST_USE;
