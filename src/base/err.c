#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

PRINTF_LIKE(4, 0)
static int err_fill(struct err *e, enum code code, int sys, const char *fmt, va_list ap)
{
    ASSERT(code != CODE_OK);
    e->code = code;
    e->sys_errno = sys;
    int used = vsnprintf(e->text, sizeof e->text, fmt, ap);
    if (sys && used >= 0 && (size_t)used < sizeof e->text)
        snprintf(e->text + used, sizeof e->text - (size_t)used, ": %s", strerror(sys));
    return -(int)code;
}

int err_set(struct err *e, enum code code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int r = err_fill(e, code, 0, fmt, ap);
    va_end(ap);
    return r;
}

static enum code code_of_errno(int sys)
{
    switch (sys) {
    case ENOENT:
    case ENOTDIR:
    case ESRCH: return CODE_NOT_FOUND;
    case EEXIST: return CODE_EXISTS;
    case EACCES:
    case EPERM:
    case EROFS: return CODE_DENIED;
    case EMFILE:
    case ENFILE:
    case ENOSPC:
    case EDQUOT:
    case EAGAIN:
    case ENOMEM: return CODE_EXHAUSTED;
    case ECONNREFUSED:
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
    case EHOSTUNREACH:
    case ENETUNREACH: return CODE_UNAVAILABLE;
    case ETIMEDOUT: return CODE_DEADLINE;
    case EADDRINUSE: return CODE_PRECONDITION;
    case EBADMSG:
    case EIO: return CODE_DATA_LOSS;
    case ENOSYS:
    case EOPNOTSUPP: return CODE_UNIMPLEMENTED;
    case ENAMETOOLONG:
    case EINVAL: return CODE_INVALID;
    default: return CODE_INTERNAL;
    }
}

int err_sys(struct err *e, const char *fmt, ...)
{
    int sys = errno;
    va_list ap;
    va_start(ap, fmt);
    int r = err_fill(e, code_of_errno(sys), sys, fmt, ap);
    va_end(ap);
    return r;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
    char old[sizeof e->text];
    memcpy(old, e->text, sizeof old);
    ASSERT(e->code != CODE_OK);
    va_list ap;
    va_start(ap, fmt);
    int used = vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    if (used >= 0 && (size_t)used < sizeof e->text)
        snprintf(e->text + used, sizeof e->text - (size_t)used, ": %.*s",
                 (int)(sizeof e->text - (size_t)used - 3), old);
    return -(int)e->code;
}

static const struct {
    const char *name;
    int http;
} codes[] = {
    [CODE_OK] = { "OK", 200 },
    [CODE_CANCELLED] = { "CANCELLED", 499 },
    [CODE_UNKNOWN] = { "UNKNOWN", 500 },
    [CODE_INVALID] = { "INVALID_ARGUMENT", 400 },
    [CODE_DEADLINE] = { "DEADLINE_EXCEEDED", 504 },
    [CODE_NOT_FOUND] = { "NOT_FOUND", 404 },
    [CODE_EXISTS] = { "ALREADY_EXISTS", 409 },
    [CODE_DENIED] = { "PERMISSION_DENIED", 403 },
    [CODE_EXHAUSTED] = { "RESOURCE_EXHAUSTED", 429 },
    [CODE_PRECONDITION] = { "FAILED_PRECONDITION", 400 },
    [CODE_ABORTED] = { "ABORTED", 409 },
    [CODE_OUT_OF_RANGE] = { "OUT_OF_RANGE", 400 },
    [CODE_UNIMPLEMENTED] = { "UNIMPLEMENTED", 501 },
    [CODE_INTERNAL] = { "INTERNAL", 500 },
    [CODE_UNAVAILABLE] = { "UNAVAILABLE", 503 },
    [CODE_DATA_LOSS] = { "DATA_LOSS", 500 },
    [CODE_UNAUTHENTICATED] = { "UNAUTHENTICATED", 401 },
};

const char *code_name(enum code code)
{
    return code < COUNT_OF(codes) && codes[code].name ? codes[code].name : "UNKNOWN";
}

int code_http_status(enum code code)
{
    return code < COUNT_OF(codes) && codes[code].http ? codes[code].http : 500;
}
