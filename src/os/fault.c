#include "os/fault.h"

#ifdef HOB_FAULTS
#include <errno.h>

static int countdown;
static bool fired;

void fault_arm(int nth)
{
    countdown = nth;
    fired = false;
}

bool fault_fired(void) { return fired; }

bool fault_hit(const char *where)
{
    (void)where;
    if (countdown == 0 || --countdown > 0)
        return false;
    fired = true;
    errno = EMFILE;
    return true;
}
#endif
