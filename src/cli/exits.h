/* exits.h -- what the exit status of `hob` means; one table for the code and for the documents. */
#pragma once

#include "base/err.h"

enum exits {
    EXITS_OK = 0,
    EXITS_FAILED = 1,
    EXITS_USAGE = 2,
    EXITS_NOT_FOUND = 3,
    EXITS_DENIED = 4,
    EXITS_CONFLICT = 5,
    EXITS_THROTTLED = 6, /* refused for now; trying again later is right */
    EXITS_AMBIGUOUS = 7, /* timed out or cut: it may have happened */
    EXITS_FUNCTION = 8,  /* hob did its part; the function answered with an error */
    EXITS_INTERRUPTED = 130,
};

struct exits_row {
    enum exits status;
    const char *meaning;
};
extern const struct exits_row exits_rows[];
extern const size_t exits_row_count;

enum exits exits_of_code(enum code code);
/* The API's answer as a code: by HTTP status, refined by a Kubernetes Status reason (may be NULL). */
enum code exits_code_of_http(int status, const char *reason);
/* An invocation's answer. problem: hob itself answered, with this problem type (gateway/problem.h:
 * "queue-full"); NULL: the function did, and a status below 500 is a result like any other. */
enum exits exits_of_invocation(int status, const char *problem);
