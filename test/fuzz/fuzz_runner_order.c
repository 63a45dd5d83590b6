/* Property: what a runner accepts, a node could have written: written again it is the same bytes. */
#include "sandbox/runner.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct runner_order o;
    struct err e;
    struct buf b;
    char **argv;
    if (size > 2 * RUNNER_ORDER_MAX)
        return 0;
    char *bytes = malloc(size + 1); /* aligned, and exact for the sanitizer */
    if (!bytes)
        return 0;
    memcpy(bytes, data, size);
    if (runner_order_parse(bytes, size, &o, &argv, &e) == 0) {
        buf_init(&b, RUNNER_ORDER_MAX);
        ASSERT(runner_order_write(o.id, (const char *const *)argv, o.timeout_us, &b, &e) == 0);
        ASSERT(b.size == size && memcmp(buf_at(&b), data, size) == 0);
        buf_done(&b);
        free(argv);
    }
    free(bytes);
    return 0;
}
