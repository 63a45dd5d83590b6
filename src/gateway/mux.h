/* mux.h -- one HTTP/2 connection, a client's or one to an instance: the socket, the session on it, and
 * whose each stream is.
 *
 * Receives a connected socket, and the bytes that were already read from it. Owns both and itself: it goes
 * when its connection has ended and no stream of it is anybody's. Emits clients, one for each stream
 * that a client opens (client.h), and news to the pipes. Refuses floods from either side, and clients that are
 * slow with a head, that do not read, or that have nothing to say for http_idle_ms: counted, then GOAWAY
 * where that helps. One to a function is closed after h2_function_idle_ms without a request, or
 * when it stays silent for h2_function_ping_ms and then does not answer a PING; the backend is told of that.
 *
 * Everything happens in mux_step(), which the loop calls; pipes only mark it to be run (mux_touch), so
 * that no client is stepped while another is.
 */
#pragma once

#include "gateway/client.h"
#include "net/http2.h"

struct mux;
struct mux *mux_of(struct list_node *n); /* in one of the ingress's lists */

/* read: bytes of the connection that are here already. */
void mux_open_client(struct ingress *in, int take_fd, const char *address, struct str read);
/* instance: its name. NULL: cannot be watched, e has why. */
struct mux *mux_open_function(struct ingress *in, int take_fd, const char *instance, struct err *e);
struct mux *mux_find(struct ingress *in, const char *instance); /* takes requests; NULL: none */
void mux_stop(struct mux *m); /* takes no new streams, and ends when it has none */
/* The instance is not one that speaks HTTP/2: what it sent is not, or it closed before it sent anything. */
bool mux_is_foreign(const struct mux *m);
bool mux_idle(const struct mux *m);
void mux_free(struct mux *m); /* no stream of it is anybody's any more */

/* ---- for pipe.c ---- */
void mux_touch(struct mux *m);
struct http2 *mux_session(struct mux *m);
const struct limits *mux_head_limits(const struct mux *m);
