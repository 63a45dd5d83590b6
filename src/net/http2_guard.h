/* http2_guard.h -- counts what an HTTP/2 peer sends, and says when it is too much.
 *
 * Receives the bytes of one direction of a connection before the session parses them, and the time.
 * Looks at nothing but the nine bytes in front of each frame. Owns a few counters. Emits the limit that was
 * reached, and how many bytes came before the frame that reached it. Pure; refuses nothing
 * itself, and does not mind bytes that are no frames: the session refuses those.
 *
 * Every frame costs its sender nothing and us something, so what carries no data has a budget: resets (rapid
 * reset), SETTINGS and PING (each wants an answer), CONTINUATION, and the rest that is empty. Data
 * that flows, either way, earns room for the frames that belong to it: an acknowledgement of a window, a
 * PING that measures bandwidth. A budget is a bucket: full at first, refilled evenly over its period.
 */
#pragma once

#include "base/limits.h"

/* docs: counted in hob_limit_reached_total under these names */
// clang-format off
#define HTTP2_LIMITS(X)                                                                          \
    X(h2_continuations_max) X(h2_resets_max) X(h2_controls_max) X(h2_light_frames_max)            \
    X(h2_head_list_bytes_max)
// clang-format on
enum http2_limit {
#define X(name) HTTP2_LIMIT_##name,
    HTTP2_LIMITS(X)
#undef X
        HTTP2_LIMIT_COUNT,
    HTTP2_LIMIT_NONE = HTTP2_LIMIT_COUNT,
};
const char *http2_limit_name(enum http2_limit l); /* "h2_resets_max" */

enum http2_frame { /* RFC 9113, 6 */
    HTTP2_DATA,
    HTTP2_HEADERS,
    HTTP2_PRIORITY,
    HTTP2_RST_STREAM,
    HTTP2_SETTINGS,
    HTTP2_PUSH_PROMISE,
    HTTP2_PING,
    HTTP2_GOAWAY,
    HTTP2_WINDOW_UPDATE,
    HTTP2_CONTINUATION,
};

struct http2_bucket { /* in thousandths of a frame */
    uint64_t left, most, period_ms, since_ms;
};

struct http2_guard {
    const struct limits *limits;
    enum http2_limit reached; /* _NONE: none yet */
    struct http2_bucket resets, controls, light;
    uint8_t head[9];
    uint32_t head_size;    /* bytes of `head` here */
    uint32_t left;         /* of the frame's payload */
    uint32_t preface_left; /* of the client's greeting */
    uint64_t block_bytes;  /* of the header block so far, compressed */
    uint32_t continuations;
    bool in_block; /* between HEADERS and END_HEADERS */
    bool in_data;  /* the payload in `left` is DATA's */
    bool begun;
};

/* from_client: the bytes begin with the client's greeting (24 bytes). */
void http2_guard_init(struct http2_guard *g, const struct limits *limits, bool from_client);
/* How many of the bytes may be parsed: all, unless g->reached says why not. */
size_t http2_guard_feed(struct http2_guard *g, const char *at, size_t size, uint64_t now_ms);
/* We sent a frame with data: it may be answered. */
void http2_guard_sent_data(struct http2_guard *g);
/* We had to reset a stream for what the peer did: the peer's budget pays. False: it is used up. */
bool http2_guard_reset(struct http2_guard *g, uint64_t now_ms);
/* In the middle of something that is not data: a peer may not take its time with that. */
static inline bool http2_guard_waiting(const struct http2_guard *g)
{
    return g->preface_left > 0 || g->in_block || g->head_size > 0 || (g->left > 0 && !g->in_data);
}
