/* pipe.h -- a channel whose other end is one stream of an HTTP/2 connection.
 *
 * Receives HTTP/1.1 text from the channel and turns it into heads, content and trailers; turns the stream's
 * into HTTP/1.1 text. So a stream is read and written by exactly the code, and refused by exactly the
 * parser, that does it for a connection. Owns its place as the stream's owner. Emits news to whoever
 * attached it, on the loop, never inside a call. Refuses nothing itself.
 *
 * What has no length in HTTP/2 is chunked in between. Back-pressure goes through: what the channel does
 * not take stays in the stream, and its window closed.
 */
#pragma once

#include "gateway/channel.h"
#include "net/http2.h"

struct mux;
struct pipe;

/* The channel is told of readiness through its flags, like of an edge; then on_news comes. */
typedef void (*pipe_news_fn)(struct channel *ch);

/* A client's stream. */
void pipe_attach_server(struct channel *ch, struct mux *m, struct http2_stream *s,
                        pipe_news_fn on_news);
/* A stream to be opened with the first head that is written. */
void pipe_attach_client(struct channel *ch, struct mux *m, pipe_news_fn on_news);
/* After CHANNEL_BROKEN: the peer has not begun with the request, and never will. */
bool pipe_refused(const struct pipe *p);
/* After CHANNEL_BROKEN: the peer does not speak HTTP/2 at all. */
bool pipe_is_foreign(const struct pipe *p);
/* The channel's user holds so much memory for it; what the stream does not need is given back. */
void pipe_hold(struct pipe *p, size_t bytes);
size_t pipe_unsent(const struct pipe *p); /* bytes taken from the channel that wait for a window */
void pipe_tell(struct pipe *p); /* its stream has news; for mux.c */
