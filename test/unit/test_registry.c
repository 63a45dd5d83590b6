#include "serving/registry_kinds.h"
#include "tap.h"
TEST(tables_are_sorted)
{
    for (size_t k = 0; k < REGISTRY_KINDS; k++)
        for (size_t i = 1; i < registry_kind_rows[k].table.count; i++)
            if (strcmp(registry_kind_rows[k].table.rows[i - 1].path, registry_kind_rows[k].table.rows[i].path) >= 0)
                FAIL("%s: %s", registry_kind_rows[k].kind, registry_kind_rows[k].table.rows[i].path);
}
TEST_MAIN()
