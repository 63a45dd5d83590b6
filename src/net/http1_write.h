/* http1_write.h -- heads and chunks from checked parts: nothing a peer sent is forwarded as bytes.
 *
 * Appends to the caller's buf (whose `overflow` says at the end whether all fitted); owns nothing.
 * A head is: one start line, fields, framing, http1_write_end().
 * Names and values must be clean (as the parser's are): CR, LF or NUL in them is our own mistake.
 */
#pragma once

#include "base/buf.h"
#include "net/http1.h"

void http1_write_request(struct buf *b, struct str method, struct str target); /* HTTP/1.1 */
void http1_write_status(struct buf *b, int status, struct str reason); /* at NULL: the usual one */
void http1_write_field(struct buf *b, struct str name, struct str value);
/* All end-to-end fields of h, in order, but Content-Length and those in `skip` (a mask of
 * BIT(HTTP_FIELD_…)). Framing is for http1_write_framing(). */
void http1_write_fields(struct buf *b, const struct http1_head *h, uint64_t skip);
/* LENGTH writes Content-Length (0 too: what an answer without a body needs, and with the length as
 * sent what the answer to HEAD needs), CHUNKED Transfer-Encoding; NONE and CLOSE write nothing. */
void http1_write_framing(struct buf *b, enum http1_framing framing, uint64_t body_bytes);
void http1_write_end(struct buf *b); /* the empty line */

/* The line before a chunk's bytes, for writev(); returns its size. CRLF goes after the bytes. */
enum { HTTP1_CHUNK_LINE_MAX = 18 };
size_t http1_chunk_line(char into[HTTP1_CHUNK_LINE_MAX], uint64_t chunk_bytes);
void http1_write_chunk(struct buf *b,
                       struct str data); /* whole; data not empty (that would end it) */
/* `trailers`: checked lines as in struct http1_body, or empty. */
void http1_write_last_chunk(struct buf *b, struct str trailers);
