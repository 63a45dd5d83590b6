#include "gateway/pipe.h"
#include "gateway/mux.h"
#include "net/http1_body.h"
#include "net/http1_write.h"

#include <stdlib.h>

enum {
    CHUNK_EXTRA = HTTP1_CHUNK_LINE_MAX + 2, /* around a chunk's bytes */
    LAST_EXTRA = 8,                         /* around the trailers */
};

enum out_state {
    OUT_HEAD, /* a head comes next */
    OUT_BODY,
    OUT_END, /* all is said */
};

struct pipe {
    struct channel *ch;
    struct mux *mux;
    struct http2_stream *s; /* NULL: not opened yet */
    pipe_news_fn on_news;
    struct http1_head head; /* of what goes out */
    struct http1_body body; /* OUT_BODY */
    enum out_state out;
    bool asks;    /* the other side of `pipe_attach_server()` */
    bool last_in; /* the last chunk is in the channel */
    bool refused;
};

void pipe_hold(struct pipe *p, size_t bytes)
{
    if (p->s)
        http2_stream_hold(p->s, bytes);
}

size_t pipe_unsent(const struct pipe *p) { return p->s ? http2_stream_unsent(p->s) : 0; }

/* Without a stream nobody keeps the connection for us. */
bool pipe_is_foreign(const struct pipe *p) { return p->s && mux_is_foreign(p->mux); }

bool pipe_refused(const struct pipe *p) { return p->refused; }

static enum channel_result broken(struct channel *ch)
{
    ch->broken = ch->hangup = true;
    ch->readable = ch->writable = false;
    return CHANNEL_BROKEN;
}

/* ---- from the stream ---------------------------------------------------------------------- */

static enum channel_result take_head(struct channel *ch, size_t room)
{
    struct buf *text = http2_stream_heads(ch->pipe->s);
    size_t n = MIN(room, text->size);
    buf_append(&ch->in, buf_at(text), n);
    buf_consume(text, n);
    return CHANNEL_MOVED;
}

static enum channel_result take_content(struct channel *ch, size_t room)
{
    struct http2_stream *s = ch->pipe->s;
    struct str data = http2_stream_content(s);
    bool chunked = http2_stream_chunked(s);
    if (chunked && room <= CHUNK_EXTRA)
        return CHANNEL_FULL;
    data.size = MIN(data.size, chunked ? room - CHUNK_EXTRA : room);
    if (chunked)
        http1_write_chunk(&ch->in, data);
    else
        buf_str_append(&ch->in, data);
    ASSERT(!ch->in.overflow);
    http2_stream_take(s, data.size);
    return CHANNEL_MOVED;
}

static enum channel_result take_end(struct channel *ch, size_t room)
{
    struct pipe *p = ch->pipe;
    struct str trailers = http2_stream_trailers(p->s);
    if (!http2_stream_chunked(p->s) || p->last_in) {
        ch->ended = true;
        return CHANNEL_END;
    }
    if (trailers.size + LAST_EXTRA > ch->in.max)
        return broken(ch); /* over http_trailer_bytes_max by far */
    if (trailers.size + LAST_EXTRA > room)
        return CHANNEL_FULL;
    http1_write_last_chunk(&ch->in, trailers);
    p->last_in = true;
    return CHANNEL_MOVED;
}

static enum channel_result pipe_fill(struct channel *ch, size_t hold)
{
    struct pipe *p = ch->pipe;
    size_t most = MIN(hold, ch->in.max);
    if (ch->broken || ch->ended)
        return ch->broken ? CHANNEL_BROKEN : CHANNEL_END;
    if (ch->in.size >= most)
        return CHANNEL_FULL;
    if (!p->s) {
        ch->readable = false;
        return CHANNEL_AGAIN;
    }
    enum http2_end end = http2_stream_end(p->s);
    if (http2_stream_heads(p->s)->size > 0)
        return take_head(ch, most - ch->in.size);
    if (http2_stream_content(p->s).size > 0)
        return take_content(ch, most - ch->in.size);
    if (end == HTTP2_ENDED)
        return take_end(ch, most - ch->in.size);
    if (end != HTTP2_OPEN) { /* after all that came before */
        p->refused = end == HTTP2_REFUSED;
        return broken(ch);
    }
    ch->readable = false;
    return CHANNEL_AGAIN;
}

/* ---- to the stream ------------------------------------------------------------------------ */

