/* Whatever is accepted as a record is written as a tree that is accepted again, and is the same. */
#include "telemetry/record_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    struct invocation_record first, second;
    struct err e;
    AUTO_JSON json_t *j = json_loadb((const char *)in, size, 0, NULL);
    if (!j || record_from_json(j, &first, &e) < 0)
        return 0;
    AUTO_JSON json_t *once = record_to_json(&first);
    ASSERT(record_from_json(once, &second, &e) == 0);
    AUTO_JSON json_t *twice = record_to_json(&second);
    ASSERT(json_equal(once, twice));
    return 0;
}
