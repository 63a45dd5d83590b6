/* grpc_health.h -- the two messages of grpc.health.v1.Health/Check. Receives a service's name, or the bytes of an
 * answer; emits the request's bytes, or the status. Refuses bytes that are no such message. Owns nothing. Pure.
 */
#pragma once

#include "base/buf.h"

#define GRPC_HEALTH_PATH "/grpc.health.v1.Health/Check"

enum { GRPC_HEALTH_SERVICE_MAX = 1024 };

enum grpc_health {
    GRPC_HEALTH_UNKNOWN = 0,
    GRPC_HEALTH_SERVING = 1,
    GRPC_HEALTH_NOT_SERVING = 2,
    GRPC_HEALTH_SERVICE_UNKNOWN = 3,
};
const char *grpc_health_name(uint64_t status); /* "NOT_SERVING"; a number that nobody knows: "UNRECOGNIZED" */

void grpc_health_ask(const char *service, struct buf *into);
bool grpc_health_parse(struct str message, uint64_t *ret_status);
