/* protocol.h -- what node and launcher say to each other, as fixed structures.
 *
 * One SOCK_SEQPACKET pair; a packet is one structure and the descriptors listed beside it. The
 * launcher does not trust the node: request_check() refuses every packet whose size, type, range or
 * text is not exactly as written here, and a node that sends one is ended. A sandbox is named by a
 * number that is never used twice, so a late word about one that has ended is simply ignored.
 */
#pragma once

#include "base/err.h"

enum {
    PROTOCOL_VERSION = 2,
    PROTOCOL_PATH_MAX = 4096,
    PROTOCOL_SOCKETS_MAX = 64, /* in one packet */
    PROTOCOL_SHELL_SOCKETS = 4, /* that come with a new shell */
    PROTOCOL_PACKET_MAX = 8192,
    PROTOCOL_POOL_MAX = 1024,   /* as large as the largest sandbox_pool_max */
    PROTOCOL_VOLUMES_MAX = 16,  /* of one pod */
    PROTOCOL_NAME_MAX = 64,     /* a host name and its NUL */
    PROTOCOL_JOINED_MAX = 32,   /* shells of one pod at once, those that end still included */
};

/* ---- node to launcher ---- */

enum request_type {
    REQUEST_HELLO = 1, /* first, once; number = PROTOCOL_VERSION */
    REQUEST_WANT,      /* a shell, now: somebody waits for it */
    REQUEST_TOOK,      /* shell id was used; refill when starts are quiet */
    REQUEST_SOCKETS,   /* number more sockets in sandbox id */
    REQUEST_SIGNAL,    /* number to the function of sandbox id */
    REQUEST_KILL,      /* all of sandbox id */
    REQUEST_OPEN,      /* path, beneath the file roots; id names the request */
    REQUEST_SERVING,   /* everything is open: from now on an end is no failed start */
    REQUEST_POOL,      /* keep number shells ready from now on; none that is too many is ended */
    REQUEST_VOLUMES,   /* number of them, of volume_bytes, for the pod of shell id; once */
    REQUEST_JOIN,      /* a shell that joins the pod of shell id, whose host name is to be name */
    REQUEST_TYPES,
};
struct request {
    uint32_t type;
    int32_t number;
    uint64_t id;
    union { /* sent only with the requests that say so */
        char path[PROTOCOL_PATH_MAX]; /* REQUEST_OPEN: NUL-terminated, absolute */
        char name[PROTOCOL_NAME_MAX]; /* REQUEST_JOIN: NUL-terminated, a DNS label */
        uint64_t volume_bytes[PROTOCOL_VOLUMES_MAX]; /* REQUEST_VOLUMES; 0 beyond number */
    };
};
size_t request_size(uint32_t type); /* of the packet; 0: no such type */
int request_check(const struct request *q, size_t size, struct err *e) MUST_USE;

/* ---- launcher to node ---- */

enum notice_type {
    NOTICE_WELCOME = 1, /* facts */
    NOTICE_SHELL,       /* id, shell; descriptors: control, [cpu usage, memory usage], volumes, then sockets */
    NOTICE_REFUSED,     /* a wanted shell could not be made: error; id: the pod that it was to join, or 0 */
    NOTICE_SOCKETS,     /* id; descriptors: sockets; none: error says why */
    NOTICE_ENDED,       /* id; exit: nothing of it is left on the host */
    NOTICE_OPENED,      /* id; one descriptor, or error */
    NOTICE_FETCHER,     /* a fetcher was (re)started; one descriptor, its socket */
    NOTICE_REQUEST_LOG, /* the request log was opened (anew); one descriptor */
    NOTICE_DRAIN,       /* finish, then exit with 0 */
    NOTICE_VOLUMES,     /* id; descriptors: one mount each; none: error says why */
    NOTICE_TYPES,
};
struct notice_facts { /* which limits of a sandbox this host really enforces */
    bool memory, cpu, pids, own_uids, landlock;
};
struct notice_exit {
    int32_t status;
    bool oom_killed;
    uint64_t cpu_us, memory_peak_bytes;
};
struct notice {
    uint32_t type;
    uint32_t usage_fds; /* NOTICE_SHELL: 0, or 2: they come before the sockets */
    uint64_t id;
    union {
        struct notice_facts facts;
        struct notice_exit exit;
        struct {
            uint64_t beside; /* the shell whose pod it joined; 0: none */
            uint32_t volumes;
        } shell;
        struct {
            uint32_t code;
            int32_t sys_errno;
            char text[512];
        } error; /* code 0: none */
    };
};

void notice_error_set(struct notice *n, const struct err *e);

/* ---- node to stem: see order.h; stem to node, before exec: ---- */

enum stem_word_type {
    STEM_FAILED = 1, /* error; it ends now */
    STEM_STAMPS,     /* asked for by ORDER_STAMPS: when each step was done; exec is next */
};
enum stem_step {
    STEM_RECEIVED,
    STEM_LIMITED,
    STEM_MOUNTED,
    STEM_CONFINED,
    STEM_STEPS,
};
struct stem_word {
    uint32_t type;
    uint32_t code;
    int32_t sys_errno;
    uint64_t at_ns[STEM_STEPS]; /* CLOCK_MONOTONIC */
    char text[512];
};
