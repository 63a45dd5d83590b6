/* order.h -- a sandbox_spec as one flat message, from the node to a stem.
 *
 * The node writes it with order_write(), which refuses what no stem would accept. The stem reads it
 * with order_parse() and trusts nothing in it. Both sides run the same checks: order_write() parses
 * what it wrote.
 * Layout: struct order_head, a struct order_file for each file in the sequence of their folders, then NUL-terminated
 * texts in the sequence of struct order; behind a file's path its bytes, and a NUL. Sans-I/O.
 */
#pragma once

#include "base/buf.h"
#include "base/limits.h"
#include "sandbox/sandbox.h"

enum {
    ORDER_MOUNTS_MAX = 64,        /* = the largest sandbox_mounts_max */
    ORDER_INLINE_MAX = 16 * 1024, /* a longer one is a memory file; every stem has this room */
    ORDER_BYTES_MAX = 4 * 1024 * 1024,
    ORDER_FILES_MAX = 4096,       /* = the largest config_files_max */
    ORDER_SCRATCH_MIN = 65536, /* what /tmp and the unsized scratches keep at least */
    ORDER_STAMPS = 1,          /* flag: send a STEM_STAMPS word before exec */
    ORDER_VOLUMES_MAX = 16,    /* of a pod; their mounts come with the order, if one of them is used */
    ORDER_RUNNER = 2,          /* flag: leave a runner behind (runner.h); its socket comes with the order */
};

struct order_head {
    uint32_t magic, size; /* of all */
    uint32_t flags, argc, envc, mount_count, scratch_count, file_count;
    uint32_t uid, gid, cpu_milli, pids_max, fds_max, folder_count;
    uint64_t memory_bytes, ephemeral_bytes;
    uint64_t scratch_bytes[ORDER_MOUNTS_MAX]; /* or ORDER_VOLUME or ORDER_SAME and its number */
};
#define ORDER_VOLUME    (UINT64_C(1) << 63)
#define ORDER_SAME      (UINT64_C(1) << 62)
#define ORDER_READ_ONLY (UINT64_C(1) << 61) /* beside any of them */
struct order_file {
    uint32_t folder, mode, size, alone;
};

/* Descriptors that come with it: the writing ends of stdout/stderr and of the phases; with ORDER_RUNNER its
 * socket; then the volumes of its pod, from the first to the last that it uses; and last, if the message itself is only `struct order_elsewhere`, a memory file with the order. */
enum { ORDER_FD_OUT, ORDER_FD_PHASES, ORDER_FD_RUNNER };
struct order_elsewhere {
    uint32_t magic, size;
};
#define ORDER_ELSEWHERE_MAGIC 0x65727765u

struct order { /* points into the parsed bytes; what a stem is to do */
    const struct order_head *head;
    char *id, *workdir;
    char **argv, **env; /* NULL-terminated; owned */
    struct sandbox_mount mounts[ORDER_MOUNTS_MAX];
    struct sandbox_scratch scratches[ORDER_MOUNTS_MAX];
    struct sandbox_folder folders[ORDER_MOUNTS_MAX];
    struct sandbox_file *files; /* of all folders; owned */
    uint64_t file_bytes;   /* of all of them */
    uint32_t volume_count; /* descriptors of volumes that come with it */
    uint64_t shared_bytes; /* what /tmp and the scratches without a size of their own share */
};

/* `into` must be empty; its max should be ORDER_BYTES_MAX. */
int order_write(const struct sandbox_spec *spec, const struct limits *l, uint32_t flags,
               struct buf *into, struct err *e) MUST_USE;
/* `bytes` must be aligned for uint64_t, and outlive the order. */
int order_parse(char *bytes, size_t size, struct order *ret, struct err *e) MUST_USE;
void order_done(struct order *p);
