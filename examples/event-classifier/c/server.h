/* server.h -- serves one model over HTTP/1.1 on a port until SIGTERM, then drains.
 *
 * One thread and one epoll: the work is arithmetic. Owns its sockets and connections. Every
 * connection moves as far as it can without waiting; one that does not take its answer is not read.
 */
#pragma once

#include "model.h"

#include <stdint.h>

enum {
    SERVER_CONNECTIONS_MAX = 256,
    SERVER_IDLE_MS = 90000,        /* longer than any gateway keeps an idle connection */
    SERVER_DRAIN_MS = 10000,       /* for requests that have begun to arrive when SIGTERM comes */
    SERVER_DRAIN_SILENT_MS = 1000, /* for connections that have not said anything yet */
};

/* 0 when drained; -1, with *ret_why, when it could not start. SIGTERM and SIGINT must be blocked. */
int server_run(const struct model *m, uint16_t port, const char **ret_why);
