#include "cli/exits.h"

#include <string.h>

const struct exits_row exits_rows[] = {
    { EXITS_OK, "done" },
    { EXITS_FAILED, "failed" },
    { EXITS_USAGE, "the command line is wrong; nothing was done" },
    { EXITS_NOT_FOUND, "what was named does not exist" },
    { EXITS_DENIED, "not allowed" },
    { EXITS_CONFLICT, "exists already, or was changed meanwhile" },
    { EXITS_THROTTLED, "throttled or overloaded; try again later" },
    { EXITS_AMBIGUOUS,
      "timed out or cut off: it may have happened; the message says how to find out" },
    { EXITS_FUNCTION, "the function answered with an error" },
    { EXITS_INTERRUPTED, "interrupted (dies of SIGINT, which a shell shows as 130)" },
};
const size_t exits_row_count = COUNT_OF(exits_rows);

enum exits exits_of_code(enum code code)
{
    switch (code) {
    case CODE_OK: return EXITS_OK;
    case CODE_NOT_FOUND: return EXITS_NOT_FOUND;
    case CODE_UNAUTHENTICATED:
    case CODE_DENIED: return EXITS_DENIED;
    case CODE_EXISTS:
    case CODE_ABORTED: return EXITS_CONFLICT;
    case CODE_EXHAUSTED: return EXITS_THROTTLED;
    case CODE_DEADLINE: return EXITS_AMBIGUOUS;
    case CODE_CANCELLED: return EXITS_INTERRUPTED;
    case CODE_UNKNOWN:
    case CODE_INVALID:
    case CODE_PRECONDITION:
    case CODE_OUT_OF_RANGE:
    case CODE_UNIMPLEMENTED:
    case CODE_INTERNAL:
    case CODE_UNAVAILABLE:
    case CODE_DATA_LOSS: return EXITS_FAILED;
    }
    return EXITS_FAILED;
}

enum code exits_code_of_http(int status, const char *reason)
{
    if (reason && strcmp(reason, "AlreadyExists") == 0)
        return CODE_EXISTS;
    switch (status) {
    case 400:
    case 413:
    case 415:
    case 422: return CODE_INVALID;
    case 401: return CODE_UNAUTHENTICATED;
    case 403: return CODE_DENIED;
    case 404:
    case 410: return CODE_NOT_FOUND;
    case 409:
    case 412: return CODE_ABORTED;
    case 408:
    case 504: return CODE_DEADLINE;
    case 429:
    case 503: return CODE_EXHAUSTED;
    case 501: return CODE_UNIMPLEMENTED;
    default: return status < 400 ? CODE_OK : CODE_INTERNAL;
    }
}

enum exits exits_of_invocation(int status, const char *problem)
{
    if (!problem)
        return status >= 500 ? EXITS_FUNCTION : EXITS_OK;
    if (status == 502) /* the instance died with the request in hand */
        return EXITS_AMBIGUOUS;
    return status < 400 ? EXITS_OK : exits_of_code(exits_code_of_http(status, NULL));
}
