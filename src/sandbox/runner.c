#include "sandbox/runner.h"
#include "os/fd.h"
#include "os/ns.h"
#include "sandbox/command.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RUNNER_MAGIC 0x6e75726du

enum {
    SOCK_FD = 3,       /* where the runner keeps its socket: nothing else is open but 0 to 2 */
    FAILED_STATUS = 127,
    SWEEPS_MAX = 1000, /* a command that forks faster than it can be killed is stopped by pids_max */
    TIMEOUT_MAX_S = 3600,
};

/* ---- orders --------------------------------------------------------------------------------- */

int runner_order_write(uint32_t id, const char *const *argv, uint64_t timeout_us, struct buf *into,
                       struct err *e)
{
    struct runner_order head = { .magic = RUNNER_MAGIC, .id = id, .timeout_us = timeout_us };
    ASSERT(into->size == 0);
    buf_append(into, &head, sizeof head);
    for (; argv[head.argc]; head.argc++)
        buf_append(into, argv[head.argc], strlen(argv[head.argc]) + 1);
    if (into->overflow || into->size > RUNNER_ORDER_MAX)
        return err_set(e, CODE_EXHAUSTED, "command: longer than %d bytes", RUNNER_ORDER_MAX);
    if (head.argc == 0)
        return err_set(e, CODE_INVALID, "command: empty");
    head.size = (uint32_t)into->size;
    memcpy(buf_at(into), &head, sizeof head);
    return 0;
}

int runner_order_parse(char *bytes, size_t size, struct runner_order *ret, char ***ret_argv,
                       struct err *e)
{
    struct runner_order head;
    if (size < sizeof head || size > RUNNER_ORDER_MAX)
        return err_set(e, CODE_INVALID, "order to run: %zu bytes are none", size);
    memcpy(&head, bytes, sizeof head);
    if (head.magic != RUNNER_MAGIC || head.size != size || head.argc == 0 || head.argc > size ||
        head.timeout_us > TIMEOUT_MAX_S * UINT64_C(1000000))
        return err_set(e, CODE_INVALID, "order to run: not one");
    char *at = bytes + sizeof head, *end = bytes + size;
    char **argv = xcalloc((size_t)head.argc + 1, sizeof *argv);
    for (uint32_t i = 0; i < head.argc; i++) {
        char *nul = at < end ? memchr(at, '\0', (size_t)(end - at)) : NULL;
        argv[i] = at;
        at = nul ? nul + 1 : NULL;
        if (!nul) {
            free(argv);
            return err_set(e, CODE_INVALID, "order to run: its texts are cut");
        }
    }
    if (at != end) {
        free(argv);
        return err_set(e, CODE_INVALID, "order to run: texts are left over");
    }
    *ret = head;
    *ret_argv = argv;
    return 0;
}

/* ---- one command ---------------------------------------------------------------------------- */

struct job {
    char *const *argv, *const *env;
    pid_t pid;
    int out_fd;
    bool ended, orphaned; /* orphaned: the node is gone */
    int status;
    struct runner_word word;
};

static uint64_t clock_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static _Noreturn void command_main(const struct job *j, int out_fd)
{
    struct err e = { 0 };
    char text[sizeof e.text + 2];
    (void)setsid();
    ns_signals_reset();
    if (dup2(out_fd, 1) < 0 || dup2(out_fd, 2) < 0)
        _exit(FAILED_STATUS);
    syscall(SYS_close_range, 3, ~0u, 0);
    if (command_exec(j->argv, j->env, &e) < 0) {
        int n = snprintf(text, sizeof text, "%s\n", e.text);
        (void)!write(2, text, (size_t)n);
    }
    _exit(FAILED_STATUS);
}

/* Whatever it says beyond the room is read too, so that it does not wait for a reader. */
static void output_read(struct job *j)
{
    char rest[4096];
    for (int i = 0; i < 64; i++) { /* then the clock is looked at again */
        size_t room = sizeof j->word.output - j->word.output_size;
        ssize_t n = read(j->out_fd, room ? j->word.output + j->word.output_size : rest,
                         room ? room : sizeof rest);
        if (n == 0) {
            close(TAKE_FD(j->out_fd));
            return;
        }
        if (n < 0)
            return;
        if (room)
            j->word.output_size += (uint32_t)n;
    }
}

static void children_reap(struct job *j)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        if (pid == j->pid) {
            j->ended = true;
            j->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
}

/* Orphans of the command came to us, whatever session they made for themselves. False: who they are cannot be
 * read here. */
static bool children_kill(void)
{
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return false;
    text[n] = '\0';
    for (char *at = text, *end; *at; at = end) {
        long pid = strtol(at, &end, 10);
        if (end == at)
            break;
        if (pid > 1 && (*end == ' ' || *end == '\0')) /* a number cut by the room is nobody's */
            (void)kill((pid_t)pid, SIGKILL);
    }
    return true;
}

