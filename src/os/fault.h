/* fault.h -- in test builds, makes the n-th fallible operation fail. Compiles to nothing else.
 * Single-threaded tests only: the counter is not shared safely. */
#pragma once

#include "base/base.h"

#ifdef HOB_FAULTS
bool fault_hit(const char *where); /* true: pretend this operation failed, errno is set */
void fault_arm(int nth);           /* 1 = the next one; 0 = disarm */
bool fault_fired(void);
#else
static inline bool fault_hit(const char *where)
{
    (void)where;
    return false;
}
#endif
