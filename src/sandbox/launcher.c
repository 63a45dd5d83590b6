#include "sandbox/launcher.h"
#include "base/log.h"
#include "os/fault.h"
#include "os/fd.h"
#include "os/landlock.h"
#include "sandbox/children.h"
#include "sandbox/localfiles.h"
#include "sandbox/peer.h"
#include "sandbox/rootfs.h"
#include "sandbox/stock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LOCK_WAIT_US = 3000000,  /* for what a killed predecessor forked; then it is another hob's */
    LOCK_LOOK_US = 5000,
    GRACE_US = 5000000,      /* after the drain: what is left is killed */
    NOTICES_WAITING_MAX = 8192,
};

struct launcher {
    const struct launcher_config *config;
    struct loop *loop;
    struct shell_maker maker;
    struct sysfilter *filter;
    int lock_fd, signal_fd;
    struct loop_io signal_io;
    struct loop_timer deadline;
    struct children *children;
    struct stock *stock; /* of shells */
    struct peer *node;   /* NULL while there is none */
    bool node_said_hello, any_node_served, draining, stopping;
    struct localfiles *files; /* of the host, for images and models */
    char *data_real;          /* the data folder without links */

    int result; /* of launcher_run, when the loop stops */
    struct err why;
};

/* ---- notices ---------------------------------------------------------------------------- */

static void notify(struct launcher *a, const struct notice *n, int *take_fds, size_t count)
{
    struct err e = { 0 };
    if (!a->node || !a->node_said_hello) {
        for (size_t i = 0; i < count; i++)
            close(TAKE_FD(take_fds[i]));
        return;
    }
    /* A link that fails here reports through on_node_gone. */
    if (peer_send(a->node, n, sizeof *n, take_fds, count, &e) < 0)
        log_event(LOG_DEBUG, "notice_lost", "type=%u cause=\"%s\"", n->type, LOG_QUOTED(e.text));
}

/* ---- requests --------------------------------------------------------------------------- */

static void open_answer(struct launcher *a, const struct request *q)
{
    struct notice n = { .type = NOTICE_OPENED, .id = q->id };
    struct err e = { 0 };
    int fd = localfiles_get(a->files, q->path, &e);
    if (fd < 0)
        notice_error_set(&n, &e);
    notify(a, &n, &fd, fd >= 0);
}

/* The node has no folder to open it in. One that cannot be opened anew leaves the node with the one it has. */
static void request_log_give(struct launcher *a)
{
    struct notice n = { .type = NOTICE_REQUEST_LOG };
    struct err e;
    if (!a->config->request_log)
        return;
    int fd = a->config->request_log(a->config->children.ctx, &e);
    if (fd < 0)
        log_event(LOG_WARN, "request_log.not_opened", "error=\"%s\"", LOG_QUOTED(e.text));
    else
        notify(a, &n, &fd, 1);
}

static int hello_answer(struct launcher *a, struct err *e)
{
    const struct cgroup_tree *t = a->maker.cgroups;
    struct notice n = { .type = NOTICE_WELCOME,
                        .facts = { .memory = cgroup_tree_has(t, CGROUP_MEMORY),
                                   .cpu = cgroup_tree_has(t, CGROUP_CPU),
                                   .pids = true, /* RLIMIT_NPROC at least */
                                   .own_uids = a->maker.full_map,
                                   .landlock = landlock_version() > 0 } };
    if (a->node_said_hello)
        return err_set(e, CODE_INVALID, "request: a second hello");
    a->node_said_hello = true;
    notify(a, &n, NULL, 0);
    request_log_give(a);
    if (a->config->children.run_fetcher)
        children_start(a->children, CHILD_FETCHER);
    stock_serve(a->stock);
    return 0;
}

