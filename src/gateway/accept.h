/* accept.h -- a request that becomes a durable invocation, or asks about one (docs/decisions/0011). Private to the gateway room, as
 * client.h is.
 *
 *   begin -> COLLECT -> KEPT -> REPLAY -> FINISH     the content is whole; the desk has been asked, or its end is awaited;
 *     |                 ^ |                          the answer is moved out
 *     +--- a look ------+ +--> QUEUED                no such invocation of this function: an ordinary request after all
 *
 * Receives the head, as the exchange took it, and what the desk says. Owns what it read of the request until that is written down,
 * also when the client has left; and the stored answer while it goes out.
 * Emits DESK_ACCEPT, and then what 0011 says a client is told. Refuses with a problem: what prefer.h refuses (400), content over
 * invoke_request_bytes_max (413), more than invoke_bodies_bytes_max of all together (503), what the desk refuses. */
#pragma once

#include "gateway/client.h"
#include "invocation/desk.h"

struct accepted;

/* 0: an ordinary request. 1: c->x.accepted, and its state is set; of a look the way to the function stays open. -1: refused, ret
 * and e say why. */
int accept_begin(struct client *c, struct problem *ret, struct err *e) MUST_USE;
/* Where the head for the function goes: into what is kept. NULL: it is a look. */
struct buf *accept_head(struct client *c);
enum step accept_step(struct client *c); /* COLLECT, KEPT, REPLAY */
uint64_t accept_due_us(const struct client *c);
enum step accept_expire(struct client *c);
void accept_stop(struct client *c);  /* hob stops: whoever waits for what will not begin any more is told so */
void accept_leave(struct client *c); /* it is over, one way or another */
