/* serve_listen.h -- the sockets that `hob serve` opens before anything else runs.
 *
 * Receives addresses from the command line. Owns nothing; descriptors are the caller's.
 * Refuses addresses beyond this machine that nobody asked for, and names (only numbers: no lookup here).
 */
#pragma once

#include "base/err.h"
#include "cli/reach.h"

enum { LISTEN_ADDRESS_MAX = 64 };

struct listen_tcp {
    const char *flag, *address; /* "--listen-api", "127.0.0.1:8081" */
    bool insecure;              /* may be beyond this machine */
    const char *danger;         /* what anybody on the network could do, for the refusal */
};
int listen_tcp(const struct listen_tcp *t, int *ret_fd, struct err *e) MUST_USE;
/* Where a socket listens: "127.0.0.1:8081". */
void listen_shown(int fd, char into[LISTEN_ADDRESS_MAX]);
unsigned listen_port(int fd);
bool listen_beyond(int fd); /* others than this machine can reach it */

/* The API's unix socket, named after the port that the caller holds; mode 0600, or 0660 for `group` (name
 * or number; NULL: none). What dead ones left in the same folder is removed. */
int listen_local(unsigned port, const char *group, char ret_path[REACH_PATH_MAX], int *ret_fd, struct err *e) MUST_USE;