static int on_request(void *ctx, struct fd_packet *p, struct err *e)
{
    struct launcher *a = ctx;
    const struct request *q = p->at;
    int r = request_check(q, p->size, e);
    if (r < 0)
        return r;
    if (q->type != REQUEST_HELLO && !a->node_said_hello)
        return err_set(e, CODE_INVALID, "request of type %u: before hello", q->type);
    switch ((enum request_type)q->type) {
    case REQUEST_HELLO: return hello_answer(a, e);
    case REQUEST_OPEN: open_answer(a, q); return 0;
    case REQUEST_SERVING: a->any_node_served = true; return 0;
    case REQUEST_WANT:
    case REQUEST_POOL:
    case REQUEST_SOCKETS:
    case REQUEST_VOLUMES:
    case REQUEST_JOIN:
    case REQUEST_TOOK:
    case REQUEST_SIGNAL:
    case REQUEST_KILL: return stock_request(a->stock, q, e);
    case REQUEST_TYPES: break;
    }
    UNREACHABLE("request_check() knows every type");
}

/* ---- the node and the fetcher ----------------------------------------------------------- */

/* The node's socket is closed or was misused. Its process follows, whatever it does. */
static void on_node_gone(void *ctx, const struct err *why)
{
    struct launcher *a = ctx;
    if (why->code)
        log_event(LOG_ERROR, "node.link_lost", "cause=\"%s\"", LOG_QUOTED(why->text));
    if (why->code || !a->draining) /* asked to finish, it closes its end on its way out */
        children_kill(a->children, CHILD_NODE);
    peer_free(TAKE(a->node));
    a->node_said_hello = false;
    stock_pause(a->stock);
}

static const struct peer_events node_events = { on_request, on_node_gone };

static void run_child(void *ctx, enum child_role role, int link_fd)
{
    const struct launcher *a = ctx;
    const struct launcher_children *k = &a->config->children;
    if (role == CHILD_NODE)
        k->run_node(k->ctx, link_fd, a->maker.full_map);
    else
        k->run_fetcher(k->ctx, link_fd, a->maker.full_map);
}

/* The node's is a link of ours, the fetcher's belongs to the node. */
static int on_link(void *ctx, enum child_role role, int take_fd, struct err *e)
{
    struct launcher *a = ctx;
    if (role == CHILD_FETCHER) {
        struct notice n = { .type = NOTICE_FETCHER };
        notify(a, &n, &take_fd, 1);
        return 0;
    }
    return peer_open(a->loop, take_fd, sizeof(struct request), NOTICES_WAITING_MAX, &node_events, a,
                     &a->node, e);
}

static void stop_if_empty(struct launcher *a)
{
    if (a->stopping && stock_is_empty(a->stock) && !children_run(a->children, CHILD_NODE) &&
        !children_run(a->children, CHILD_FETCHER))
        loop_stop(a->loop);
}

/* What depends on a node goes with it: the sandboxes it spoke to, and the fetcher it listened to. */
static void node_forget(struct launcher *a)
{
    peer_free(TAKE(a->node));
    a->node_said_hello = false;
    stock_forget(a->stock);
    children_kill(a->children, CHILD_FETCHER);
}

static void stop(struct launcher *a)
{
    a->stopping = true;
    stock_end(a->stock);
    children_kill(a->children, CHILD_NODE);
    children_kill(a->children, CHILD_FETCHER);
    stop_if_empty(a);
}

/* The fetcher waits for a node. */
static bool wanted(void *ctx, enum child_role role)
{
    const struct launcher *a = ctx;
    return role == CHILD_NODE || a->node_said_hello;
}

static void on_child_ended(void *ctx, enum child_role role, int status)
{
    struct launcher *a = ctx;
    /* The fetcher ends when the draining node closes it, or by stop(), whichever is first. */
    bool asked = status == 0 ? a->stopping || a->draining : a->stopping && status == 128 + SIGKILL;
    log_event(asked ? LOG_INFO : LOG_WARN, "child.ended", "role=%s status=%d", children_name(role), status);
    if (role == CHILD_NODE)
        node_forget(a);
    if (role == CHILD_NODE && status == 0)
        stop(a);
    else if (role == CHILD_NODE && a->draining)
        stop(a); /* no matter how it ended, nobody wants another */
    else if (role == CHILD_NODE && !a->any_node_served && !a->stopping) {
        a->result = err_set(&a->why, CODE_UNAVAILABLE, "node: ended with status %d before it was up", status);
        stop(a);
    } else if (!a->stopping && !asked && wanted(a, role))
        children_restart(a->children, role);
    stop_if_empty(a);
}