static void command_end(struct job *j)
{
    if (!j->ended)
        (void)kill(-j->pid, SIGKILL);
    for (int i = 0; i < SWEEPS_MAX; i++) {
        int status;
        bool all = children_kill();
        if (!all && j->ended)
            break;
        pid_t pid = waitpid(all ? -1 : j->pid, &status, 0);
        if (pid < 0 && errno == ECHILD)
            break;
        if (pid == j->pid) {
            j->ended = true;
            j->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
    }
    if (j->out_fd >= 0)
        output_read(j);
}

/* Until the command has ended, its time is over or the node is gone. */
static void command_watch(struct job *j, uint64_t deadline_us)
{
    sigset_t all_in;
    sigemptyset(&all_in);
    for (children_reap(j); !j->ended; children_reap(j)) {
        uint64_t now_us = clock_us();
        struct pollfd watched[2] = { { .fd = SOCK_FD }, { .fd = j->out_fd, .events = POLLIN } };
        if (now_us >= deadline_us) {
            j->word.late = 1;
            return;
        }
        const struct timespec left = { .tv_sec = (time_t)((deadline_us - now_us) / 1000000),
                                       .tv_nsec = (long)((deadline_us - now_us) % 1000000 * 1000) };
        int n = ppoll(watched, 2, &left, &all_in);
        if (n > 0 && (watched[0].revents & (POLLHUP | POLLERR))) {
            j->orphaned = true;
            return;
        }
        if (n > 0 && watched[1].revents)
            output_read(j);
    }
}

static void on_child(int signo) { (void)signo; }

/* In a process of its own, whose children are only the command's. */
static _Noreturn void job_main(const struct runner_order *o, char *const *argv, char *const *env)
{
    struct job j = { .argv = argv, .env = env, .out_fd = -1, .word = { .id = o->id } };
    const struct sigaction wake = { .sa_handler = on_child };
    struct fd_packet p = { .at = &j.word, .size = sizeof j.word };
    struct err e = { 0 };
    sigset_t child;
    int into = -1;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    if (sigaction(SIGCHLD, &wake, NULL) < 0 || sigprocmask(SIG_BLOCK, &child, NULL) < 0 ||
        prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 || fd_pipe(&j.out_fd, &into, &e) < 0 ||
        fd_nonblock(j.out_fd, &e) < 0)
        _exit(FAILED_STATUS);
    uint64_t deadline_us = clock_us() + o->timeout_us;
    j.pid = fork();
    if (j.pid == 0)
        command_main(&j, into);
    close(into);
    if (j.pid < 0) {
        j.word.status = FAILED_STATUS;
        j.word.output_size = (uint32_t)snprintf(j.word.output, sizeof j.word.output,
                                                "fork: the instance is at its limit of processes");
    } else {
        command_watch(&j, deadline_us);
        command_end(&j);
        j.word.status = j.status;
    }
    if (!j.orphaned)
        (void)!fd_packet_send(SOCK_FD, &p, &e);
    _exit(0);
}

/* ---- the runner ----------------------------------------------------------------------------- */

/* The environment without the descriptor that only the function has. */
static void env_trim(char **env)
{
    char **to = env;
    for (char **from = env; *from; from++)
        if (strncmp(*from, "HOB_PHASES_FD=", 14) != 0)
            *to++ = *from;
    *to = NULL;
}

static _Noreturn void runner_main(int sock, char **env)
{
    static _Alignas(struct runner_order) char room[RUNNER_ORDER_MAX];
    (void)setsid();
    /* Everything of the stem goes: the control socket, whose end of file is the start's signal, too. */
    int null = open("/dev/null", O_RDWR);
    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0 ||
        dup2(sock, SOCK_FD) < 0 || fcntl(SOCK_FD, F_SETFD, FD_CLOEXEC) < 0 ||
        syscall(SYS_close_range, SOCK_FD + 1, ~0u, 0) < 0)
        _exit(FAILED_STATUS);
    prctl(PR_SET_DUMPABLE, 0);
    signal(SIGCHLD, SIG_IGN); /* its jobs need no reaping */
    env_trim(env);
    for (;;) {
        struct fd_packet p = { .at = room, .size = sizeof room };
        struct runner_order o;
        struct err e;
        char **argv;
        int r = fd_packet_recv(SOCK_FD, &p, &e);
        if (r == 2)
            continue; /* interrupted */
        if (r <= 0)
            _exit(0);
        fd_packet_close(&p);
        if (runner_order_parse(room, p.size, &o, &argv, &e) < 0)
            _exit(FAILED_STATUS);
        pid_t pid = fork();
        if (pid == 0)
            job_main(&o, argv, env);
        free(argv);
        if (pid < 0) { /* at the limit of processes: that is the answer */
            struct runner_word w = { .id = o.id, .status = FAILED_STATUS };
            struct fd_packet word = { .at = &w, .size = sizeof w };
            w.output_size = (uint32_t)snprintf(w.output, sizeof w.output, "fork: %s", strerror(errno));
            (void)!fd_packet_send(SOCK_FD, &word, &e);
        }
    }
}

static char **env_copy(char *const *env)
{
    size_t count = 0;
    while (env[count])
        count++;
    char **copy = xcalloc(count + 1, sizeof *copy);
    memcpy(copy, env, count * sizeof *copy);
    return copy;
}

int runner_start(int sock, char *const *env, struct err *e)
{
    int status;
    pid_t between = fork();
    if (between == 0) {
        pid_t runner = fork();
        if (runner == 0)
            runner_main(sock, env_copy(env));
        _exit(runner < 0 ? FAILED_STATUS : 0);
    }
    if (between < 0 || waitpid(between, &status, 0) != between)
        return err_sys(e, "runner for exec probes");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return err_set(e, CODE_UNAVAILABLE, "runner for exec probes: it did not start");
    return 0;
}
