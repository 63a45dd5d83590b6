#include "os/fault.h"

#ifdef HOB_FAULTS
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Atomic int countdown; /* threads race for the last one; one of them gets it */
static _Atomic bool fired;
static const char *_Atomic named; /* the first of this name instead */
static bool tells; /* armed from outside: whoever armed it wants to know where it was */

void fault_arm(int nth)
{
    atomic_store(&countdown, nth);
    atomic_store(&fired, false);
}

bool fault_fired(void) { return atomic_load(&fired); }

/* NULL: the wish is not for this role. */
static const char *wish_for(const char *role)
{
    const char *wish = getenv("HOB_FAULT");
    size_t size = strlen(role);
    bool mine = wish && strncmp(wish, role, size) == 0 && wish[size] == ':';
    return mine ? wish + size + 1 : NULL;
}

void fault_arm_outside(const char *role)
{
    const char *wish = wish_for(role);
    if (!wish)
        return;
    tells = true;
    int nth = (int)strtol(wish, NULL, 10);
    fault_arm(nth);
    if (nth == 0)
        atomic_store(&named, wish);
}

void fault_disarm_outside(const char *role)
{
    if (wish_for(role))
        (void)unsetenv("HOB_FAULT");
}

static bool is_named(const char *where)
{
    const char *name = atomic_load(&named);
    return name && strcmp(name, where) == 0 && atomic_compare_exchange_strong(&named, &name, NULL);
}

bool fault_hit(const char *where)
{
    if (!is_named(where) && (atomic_load(&countdown) <= 0 || atomic_fetch_sub(&countdown, 1) != 1))
        return false;
    atomic_store(&fired, true);
    if (tells)
        fprintf(stderr, "fault: %s\n", where);
    errno = EMFILE;
    return true;
}
#endif
