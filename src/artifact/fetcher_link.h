/* fetcher_link.h -- the node's side of the fetcher: starts and cancels its transfers.
 *
 * Receives a socket to the fetcher process, and a new one whenever that was started again.
 * Owns the socket and the list of running transfers. Emits on_head and on_end as
 * artifact_transport promises. A fetcher that is gone ends its transfers with CODE_UNAVAILABLE, which is
 * worth another try; without one, starting is refused the same way.
 * Refuses more than twice fetch_concurrent_max transfers (ended ones may overlap new ones), and a
 * fetcher that does not keep to the protocol: its socket is closed, so it ends.
 * Threading: loop thread.
 */
#pragma once

#include "artifact/artifact.h"
#include "base/str.h"

struct fetcher_link;

/* open_local is somebody else's part of the transport: the launcher link's. */
typedef int fetcher_open_local(void *ctx, const char *path,
                               void (*on_open)(void *ctx, int take_fd, const struct err *e),
                               void *open_ctx, struct err *e);

int fetcher_link_open(struct loop *l, const struct limits *limits, fetcher_open_local *open_local,
                      void *ctx, struct fetcher_link **ret, struct err *e) MUST_USE;
void fetcher_link_free(struct fetcher_link *k); /* transfers end without a call */
DEFINE_AUTO(fetcher_link, struct fetcher_link *, fetcher_link_free)
struct artifact_transport *fetcher_link_transport(struct fetcher_link *k);

/* take_fd: the node's end of a seqpacket pair. Transfers of the one before end as retryable. A socket
 * that cannot be watched is closed: its fetcher then ends, and another is started. */
void fetcher_link_attach(struct fetcher_link *k, int take_fd);
bool fetcher_link_up(const struct fetcher_link *k);

/* Has the fetcher send `body` to the address that it alone knows (docs/decisions/0008). q's on_head and on_end are
 * called as for a download; its other fields mean nothing. The body is copied. */
int fetcher_link_post(struct fetcher_link *k, struct str body, const struct transfer_request *q, struct err *e) MUST_USE;
/* The same to an address that somebody named (fetcher_call.h): `headers` are lines, each with its end. CODE_INVALID: it is
 * longer than the fetcher is told. */
int fetcher_link_call(struct fetcher_link *k, const char *url, struct str headers, struct str body,
                      const struct transfer_request *q, struct err *e) MUST_USE;
