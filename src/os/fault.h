/* fault.h -- in test builds, makes the n-th fallible operation fail. Compiles to nothing else.
 *
 * A test in the same process arms it with a number and asks whether it fired. A test of the real binary sets
 * HOB_FAULT=role:n in its environment: the process of that role ("client", "launcher", "node", "fetcher") fails
 * its n-th operation (role:WHERE: its first of that name), and says "fault: WHERE" on standard error; only the first process of that role, so that who is started in its
 * place shows what it came to. */
#pragma once

#include "base/base.h"

#ifdef HOB_FAULTS
bool fault_hit(const char *where); /* true: pretend this operation failed, errno is set */
void fault_arm(int nth);           /* 1 = the next one; 0 = disarm */
bool fault_fired(void);
void fault_arm_outside(const char *role);
void fault_disarm_outside(const char *role); /* for children that are started from now on */
#else
static inline bool fault_hit(const char *where)
{
    (void)where;
    return false;
}
static inline void fault_arm_outside(const char *role) { (void)role; }
static inline void fault_disarm_outside(const char *role) { (void)role; }
#endif
