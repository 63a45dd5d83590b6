/* jail.h -- what the node and the fetcher give up before they run: the file system, the user, the
 * capabilities, most system calls (docs/decisions/0001).
 *
 * Receives what may stay visible. Owns nothing. Emits a process whose root holds a read-only /usr and
 * little else, with an unprivileged uid and no capabilities.
 * Refuses to go on when any step fails: a half-made jail is none.
 * In a fork of the launcher, single-threaded; followed by exec.
 */
#pragma once

#include "base/err.h"

enum { JAIL_UID_NODE = 268369920, JAIL_UID_FETCHER = 268369921 };

struct jail_spec {
    const char *data_dir; /* becomes /data, writable; NULL: none */
    bool network_files;   /* resolv.conf, hosts, nsswitch, CA certificates: for who connects out */
    bool privileged;      /* real root: changes to `uid`. Else: keeps the only id there is */
    uint32_t uid;
};
int jail_enter(const struct jail_spec *spec, struct err *e) MUST_USE;