static const struct children_events children_events = { run_child, on_link, wanted, on_child_ended };

/* ---- signals ---------------------------------------------------------------------------- */

static void on_deadline(struct loop_timer *t)
{
    log_event(LOG_WARN, "drain_timeout", "left=killed");
    stop(CONTAINER_OF(t, struct launcher, deadline));
}

static void on_signal(struct loop_io *io, uint32_t events)
{
    struct launcher *a = CONTAINER_OF(io, struct launcher, signal_io);
    struct notice n = { .type = NOTICE_DRAIN };
    struct signalfd_siginfo info;
    (void)events;
    if (read(a->signal_fd, &info, sizeof info) != (ssize_t)sizeof info)
        return;
    if (info.ssi_signo == SIGHUP) {
        if (a->node_said_hello)
            request_log_give(a);
        return;
    }
    if (a->draining || !a->node_said_hello) { /* asked twice, or nobody to ask */
        stop(a);
        return;
    }
    log_event(LOG_INFO, "drains", "signal=%u", info.ssi_signo);
    a->draining = true;
    loop_after(a->loop, &a->deadline, a->config->limits->drain_ms * 1000 + GRACE_US);
    notify(a, &n, NULL, 0);
}

/* ---- up and down ------------------------------------------------------------------------ */

static int signals_take(struct launcher *a, struct err *e)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (a->config->request_log)
        sigaddset(&set, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return err_sys(e, "signals");
    a->signal_fd = fault_hit("signalfd") ? -1 : signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (a->signal_fd < 0)
        return err_sys(e, "signals");
    return loop_watch(a->loop, &a->signal_io, a->signal_fd, EPOLLIN, e);
}

/* Whoever was forked by a killed predecessor holds its lock too, until the kernel has ended it: a hob
 * that is started again at once waits for that. */
static int lock_wait(int fd)
{
    for (int left = LOCK_WAIT_US / LOCK_LOOK_US; left > 0; left--) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return 0;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return -1;
        (void)usleep(LOCK_LOOK_US);
    }
    errno = EWOULDBLOCK;
    return -1;
}

static int folder_lock(struct launcher *a, struct err *e)
{
    const char *dir = a->config->data_dir;
    a->lock_fd = fault_hit("open") ? -1 : open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (a->lock_fd < 0)
        return err_sys(e, "data folder %s", dir);
    if (lock_wait(a->lock_fd) < 0) {
        if (errno == EWOULDBLOCK)
            return err_set(e, CODE_PRECONDITION, "data folder %s: another hob runs on it", dir);
        return err_sys(e, "data folder %s: lock", dir);
    }
    return 0;
}

static int data_find(struct launcher *a, struct err *e)
{
    a->data_real = realpath(a->config->data_dir, NULL);
    return a->data_real ? 0 : err_sys(e, "data folder %s", a->config->data_dir);
}

static int groups_open(struct launcher *a, struct err *e)
{
    char name[32];
    launcher_group_name(a->data_real, name, sizeof name);
    int found = cgroup_sweep(name, e);
    if (found < 0)
        return found;
    if (found > 0)
        log_event(LOG_WARN, "swept", "groups=%d name=%s", found, name);
    int r = cgroup_tree_open(name, &a->maker.cgroups, e);
    if (r < 0)
        return r;
    bool memory = cgroup_tree_has(a->maker.cgroups, CGROUP_MEMORY), cpu = cgroup_tree_has(a->maker.cgroups, CGROUP_CPU);
    if (!memory || !cpu)
        log_event(LOG_WARN, "limits_not_enforced", "limits=%s%s%s why=\"no control group that this user may use; see hob doctor\"",
                  memory ? "" : "memory", memory || cpu ? "" : ",", cpu ? "" : "cpu");
    return r;
}