/* The text is our own, so it is a head and it is whole. 0: the stream is not to be had. */
static size_t put_head(struct channel *ch, struct str text)
{
    struct pipe *p = ch->pipe;
    http1_head_reset(&p->head);
    ASSERT(http1_head_feed(&p->head, text.at, text.size) == HTTP1_DONE);
    bool end = p->head.framing == HTTP1_BODY_NONE;
    if (p->asks) {
        p->s = http2_request(mux_session(p->mux), &p->head, end);
        if (!p->s) {
            p->refused = true;
            return 0;
        }
        http2_stream_own(p->s, p);
    } else {
        http2_answer(p->s, &p->head, end);
    }
    if (p->head.interim)
        return p->head.size;
    p->out = end ? OUT_END : OUT_BODY;
    if (!end)
        http1_body_init(&p->body, &p->head);
    return p->head.size;
}

/* 0: the stream has no room. */
static size_t put_body(struct channel *ch, struct str text)
{
    struct pipe *p = ch->pipe;
    size_t used, room = http2_stream_room(p->s);
    struct str data;
    if (room == 0)
        return 0;
    enum http1_result r = http1_body_feed(&p->body, text.at, MIN(text.size, room), &used, &data);
    ASSERT(r != HTTP1_BAD);
    http2_stream_put(p->s, data);
    if (r == HTTP1_DONE) {
        http2_stream_finish(p->s, buf_str(&p->body.trailers));
        http1_body_done(&p->body);
        p->out = OUT_END;
    }
    return used;
}

static enum channel_result again(struct channel *ch)
{
    ch->writable = false;
    return CHANNEL_AGAIN;
}

static enum channel_result pipe_flush(struct channel *ch)
{
    struct pipe *p = ch->pipe;
    if (ch->broken)
        return CHANNEL_BROKEN;
    while (channel_pending(ch) > 0) {
        struct str text = { buf_at(&ch->out) + ch->sent, channel_pending(ch) };
        if (p->s && http2_stream_deaf(p->s))
            return CHANNEL_BROKEN; /* what came before may still be read */
        ASSERT(p->out != OUT_END);
        size_t used = p->out == OUT_HEAD ? put_head(ch, text) : put_body(ch, text);
        if (used == 0 && p->refused)
            return broken(ch);
        if (used == 0)
            return again(ch);
        mux_touch(p->mux);
        channel_sent(ch, used);
    }
    /* The end is waited for only where the peer could make us wait for ever. */
    return p->s && p->out == OUT_END && !http2_stream_flows(p->s) ? again(ch) : CHANNEL_MOVED;
}

/* ---- life --------------------------------------------------------------------------------- */

static void pipe_close(struct channel *ch, bool cut)
{
    struct pipe *p = ch->pipe;
    ch->pipe = NULL;
    if (p->s)
        http2_stream_drop(p->s, cut ? HTTP2_DROP_CUT : HTTP2_DROP_DONE);
    mux_touch(p->mux);
    if (p->out == OUT_BODY)
        http1_body_done(&p->body);
    http1_head_done(&p->head);
    free(p);
}

static struct pipe *attach(struct channel *ch, struct mux *m, pipe_news_fn on_news, bool asks)
{
    static const struct channel_ops ops = { pipe_fill, pipe_flush, pipe_close };
    struct pipe *p = xcalloc(1, sizeof *p);
    p->ch = ch;
    p->mux = m;
    p->on_news = on_news;
    p->asks = asks;
    http1_head_init(&p->head, asks ? HTTP1_REQUEST : HTTP1_RESPONSE, mux_head_limits(m));
    channel_attach_ops(ch, &ops);
    ch->pipe = p;
    return p;
}

void pipe_attach_server(struct channel *ch, struct mux *m, struct http2_stream *s,
                        pipe_news_fn on_news)
{
    struct pipe *p = attach(ch, m, on_news, false);
    p->s = s;
    http2_stream_own(s, p);
    ch->readable = true;
}

void pipe_attach_client(struct channel *ch, struct mux *m, pipe_news_fn on_news)
{
    (void)attach(ch, m, on_news, true);
}

void pipe_tell(struct pipe *p)
{
    enum http2_end end = http2_stream_end(p->s);
    p->ch->readable = p->ch->writable = true;
    if (end == HTTP2_RESET || end == HTTP2_REFUSED)
        p->ch->hangup = true;
    p->on_news(p->ch);
}
