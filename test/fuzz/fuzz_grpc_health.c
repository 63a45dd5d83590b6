/* Property: what is read depends on nothing outside the message, and what comes after a whole message and is cut is
 * refused, never read beyond. */
#include "instance/grpc_health.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t status = 7, again = 9;
    char *exact = malloc(size + 1); /* so that the sanitizer sees its end */
    if (!exact)
        return 0;
    memcpy(exact, data, size);
    bool ok = grpc_health_parse((struct str){ exact, size }, &status);
    ASSERT(ok || status == 7);
    exact[size] = '\x08'; /* the tag of a status, without one */
    ASSERT(!ok || !grpc_health_parse((struct str){ exact, size + 1 }, &again));
    free(exact);
    return 0;
}
