/* sysfilter.h -- the system calls that a function, the node or the fetcher may make, as one filter program.
 *
 * A list of what is allowed; everything else answers ENOSYS, as a kernel without that call would.
 * Built once, installed many times. Owns the program.
 *
 * The key: calls that only a stem needs before it becomes the function (mount, unshare, …) are allowed
 * when their sixth argument, which the kernel ignores for them, equals `key`, 64 random bits. So the filter
 * is in place from a stem's birth, its cost is off the start path, and what knows the key is gone with
 * exec. The key guards no privilege: the function has no capability in any namespace either. */
#pragma once

#include "base/err.h"

struct sysfilter;

int sysfilter_open(uint64_t key, struct sysfilter **ret, struct err *e) MUST_USE;
/* For the node and the fetcher: the same list, and no key opens more. */
int sysfilter_role_open(struct sysfilter **ret, struct err *e) MUST_USE;
void sysfilter_free(struct sysfilter *f);
DEFINE_AUTO(sysfilter, struct sysfilter *, sysfilter_free)

int sysfilter_install(const struct sysfilter *f, struct err *e) MUST_USE; /* needs no_new_privs */
size_t sysfilter_size(const struct sysfilter *f);                         /* instructions */
