/* http2_frames.h -- HTTP/2 frames and header blocks written by hand, for tests: what a well-behaved
 * library would never send can be said with them. */
#pragma once

#include "net/http2.h"

enum { F_ACK = 1, F_END_STREAM = 1, F_END_HEADERS = 4 };

static inline void frame_open(struct buf *b, size_t size, int type, int flags, uint32_t id)
{
    const uint8_t h[9] = { (uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size,
                           (uint8_t)type,         (uint8_t)flags,       (uint8_t)(id >> 24),
                           (uint8_t)(id >> 16),   (uint8_t)(id >> 8),   (uint8_t)id };
    buf_append(b, h, sizeof h);
}
static inline void frame(struct buf *b, int type, int flags, uint32_t id, struct str payload)
{
    frame_open(b, payload.size, type, flags, id);
    buf_str_append(b, payload);
}
static inline void frame_u32(struct buf *b, int type, int flags, uint32_t id, uint32_t value)
{
    const uint8_t p[4] = { (uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
                           (uint8_t)value };
    frame(b, type, flags, id, (struct str){ (const char *)p, sizeof p });
}
static inline void preface(struct buf *b)
{
    buf_text(b, HTTP2_PREFACE);
    frame(b, HTTP2_SETTINGS, 0, 0, STR(""));
}

/* Literal without indexing; sizes below 127 only. */
static inline void field(struct buf *b, const char *name, const char *value)
{
    char at[2] = { 0, (char)strlen(name) };
    ASSERT(strlen(name) < 127 && strlen(value) < 127);
    buf_append(b, at, 2);
    buf_text(b, name);
    at[0] = (char)strlen(value);
    buf_append(b, at, 1);
    buf_text(b, value);
}
static inline void request_fields(struct buf *b, const char *method, const char *path,
                                  const char *authority)
{
    field(b, ":method", method);
    field(b, ":scheme", "http");
    field(b, ":path", path);
    field(b, ":authority", authority);
}
