/* runner.h -- runs commands inside a sandbox, beside the function, for exec probes.
 *
 * The runner is a fork of the stem in the moment before its exec, so it is confined exactly as the function is:
 * same namespaces, control group, user, Landlock rules and system call filter, no capability. It gains nothing,
 * and the launcher has no part in it. It is a child of init, not of the function, and in a session of its own;
 * what the function does to it (it may end it) fails the function's own probes.
 *
 * Receives orders on a packet socket from the node, and runs each in a process of its own, several at a time: in
 * the function's environment and working directory, no input, output cut at RUNNER_OUTPUT_MAX. Emits one word per
 * order. Owns every process that a command leaves: when the command ends or its time is over, all of them are
 * killed before the word is sent. End of file on the socket ends it and all it runs.
 * Refuses what runner_order_parse() refuses, by ending.
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"

enum {
    RUNNER_ORDER_MAX = 32 * 1024, /* as large as the largest probe_command_bytes_max */
    RUNNER_OUTPUT_MAX = 1024,     /* as much as an event of Kubernetes says */
    RUNNER_PIDS = 8,              /* it, and two for each of three probes; beside what the function may have */
};

struct runner_order { /* then argc NUL-terminated texts */
    uint32_t magic, size /* of all */, id, argc;
    uint64_t timeout_us;
};
struct runner_word {
    uint32_t id;
    uint32_t late;   /* its time was over, it was killed */
    int32_t status;  /* exit code, or 128 + signal */
    uint32_t output_size;
    char output[RUNNER_OUTPUT_MAX]; /* stdout and stderr */
};

/* `into` must be empty. */
int runner_order_write(uint32_t id, const char *const *argv, uint64_t timeout_us, struct buf *into,
                       struct err *e) MUST_USE;
/* `bytes`: aligned, outlives *ret_argv (NULL-terminated; the caller frees the array). */
int runner_order_parse(char *bytes, size_t size, struct runner_order *ret, char ***ret_argv,
                       struct err *e) MUST_USE;

/* In the stem, confined: leaves a runner behind, as a child of init. env is the function's. */
int runner_start(int sock, char *const *env, struct err *e) MUST_USE;
