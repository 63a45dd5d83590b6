#include "net/http2_guard.h"

enum {
    FRAME = 1000, /* a bucket's unit */
    PREFACE_BYTES = 24,
    RESETS_MS = 30000,
    CONTROLS_MS = 10000,
    LIGHT_MS = 10000,
    FLAG_ACK = 1,
    FLAG_END_STREAM = 1,
    FLAG_END_HEADERS = 4,
    DATA_EARNS_CONTROLS = 1,
    DATA_EARNS_LIGHT = 4,   /* two windows, and frames are not cut as ours were */
    STREAM_EARNS_LIGHT = 4, /* a priority, windows */
};

static const char *const names[HTTP2_LIMIT_COUNT] = {
#define X(name) #name,
    HTTP2_LIMITS(X)
#undef X
};

const char *http2_limit_name(enum http2_limit l)
{
    ASSERT((unsigned)l < HTTP2_LIMIT_COUNT);
    return names[l];
}

/* ---- buckets ------------------------------------------------------------------------------ */

static void bucket_init(struct http2_bucket *b, uint64_t frames, uint64_t period_ms)
{
    *b = (struct http2_bucket){ .left = frames * FRAME, .most = frames * FRAME, .period_ms = period_ms };
}

static bool bucket_take(struct http2_bucket *b, uint64_t now_ms)
{
    uint64_t earned = b->most * MIN(now_ms - MIN(b->since_ms, now_ms), b->period_ms) / b->period_ms;
    if (earned > 0) { /* less than a thousandth of a frame goes on growing */
        b->left = MIN(b->left + earned, b->most);
        b->since_ms = now_ms;
    }
    if (b->left < FRAME)
        return false;
    b->left -= FRAME;
    return true;
}

static void bucket_earn(struct http2_bucket *b, uint64_t frames)
{
    b->left = MIN(b->left + frames * FRAME, b->most);
}

/* ---- frames ------------------------------------------------------------------------------- */

void http2_guard_init(struct http2_guard *g, const struct limits *limits, bool from_client)
{
    *g = (struct http2_guard){ .limits = limits,
                               .reached = HTTP2_LIMIT_NONE,
                               .preface_left = from_client ? PREFACE_BYTES : 0 };
    bucket_init(&g->resets, limits->h2_resets_max, RESETS_MS);
    bucket_init(&g->controls, limits->h2_controls_max, CONTROLS_MS);
    bucket_init(&g->light, limits->h2_light_frames_max, LIGHT_MS);
}

static enum http2_limit pay(struct http2_bucket *b, enum http2_limit l, uint64_t now_ms)
{
    return bucket_take(b, now_ms) ? HTTP2_LIMIT_NONE : l;
}

static void data_earns(struct http2_guard *g)
{
    bucket_earn(&g->controls, DATA_EARNS_CONTROLS);
    bucket_earn(&g->light, DATA_EARNS_LIGHT);
}

static enum http2_limit block_open(struct http2_guard *g, uint8_t flags, uint32_t size)
{
    g->in_block = !(flags & FLAG_END_HEADERS);
    g->continuations = 0;
    g->block_bytes = size;
    bucket_earn(&g->light, STREAM_EARNS_LIGHT);
    return HTTP2_LIMIT_NONE;
}

/* A block of more compressed bytes than its list may have uncompressed is not going to be a list. */
static enum http2_limit block_go_on(struct http2_guard *g, uint8_t flags, uint32_t size)
{
    g->in_block = !(flags & FLAG_END_HEADERS);
    g->block_bytes += size;
    if (++g->continuations > g->limits->h2_continuations_max)
        return HTTP2_LIMIT_h2_continuations_max;
    return g->block_bytes > g->limits->h2_head_list_bytes_max ? HTTP2_LIMIT_h2_head_list_bytes_max
                                                              : HTTP2_LIMIT_NONE;
}

static enum http2_limit frame_judge(struct http2_guard *g, uint8_t type, uint8_t flags,
                                    uint32_t size, uint64_t now_ms)
{
    switch (type) {
    case HTTP2_DATA:
        if (size > 0)
            data_earns(g);
        else if (!(flags & FLAG_END_STREAM))
            return pay(&g->light, HTTP2_LIMIT_h2_light_frames_max, now_ms);
        return HTTP2_LIMIT_NONE;
    case HTTP2_HEADERS: return block_open(g, flags, size);
    case HTTP2_CONTINUATION: return block_go_on(g, flags, size);
    case HTTP2_RST_STREAM: return pay(&g->resets, HTTP2_LIMIT_h2_resets_max, now_ms);
    case HTTP2_SETTINGS:
    case HTTP2_PING:
        return flags & FLAG_ACK ? pay(&g->light, HTTP2_LIMIT_h2_light_frames_max, now_ms)
                                : pay(&g->controls, HTTP2_LIMIT_h2_controls_max, now_ms);
    default: return pay(&g->light, HTTP2_LIMIT_h2_light_frames_max, now_ms);
    }
}

static enum http2_limit frame_begin(struct http2_guard *g, uint64_t now_ms)
{
    const uint8_t *h = g->head;
    g->left = (uint32_t)h[0] << 16 | (uint32_t)h[1] << 8 | h[2];
    g->in_data = h[3] == HTTP2_DATA;
    g->head_size = 0;
    return frame_judge(g, h[3], h[4], g->left, now_ms);
}

size_t http2_guard_feed(struct http2_guard *g, const char *at, size_t size, uint64_t now_ms)
{
    size_t used = 0, begin = 0; /* begin: of the frame's own head, as far as it is in these bytes */
    ASSERT(g->reached == HTTP2_LIMIT_NONE);
    if (!g->begun) {
        g->resets.since_ms = g->controls.since_ms = g->light.since_ms = now_ms;
        g->begun = true;
    }
    while (used < size) {
        uint32_t *skip = g->preface_left > 0 ? &g->preface_left : &g->left;
        size_t step = MIN(*skip, size - used);
        if (step > 0) {
            *skip -= (uint32_t)step;
            used += step;
            continue;
        }
        if (g->head_size == 0)
            begin = used;
        step = MIN(sizeof g->head - g->head_size, size - used);
        memcpy(g->head + g->head_size, at + used, step);
        g->head_size += (uint32_t)step;
        used += step;
        if (g->head_size < sizeof g->head)
            break;
        g->reached = frame_begin(g, now_ms);
        if (g->reached != HTTP2_LIMIT_NONE)
            return begin;
    }
    return used;
}

void http2_guard_sent_data(struct http2_guard *g) { data_earns(g); }

bool http2_guard_reset(struct http2_guard *g, uint64_t now_ms)
{
    enum http2_limit l = pay(&g->resets, HTTP2_LIMIT_h2_resets_max, now_ms);
    if (g->reached == HTTP2_LIMIT_NONE)
        g->reached = l;
    return l == HTTP2_LIMIT_NONE;
}
