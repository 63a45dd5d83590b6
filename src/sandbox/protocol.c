#include "sandbox/protocol.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

size_t request_size(uint32_t type)
{
    if (type == 0 || type >= REQUEST_TYPES)
        return 0;
    const size_t head = offsetof(struct request, path);
    switch (type) {
    case REQUEST_OPEN: return sizeof(struct request);
    case REQUEST_VOLUMES: return head + sizeof(uint64_t[PROTOCOL_VOLUMES_MAX]);
    case REQUEST_JOIN: return head + PROTOCOL_NAME_MAX;
    default: return head;
    }
}

static bool is_name(const char *name)
{
    size_t n = memchr(name, '\0', PROTOCOL_NAME_MAX) ? strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") : 0;
    return n > 0 && name[n] == '\0' && name[0] != '-' && name[n - 1] != '-';
}

static bool are_volumes(const struct request *q)
{
    bool fit = q->number > 0 && q->number <= PROTOCOL_VOLUMES_MAX;
    for (int32_t i = 0; fit && i < PROTOCOL_VOLUMES_MAX; i++)
        fit = i < q->number ? q->volume_bytes[i] > 0 && q->volume_bytes[i] <= (uint64_t)INT64_MAX
                            : q->volume_bytes[i] == 0;
    return fit;
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
    case REQUEST_VOLUMES: in_range = are_volumes(q); break;
    case REQUEST_JOIN: in_range = q->number == 0 && is_name(q->name); break;
    case REQUEST_TYPES: break;
    }
    if (!in_range)
        return err_set(e, CODE_INVALID, "request of type %u: out of range", q->type);
    return 0;
}

void notice_error_set(struct notice *n, const struct err *e)
{
    n->error.code = e->code;
    n->error.sys_errno = e->sys_errno;
    snprintf(n->error.text, sizeof n->error.text, "%s", e->text);
}
