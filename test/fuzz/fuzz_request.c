/* Property: a request that passes has exactly the size of its type, a number in its range, and, if it
 * is to open something, an absolute path that ends. */
#include "sandbox/protocol.h"

#include <signal.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct request q;
    struct err e = { 0 };
    memset(&q, 0xff, sizeof q); /* what did not come must not be looked at as if it had */
    memcpy(&q, data, size < sizeof q ? size : sizeof q);
    if (request_check(&q, size, &e) < 0) {
        ASSERT(e.code == CODE_INVALID && e.text[0]);
        return 0;
    }
    ASSERT(q.type >= REQUEST_HELLO && q.type < REQUEST_TYPES && size == request_size(q.type));
    ASSERT(size <= sizeof q);
    if (q.type == REQUEST_SOCKETS)
        ASSERT(q.number > 0 && q.number <= PROTOCOL_SOCKETS_MAX);
    if (q.type == REQUEST_POOL)
        ASSERT(q.number >= 0 && q.number <= PROTOCOL_POOL_MAX);
    if (q.type == REQUEST_SIGNAL)
        ASSERT(q.number > 0 && q.number < NSIG);
    if (q.type == REQUEST_OPEN)
        ASSERT(size == sizeof q && q.path[0] == '/' && memchr(q.path, 0, sizeof q.path));
    else
        ASSERT(size < sizeof q);
    return 0;
}
