#include "os/fault.h"

#ifdef HOB_FAULTS
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Atomic int countdown; /* threads race for the last one; one of them gets it */
static _Atomic bool fired;
static bool tells; /* armed from outside: whoever armed it wants to know where it was */

void fault_arm(int nth)
{
    atomic_store(&countdown, nth);
    atomic_store(&fired, false);
}

bool fault_fired(void) { return atomic_load(&fired); }

void fault_arm_outside(const char *role)
{
    const char *wish = getenv("HOB_FAULT");
    size_t size = strlen(role);
    if (!wish || strncmp(wish, role, size) != 0 || wish[size] != ':')
        return;
    tells = true;
    fault_arm((int)strtol(wish + size + 1, NULL, 10));
}

bool fault_hit(const char *where)
{
    if (atomic_load(&countdown) <= 0 || atomic_fetch_sub(&countdown, 1) != 1)
        return false;
    atomic_store(&fired, true);
    if (tells)
        fprintf(stderr, "fault: %s\n", where);
    errno = EMFILE;
    return true;
}
#endif
