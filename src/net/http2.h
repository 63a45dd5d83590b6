/* http2.h -- one HTTP/2 connection (RFC 9113), either side, sans-I/O; framing and HPACK are nghttp2's.
 *
 * Receives the bytes that came and the time; heads as checked struct http1_head; content in pieces.
 * Owns the session, its streams and at most h2_window_bytes of content per stream and direction.
 * Emits bytes to be sent, and streams that have news (http2_changed): heads as the text of an HTTP/1.1
 * head for net/http1.h (http2_head.h says why), content, trailers, how it ended.
 * Refuses what nghttp2 and http2_head.h refuse (that stream is reset) and floods: http2_guard.h
 * judges every frame, and a connection that uses up a budget ends with GOAWAY ENHANCE_YOUR_CALM, in
 * which the limit is named.
 *
 * Back-pressure: a stream's window opens as its content is taken out, and at most h2_window_bytes are
 * taken in for sending before the peer has opened its own. From a client all streams share
 * h2_connection_window_bytes; a function's do not hold each other up.
 *
 * A stream is its owner's from http2_changed() or http2_request() until http2_stream_drop(); the
 * connection may end before (then it says HTTP2_RESET). Nothing calls back. Single-threaded.
 */
#pragma once

#include "base/buf.h"
#include "net/http1.h"
#include "net/http2_guard.h"

struct http2;        /* opaque */
struct http2_stream; /* opaque */

enum http2_side { HTTP2_SERVER, HTTP2_CLIENT };

/* What a client says first; a server that speaks both versions looks for it. */
#define HTTP2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
enum { HTTP2_PREFACE_BYTES = 24 };

enum {
    HTTP2_FRAME_BYTES_MAX = 16393, /* what one step of http2_write() may append */
};

/* What the connections that share it hold together, nghttp2's own tables and frames too: new streams are refused (REFUSED_STREAM) once it
 * is h2_streams_all_max streams or h2_held_bytes_max bytes of memory. Outlives them. */
struct http2_budget {
    uint64_t streams, bytes;
    uint64_t streams_refused, bytes_refused; /* streams, by the limit that was reached */
};

struct http2 *http2_new(enum http2_side side, const struct limits *limits);
void http2_free(struct http2 *h); /* streams that are still owned must be dropped before */
DEFINE_AUTO(http2, struct http2 *, http2_free)
void http2_share(struct http2 *h, struct http2_budget *b); /* before the first stream */

/* Takes all of the bytes. Negative: what the peer sent ends the connection; http2_write() still has
 * the GOAWAY that says why. */
int http2_feed(struct http2 *h, const char *at, size_t size, uint64_t now_ms,
               struct err *e) MUST_USE;
/* Appends frames until `hold` bytes are in `into`, or nothing is to be sent now. */
void http2_write(struct http2 *h, struct buf *into, size_t hold, uint64_t now_ms);
/* Nothing more will come of it: close it once all that was written is sent. */
bool http2_over(const struct http2 *h);
void http2_lost(struct http2 *h); /* the bytes ended: every stream has news */
void http2_shut(struct http2 *h); /* GOAWAY: no new streams; those that are open go on */
void http2_ping(struct http2 *h);
uint32_t http2_streams(const struct http2 *h);     /* open, or not yet let go of */
bool http2_takes_requests(const struct http2 *h);  /* client: neither ended nor told to go away */
bool http2_stuck(const struct http2 *h); /* client: requests wait, and the peer takes none at all */
enum http2_limit http2_reached(const struct http2 *h); /* _NONE: none */
/* The peer is in the middle of a greeting, a head or a control frame. */
bool http2_waiting(const struct http2 *h);

/* The next stream with news since it was last given out; NULL: none. */
struct http2_stream *http2_changed(struct http2 *h);

/* ---- a stream: reading ---- */
void http2_stream_own(struct http2_stream *s, void *owner);
void *http2_stream_owner(const struct http2_stream *s);
/* Text of the heads that came (a client may get interim ones first); the caller consumes it. */
struct buf *http2_stream_heads(struct http2_stream *s);
bool http2_stream_has_head(const struct http2_stream *s); /* the final one came */
bool http2_stream_chunked(const struct http2_stream *s);  /* its text says so; else a length, or none */
struct str http2_stream_content(const struct http2_stream *s); /* that came and was not taken */
void http2_stream_take(struct http2_stream *s, size_t size);   /* opens the window */
enum http2_end {
    HTTP2_OPEN,
    HTTP2_ENDED,   /* the peer said all it has to say; content may still be here */
    HTTP2_RESET,
    HTTP2_REFUSED, /* client: reset, and the peer did nothing with it: may be sent again */
};
enum http2_end http2_stream_end(const struct http2_stream *s);
struct str http2_stream_trailers(const struct http2_stream *s); /* lines; after HTTP2_ENDED */

/* ---- a stream: writing ---- */
/* h needs to be valid only during the call. end: there is no body. NULL: not possible any more. */
struct http2_stream *http2_request(struct http2 *h, const struct http1_head *head, bool end);
void http2_answer(struct http2_stream *s, const struct http1_head *head, bool end); /* or interim */
bool http2_stream_deaf(const struct http2_stream *s);   /* takes nothing any more */
size_t http2_stream_room(const struct http2_stream *s); /* there is news when there is more */
void http2_stream_put(struct http2_stream *s, struct str data); /* not more than there is room for */
void http2_stream_finish(struct http2_stream *s, struct str trailer_lines);
/* All that was put can be sent without the peer opening a window. */
bool http2_stream_flows(const struct http2_stream *s);

/* Of what was put, not yet sent. */
size_t http2_stream_unsent(const struct http2_stream *s);
/* Its owner holds so much memory for it now: counted in the budget. */
void http2_stream_hold(struct http2_stream *s, size_t bytes);

enum http2_drop {
    HTTP2_DROP_DONE, /* what was put is still sent; what the peer has not said is not wanted */
    HTTP2_DROP_CUT,  /* reset, so that the peer knows that it is not whole */
};
void http2_stream_drop(struct http2_stream *s, enum http2_drop how); /* s is not touched any more */
void http2_check(const struct http2 *h); /* asserts the invariants */
