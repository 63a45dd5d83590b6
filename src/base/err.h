/* err.h -- one failure: a code for programs, a sentence for people. Never allocates.
 *
 * Convention: `int f(..., struct err *e)` returns 0 (or a positive meaning its header states) and
 * leaves e alone, or returns -code and has filled e. Subject first, cause last, lower case, no
 * full stop. Whoever handles an error reports it; whoever returns it does not. */
#pragma once

#include "base/base.h"

/* The gRPC canonical codes (google.rpc.Code), so that the wire mapping is the identity. */
enum code {
    CODE_OK = 0,
    CODE_CANCELLED = 1,
    CODE_UNKNOWN = 2,
    CODE_INVALID = 3,
    CODE_DEADLINE = 4,
    CODE_NOT_FOUND = 5,
    CODE_EXISTS = 6,
    CODE_DENIED = 7,
    CODE_EXHAUSTED = 8,
    CODE_PRECONDITION = 9,
    CODE_ABORTED = 10,
    CODE_OUT_OF_RANGE = 11,
    CODE_UNIMPLEMENTED = 12,
    CODE_INTERNAL = 13,
    CODE_UNAVAILABLE = 14,
    CODE_DATA_LOSS = 15,
    CODE_UNAUTHENTICATED = 16,
};

struct err {
    enum code code;
    int sys_errno; /* 0 when no system call was involved */
    char text[512];
};

/* All three return the negative code, so a failing function ends in one line. */
int err_set(struct err *e, enum code code, const char *fmt, ...) PRINTF_LIKE(3, 4);
int err_sys(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);  /* reads errno first */
int err_wrap(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3); /* "context: old text" */

const char *code_name(enum code code); /* "NOT_FOUND"; never NULL */
int code_http_status(enum code code);  /* as google.rpc.Code documents the mapping */
