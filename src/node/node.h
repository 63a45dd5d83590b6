/* node.h -- the unprivileged process that faces the network and owns all state: it puts the rooms
 * together and runs the loop.
 *
 * Receives listening sockets, the launcher's link and the settings. Owns every room's object.
 * Emits one line on ready_fd when it serves. Refuses to start on a store it cannot read.
 * On NOTICE_DRAIN: no new connections, what runs may end, then the sandboxes, then it returns 0.
 */
#pragma once

#include "base/limits.h"

struct node_config {
    const struct limits *limits;
    const char *data_dir; /* as this process sees it */
    const char *shown_dir; /* as the user gave it, for messages */
    int ingress_fd, api_fd, launcher_fd;
    int ready_fd; /* -1: nobody waits */
    const char *ingress, *api; /* addresses, for URLs and /version */
};
int node_run(const struct node_config *c, struct err *e) MUST_USE;
