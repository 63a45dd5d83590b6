/* stem.h -- the two processes of a shell, from clone to the function's exec.
 *
 * init (pid 1): makes the inside of the sandbox, starts the stem, gives up everything, reaps, and
 * exits with the function's status (128 + signal if one killed it).
 * stem (pid 2): parked in recvmsg; on the order it sets limits, mounts, confines itself and execs.
 *
 * Both are forks of the launcher that never exec before the function does, so nothing of the host
 * needs to be found or loaded. What they can do is bounded before a byte from the node is read: no
 * capability over anything but the shell's own namespaces, and the system call filter is on.
 *
 * A stem reports on the control socket only if it fails (struct stem_word); success is end of file:
 * the exec closes it. */
#pragma once

#include "os/cgroup.h"
#include "os/sysfilter.h"

struct stem_config { /* everything must outlive the call, which does not return */
    const struct sysfilter *filter;
    uint64_t key;
    const struct cgroup_tree *cgroups;
    const char *cgroup_id;
    const struct cgroup *cgroup; /* init enters it, and all it starts are in it */
    struct cgroup_files files;
    int gate_fd;    /* launcher's: a byte "go" comes, "ready" or a struct stem_word goes */
    int control_fd; /* node's */
    bool joined;    /* born in another's network, ipc and uts namespaces, which are as they should be */
    bool full_map;  /* the launcher writes the id maps; else we map one id ourselves */
};

/* In the child of a clone into new user, mount, pid, net, ipc and uts namespaces. */
_Noreturn void stem_init_main(const struct stem_config *c);
