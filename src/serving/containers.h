/* containers.h -- the containers of one pod, and which is which: the one that serves, those beside it, and those
 * that run before them.
 *
 * Receives the pod part of a manifest whose types are right. containers_default() names the unnamed as Knative's
 * webhook does; containers_check() refuses what joins several containers: names, ports, probes where none may
 * be. What holds for one container alone is checked in pod.c. Owns nothing. Pure.
 */
#pragma once

#include "base/limits.h"
#include "codec/json.h"
#include "serving/refusals.h"

enum container_part {
    CONTAINER_SERVES,  /* the one with the port; requests go to it */
    CONTAINER_SIDECAR, /* runs as long as it does; no port of its own */
    CONTAINER_INIT,    /* runs to its end before they start */
};
const char *container_part_name(enum container_part p); /* "container", "sidecar", "init container" */

/* The only one, or the one with ports; the first when that cannot be told. NULL: there is none. */
const json_t *containers_serving(const json_t *pod, size_t *ret_index);
/* Some container of any kind mounts this volume. */
bool containers_mount(const json_t *pod, const char *volume);

void containers_default(json_t *pod);
/* What the cluster gives to containers of any kind that ask for no cpu, memory or ephemeral storage. */
void containers_resources_default(json_t *pod, const struct limits *l);
void containers_check(const json_t *pod, const struct limits *l, struct refusals *refused);

/* Every container in the order in which they start: the init containers, then the rest as written. `at` is its
 * path in a Service. */
void containers_each(const json_t *pod,
                     void (*on_container)(void *ctx, const json_t *container, enum container_part part,
                                          const char *at),
                     void *ctx);
