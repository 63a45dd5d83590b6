/* tls_client.h -- one TLS connection as the client, without I/O: bytes of the wire in and out.
 *
 * Receives what the peer sent and what is to be said to it. Owns the session. Emits what is to be sent, and what
 * the peer said. The peer is not verified: who it is was decided by whoever made the connection (a probe reaches
 * only its own instance). TLS 1.2 and later; no configuration file is read.
 * Refuses what is not TLS, and what would go past the caller's buffers (CODE_UNAVAILABLE, with OpenSSL's reason). It runs
 * where nothing may take long, and the peer may be hostile: DHE, whose numbers the peer picks, is not offered, only
 * elliptic curves of bounded cost (and RSA), and a session is negotiated once.
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"

struct tls_client;

int tls_client_new(struct tls_client **ret, struct err *e) MUST_USE;
void tls_client_free(struct tls_client *t);
DEFINE_AUTO(tls_client, struct tls_client *, tls_client_free)

/* To be said once the handshake is over; it may be said at any time. */
void tls_client_say(struct tls_client *t, struct str text);
/* `in`: what came from the wire since the last turn. Appends what is to be sent to `out`, and what the peer said to
 * `said`. 0: more may come; 1: the peer has ended what it says. */
int tls_client_turn(struct tls_client *t, struct str in, struct buf *out, struct buf *said, struct err *e) MUST_USE;
