#include "sandbox/protocol.h"

#include <signal.h>
#include <string.h>

size_t request_size(uint32_t type)
{
    if (type == 0 || type >= REQUEST_TYPES)
        return 0;
    return type == REQUEST_OPEN ? sizeof(struct request) : offsetof(struct request, path);
}

int request_check(const struct request *q, size_t size, struct err *e)
{
    if (size < offsetof(struct request, path) || size != request_size(q->type))
        return err_set(e, CODE_INVALID, "request: %zu bytes are none", size);
    bool in_range = true;
    switch ((enum request_type)q->type) {
    case REQUEST_HELLO: in_range = q->number == PROTOCOL_VERSION && q->id == 0; break;
    case REQUEST_WANT:
    case REQUEST_SERVING: in_range = q->number == 0 && q->id == 0; break;
    case REQUEST_TOOK:
    case REQUEST_KILL: in_range = q->number == 0; break;
    case REQUEST_POOL: in_range = q->number >= 0 && q->number <= PROTOCOL_POOL_MAX && q->id == 0; break;
    case REQUEST_SOCKETS: in_range = q->number > 0 && q->number <= PROTOCOL_SOCKETS_MAX; break;
    case REQUEST_SIGNAL: in_range = q->number > 0 && q->number < NSIG; break;
    case REQUEST_OPEN:
        in_range = q->number == 0 && q->path[0] == '/' && memchr(q->path, '\0', sizeof q->path);
        break;
    case REQUEST_TYPES: break;
    }
    if (!in_range)
        return err_set(e, CODE_INVALID, "request of type %u: out of range", q->type);
    return 0;
}
