/* landlock.h -- Landlock rule sets: what parts of the file tree a process may still touch.
 *
 * Owns the rule set until landlock_restrict(). Handles every right the running kernel knows; rights
 * it does not know are not handled (doctor reports the version). Refuses nothing: the kernel does. */
#pragma once

#include "base/err.h"

enum landlock_grant {
    LANDLOCK_GRANT_READ,   /* read and execute */
    LANDLOCK_GRANT_DEVICE, /* read, write and ioctl what is there; make nothing */
    LANDLOCK_GRANT_ALL,    /* everything but device nodes */
};

int landlock_version(void); /* 0: this kernel has none */
/* The rule set's descriptor, or -CODE_UNIMPLEMENTED where the kernel has no Landlock. */
int landlock_open(struct err *e) MUST_USE;
int landlock_grant(int ruleset_fd, const char *path, enum landlock_grant grant, struct err *e) MUST_USE;
int landlock_restrict(int ruleset_fd, struct err *e) MUST_USE; /* needs no_new_privs */
