/* fetcher.h -- the fetcher process: curl in a box (docs/decisions/0001).
 *
 * Receives, from the node, URLs and pipes. Owns its connections and nothing else: no file can be
 * written, few can be read (certificates, resolver settings), nothing can be executed.
 * Emits the body into the pipe, what the origin said about it, and how it ended.
 * Refuses addresses and redirects that origin.h refuses, looking at what is really connected to; other
 * protocols than http and https (a redirect from https stays on https), more redirects than fetch_redirects_max, encoded bodies, an answer of HTTP/0.9; never sends a credential or a cookie.
 * What the node wants posted goes to the address it was started with and nowhere else (fetcher_post.h); a callback goes
 * where origins may be (fetcher_call.h).
 * A pipe that is full pauses its connection: what a slow disk does not take, is not read.
 */
#pragma once

#include "artifact/fetcher_post.h"
#include "artifact/origin.h"
#include "base/limits.h"

/* Closes every descriptor but 0, 1, 2 and control_fd and waits; with the first message (unread) loads libcurl,
 * confines this process for good, and serves until the other end of control_fd closes (0). CODE_NOT_FOUND:
 * libcurl is not installed.
 * The process must end soon after: most system calls are denied by then. */
int fetcher_run(int control_fd, const struct limits *limits, const struct origin_policy *origins,
                const struct fetcher_export *export, struct err *e) MUST_USE;
