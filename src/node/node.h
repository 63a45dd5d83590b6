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
    int ingress_fd, api_fd, local_fd, launcher_fd; /* local: the API's unix socket */
    int temporal_fd; /* -1: nobody listens */
    int ready_fd; /* -1: nobody waits */
    const char *ingress, *api; /* addresses, for URLs and /version */
    const char *temporal; /* "": nobody listens */
    const char *const *namespaces, *const *attributes; /* of Temporal, made unless they are there */
    size_t namespace_count, attribute_count;
    const char *local;         /* path of the unix socket, for messages */
    uint32_t root_uid;         /* who uid 0 is outside of our user namespace */
    bool api_open;             /* the TCP address asks for no token */
    bool temporal_open;        /* Temporal's address asks for none */
    bool request_log;          /* the launcher opens one */
    bool traces;               /* the fetcher knows a collector */
    const char *service_name;  /* in the traces */
};
int node_run(const struct node_config *c, struct err *e) MUST_USE;
