/* netprobe.h -- how Knative's parts ask whether the way to a Service is there, without using it: a request with
 * K-Network-Probe, which is answered by the gateway and never by a function. Pure.
 *
 *     K-Network-Probe: probe            200, with the K-Network-Hash that it came with (it must have one)
 *     K-Network-Probe: queue|activator  200, that word is the content: one queue does the work of both
 *     anything else, and nothing        refused
 *
 * Receives the head of a request to a host that is served. Emits the answer's head up to its framing; no instance is
 * started, waited for or counted for it.
 */
#pragma once

#include "base/buf.h"
#include "net/http1.h"

/* *ret: the content of the answer, "" for none. 0: it is no such request. */
int netprobe_read(const struct http1_head *h, const char **ret, struct err *e) MUST_USE;
/* Of a head for which netprobe_read() was positive. */
void netprobe_write(struct buf *b, const struct http1_head *h, const char *content);
