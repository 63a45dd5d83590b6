/* artifact_driver -- the artifact room and its real fetcher process, without the rest of hob.
 *
 *     artifact_driver STORE [--limit NAME=VALUE]... [--uses N] [--kind model|bundle] REFERENCE...
 *     artifact_driver --fetcher FD            (itself, run again)
 *     artifact_driver --probe FD              (what the fetcher's box lets through; see the test)
 *
 * Starts N uses of each reference at once and prints one line of JSON per event: `present`, `verified`,
 * `failed`, `fetcher` (its process id), at the end `totals`. Ends with 0 when no use failed.
 * --restart-fetcher kills the fetcher once, when the first bytes have come.
 */
#include "artifact/artifact.h"
#include "artifact/fetcher.h"
#include "artifact/fetcher_box.h"
#include "artifact/fetcher_link.h"
#include "os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

struct driver {
    struct limits limits;
    struct loop *loop;
    struct fetcher_link *link;
    struct artifact_store *store;
    pid_t fetcher;
    bool restart_fetcher;
    uint32_t open_uses, failed;
    uint64_t have_bytes;
    struct loop_timer look;
};
struct user {
    struct driver *d;
    struct artifact_use *use;
};

static _Noreturn void die(const struct err *e)
{
    fprintf(stderr, "artifact_driver: %s\n", e->text);
    exit(2);
}

/* ---- the fetcher -------------------------------------------------------------------------- */

static int fetcher_main(int fd)
{
    struct limits limits;
    struct err e;
    const char *stall = getenv("DRIVER_STALL_MS"), *redirects = getenv("DRIVER_REDIRECTS");
    limits_default(&limits);
    if (stall)
        limits.fetch_stall_ms = strtoull(stall, NULL, 10);
    if (redirects)
        limits.fetch_redirects_max = strtoull(redirects, NULL, 10);
    struct origin_policy origins;
    const char *allowed = getenv("DRIVER_ORIGINS");
    if (origin_policy_parse(allowed ? allowed : ORIGIN_POLICY_DEFAULT, &origins, &e) < 0)
        die(&e);
    int r = fetcher_run(fd, &limits, &origins, NULL, &e);
    if (r < 0)
        dprintf(2, "fetcher: %s\n", e.text);
    _exit(r < 0 ? 1 : 0); /* the leak checker could not run inside the box */
}

static void fetcher_spawn(struct driver *d, const char *self)
{
    int node = -1, child = -1;
    struct err e;
    char fd_text[16];
    if (fd_pair(&node, &child, &e) < 0)
        die(&e);
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)fcntl(child, F_SETFD, 0);
        snprintf(fd_text, sizeof fd_text, "%d", child);
        execl(self, self, "--fetcher", fd_text, (char *)NULL);
        _exit(127);
    }
    close(child);
    d->fetcher = pid;
    fetcher_link_attach(d->link, node);
    printf("{\"event\": \"fetcher\", \"pid\": %d}\n", (int)pid);
}

/* ---- what the box lets through: each line is "name errno" ---------------------------------- */

static void probe(const char *name, bool done)
{
    dprintf(1, "%s %s\n", name, done ? "done" : strerrorname_np(errno));
}

static void *nothing(void *arg) { return arg; }

static void probe_all(void)
{
    int fd = open("/etc/nsswitch.conf", O_RDONLY);
    probe("read-etc", fd >= 0);
    fd = open("/root/.profile", O_RDONLY);
    probe("read-root", fd >= 0);
    fd = open("/proc/self/status", O_RDONLY);
    probe("read-proc", fd >= 0);
    fd = open("/tmp/hob-probe", O_WRONLY | O_CREAT, 0600);
    probe("write-tmp", fd >= 0);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    probe("tcp-socket", fd >= 0);
    probe("listen", listen(fd, 1) == 0);
    probe("unix-socket", socket(AF_UNIX, SOCK_STREAM, 0) >= 0);
    probe("raw-socket", socket(AF_PACKET, SOCK_RAW, 0) >= 0);
    void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    probe("map-memory", at != MAP_FAILED);
    probe("make-code", mprotect(at, 4096, PROT_READ | PROT_EXEC) == 0);
    pthread_t t;
    errno = pthread_create(&t, NULL, nothing, NULL);
    probe("thread", errno == 0 && pthread_join(t, NULL) == 0);
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    probe("fork", pid > 0);
    probe("signal-parent", kill(getppid(), 0) == 0);
    probe("prctl", prctl(PR_SET_NAME, "x") == 0);
    probe("umask", umask(077) != (mode_t)-1);
    execl("/bin/echo", "echo", "exec done", (char *)NULL);
    probe("exec", false);
}

static int probe_main(bool boxed)
{
    struct err e;
    if (boxed && fetcher_box(&e) < 0)
        die(&e);
    probe_all();
    _exit(0);
}

/* ---- uses --------------------------------------------------------------------------------- */

static void use_end(struct user *u, bool failed)
{
    struct driver *d = u->d;
    d->failed += failed;
    artifact_use_free(u->use);
    free(u);
    if (--d->open_uses == 0)
        loop_stop(d->loop);
}

static void on_present(struct artifact_use *use, const char *path, const char *digest)
{
    (void)use;
    printf("{\"event\": \"present\", \"path\": \"%s\", \"digest\": \"%s\"}\n", path, digest);
}