static int maker_open(struct launcher *a, struct err *e)
{
    struct shell_maker *m = &a->maker;
    const struct rootfs_stage stage = { a->config->store_dir, m->cgroups };
    m->loop = a->loop;
    if (getrandom(&m->key, sizeof m->key, 0) != (ssize_t)sizeof m->key)
        return err_sys(e, "random key");
    int r = sysfilter_open(m->key, &a->filter, e);
    if (r < 0)
        return r;
    m->filter = a->filter;
    r = shell_maker_home(m, e);
    return r < 0 ? r : rootfs_stage_open(&stage, &m->stage_fd, e);
}

static void on_notice(void *ctx, const struct notice *n, int *take_fds, size_t count) { notify(ctx, n, take_fds, count); }
static void on_shell_ended(void *ctx) { stop_if_empty(ctx); }

static int launcher_open(struct launcher *a, struct err *e)
{
    int r = ns_privileged(e);
    a->maker.full_map = r == 1;
    if (r >= 0)
        r = a->maker.full_map ? 0 : ns_become_root(e);
    if (r == 0) /* sandboxes inherit our hard limit at most, and each shell costs six descriptors */
        r = ns_limit_set(RLIMIT_NOFILE, UINT64_MAX, e);
    if (r == 0)
        r = folder_lock(a, e);
    if (r == 0)
        r = data_find(a, e);
    if (r == 0)
        r = localfiles_open(a->config->file_roots, a->config->file_root_count, a->data_real, &a->files, e);
    if (r == 0)
        r = groups_open(a, e);
    if (r == 0)
        r = loop_open(&a->loop, e);
    if (r == 0)
        r = signals_take(a, e);
    if (r == 0)
        r = maker_open(a, e);
    if (r < 0)
        return r;
    const struct stock_config stock = { .limits = a->config->limits,
                                        .maker = &a->maker,
                                        .notify = on_notice,
                                        .on_ended = on_shell_ended,
                                        .ctx = a };
    a->stock = stock_new(&stock);
    a->children = children_new(a->loop, &children_events, a);
    return 0;
}

static void launcher_close(struct launcher *a)
{
    stock_free(a->stock);
    children_free(a->children);
    peer_free(a->node);
    if (a->loop)
        loop_unwatch(a->loop, &a->signal_io);
    fd_auto(&a->signal_fd);
    shell_maker_done(&a->maker);
    sysfilter_free(a->filter);
    loop_free(a->loop);
    cgroup_tree_free(a->maker.cgroups);
    localfiles_free(a->files);
    fd_auto(&a->lock_fd);
    free(a->data_real);
    free(a);
}
DEFINE_AUTO(launcher, struct launcher *, launcher_close)

static struct launcher *launcher_new(const struct launcher_config *c)
{
    struct launcher *a = xcalloc(1, sizeof *a);
    a->config = c;
    a->lock_fd = a->signal_fd = -1;
    a->maker.stage_fd = a->maker.home_mnt_fd = a->maker.home_net_fd = a->maker.home_dir_fd = -1;
    a->signal_io.on_ready = on_signal;
    a->deadline.on_due = on_deadline;
    return a;
}

/* Control groups are named after the folder: the next life on the same folder knows which are ours. */
void launcher_group_name(const char *data_path, char *into, size_t size)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a: stable across builds, no secret */
    for (const char *p = data_path; *p; p++)
        hash = (hash ^ (unsigned char)*p) * UINT64_C(0x100000001b3);
    snprintf(into, size, "hob-%016llx", (unsigned long long)hash);
}

int launcher_run(const struct launcher_config *c, struct err *e)
{
    AUTO(launcher) struct launcher *a = launcher_new(c);
    int r = launcher_open(a, e);
    if (r < 0)
        return err_wrap(e, "launcher");
    children_start(a->children, CHILD_NODE);
    r = loop_run(a->loop, e);
    if (r == 0 && a->result < 0) {
        *e = a->why;
        r = a->result;
    }
    return r;
}