static void on_verified(struct artifact_use *use)
{
    const struct artifact_facts *f = artifact_use_facts(use);
    printf("{\"event\": \"verified\", \"was_present\": %s, \"fetched\": %llu, \"verified\": %llu, "
           "\"fetch_us\": %llu, \"verify_us\": %llu, \"resident\": %u}\n",
           f->was_present ? "true" : "false", (unsigned long long)f->fetched_bytes,
           (unsigned long long)f->verified_bytes,
           (unsigned long long)(f->fetch_end_us - f->fetch_begin_us),
           (unsigned long long)(f->verify_end_us - f->verify_begin_us), f->resident_permille);
    use_end(artifact_use_ctx(use), false);
}

static void on_failed(struct artifact_use *use, enum phase at, bool retryable, const struct err *e)
{
    char text[sizeof e->text];
    snprintf(text, sizeof text, "%s", e->text);
    for (char *c = text; *c; c++)
        if (*c == '"' || *c == '\\')
            *c = '\'';
    printf("{\"event\": \"failed\", \"phase\": %d, \"retryable\": %s, \"code\": \"%s\", \"error\": \"%s\"}\n",
           (int)at, retryable ? "true" : "false", code_name(e->code), text);
    use_end(artifact_use_ctx(use), true);
}

static void use_begin(struct driver *d, enum artifact_kind kind, const char *reference)
{
    struct err e;
    struct user *u = xcalloc(1, sizeof *u);
    const struct artifact_request q = { .kind = kind, .reference = reference, .on_present = on_present,
                                        .on_verified = on_verified, .on_failed = on_failed, .ctx = u };
    u->d = d;
    if (artifact_use_start(d->store, &q, &u->use, &e) < 0)
        die(&e);
    d->open_uses++;
}

static int open_local(void *ctx, const char *path, void (*on_open)(void *ctx, int take_fd, const struct err *e),
                      void *open_ctx, struct err *e)
{
    struct err why = { 0 };
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    (void)ctx;
    (void)e;
    if (fd < 0)
        err_sys(&why, "open %s", path);
    on_open(open_ctx, fd, &why);
    return 0;
}

static void have_add(void *ctx, const struct artifact_info *i)
{
    if (i->state == ARTIFACT_FETCHING)
        ((struct driver *)ctx)->have_bytes += i->have_bytes;
}

static const char *self_path;

static void on_look(struct loop_timer *t)
{
    struct driver *d = CONTAINER_OF(t, struct driver, look);
    d->have_bytes = 0;
    artifact_each(d->store, have_add, d);
    if (d->have_bytes == 0) {
        loop_after(d->loop, t, 1000);
        return;
    }
    kill(d->fetcher, SIGKILL);
    (void)waitpid(d->fetcher, NULL, 0);
    fetcher_spawn(d, self_path);
}

static void totals_print(const struct driver *d)
{
    struct artifact_totals t = artifact_totals(d->store);
    printf("{\"event\": \"totals\", \"bytes\": %llu, \"files\": %llu, \"fetches\": %llu, "
           "\"origin_bytes\": %llu, \"resumes\": %llu, \"disk_refusals\": %llu, \"verify_failures\": %llu}\n",
           (unsigned long long)t.bytes, (unsigned long long)t.files, (unsigned long long)t.fetches,
           (unsigned long long)t.origin_bytes, (unsigned long long)t.resumes,
           (unsigned long long)t.disk_refusals, (unsigned long long)t.verify_failures);
}

int main(int argc, char **argv)
{
    struct driver d = { .look.on_due = on_look };
    struct err e;
    long uses = 1;
    enum artifact_kind kind = ARTIFACT_MODEL;
    if (argc == 3 && strcmp(argv[1], "--fetcher") == 0)
        return fetcher_main((int)strtol(argv[2], NULL, 10));
    if (argc == 3 && strcmp(argv[1], "--probe") == 0)
        return probe_main(strcmp(argv[2], "boxed") == 0);
    setvbuf(stdout, NULL, _IOLBF, 0);
    limits_default(&d.limits);
    int at = 2;
    for (; at < argc && argv[at][0] == '-'; at++) {
        if (strcmp(argv[at], "--restart-fetcher") == 0) {
            d.restart_fetcher = true;
            continue;
        }
        if (at + 1 >= argc)
            return 2;
        struct str value = str_of(argv[at + 1]), name;
        if (strcmp(argv[at], "--uses") == 0)
            uses = strtol(argv[at + 1], NULL, 10);
        else if (strcmp(argv[at], "--kind") == 0)
            kind = str_is(value, "bundle") ? ARTIFACT_BUNDLE : ARTIFACT_MODEL;
        else if (name = str_cut(&value, '='), limits_set(&d.limits, name, value, &e) < 0)
            die(&e);
        at++;
    }
    if (at >= argc)
        return 2;
    self_path = argv[0];
    if (loop_open(&d.loop, &e) < 0 ||
        fetcher_link_open(d.loop, &d.limits, open_local, &d, &d.link, &e) < 0 ||
        artifact_store_open(d.loop, argv[1], &d.limits, fetcher_link_transport(d.link), &d.store, &e) < 0)
        die(&e);
    fetcher_spawn(&d, self_path);
    for (; at < argc; at++)
        for (long i = 0; i < uses; i++)
            use_begin(&d, kind, argv[at]);
    if (d.restart_fetcher)
        loop_after(d.loop, &d.look, 0);
    if (loop_run(d.loop, &e) < 0)
        die(&e);
    loop_cancel(d.loop, &d.look);
    totals_print(&d);
    artifact_store_free(d.store);
    fetcher_link_free(d.link); /* the fetcher sees the end of its socket */
    loop_free(d.loop);
    int status = 0;
    while (waitpid(d.fetcher, &status, 0) < 0 && errno == EINTR)
        continue;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fprintf(stderr, "artifact_driver: fetcher ended with %d\n", status);
    return d.failed > 0 ? 1 : 0;
}
