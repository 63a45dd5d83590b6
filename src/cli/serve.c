/* serve.c -- `hob serve`: settings, sockets and folders; then this process is the launcher, and runs
 * itself again as node and as fetcher (HOB_ROLE; descriptors at fixed numbers). */
#include "artifact/fetcher.h"
#include "artifact/origin.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/serve_listen.h"
#include "cli/serve_form.h"
#include "cli/serve_opts.h"
#include "cli/serve_traces.h"
#include "node/jail.h"
#include "node/node.h"
#include "os/fault.h"
#include "os/ns.h"
#include "sandbox/launcher.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where a role finds its descriptors. */
enum { FD_LINK = 3, FD_INGRESS, FD_API, FD_LOCAL, FD_TEMPORAL, FD_READY, FD_ROLE_END };
enum { FILE_ROOTS_MAX = 16 };

/* ---- folders ---------------------------------------------------------------------------------- */

static bool is_empty(int dir_fd)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    unsigned found = 0;
    if (!dir) {
        fd_auto(&fd);
        return false;
    }
    for (const struct dirent *d; (d = readdir(dir));)
        found += strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0;
    closedir(dir);
    return found == 0;
}

/* The folders belong to the node alone; the launcher reaches them because it is root. One that belongs to
 * somebody else and holds something is not taken: `--data /etc`, or a link to there that the last
 * node, or another user of /tmp, left for us. */
static int folder_own(int fd, const char *path, mode_t mode, struct err *e)
{
    struct stat st;
    int r = ns_privileged(e);
    if (r <= 0)
        return r;
    if (fstat(fd, &st) < 0)
        return err_sys(e, "look at %s", path);
    if (st.st_uid == JAIL_UID_NODE)
        return 0;
    if (!is_empty(fd))
        return err_set(e, CODE_PRECONDITION,
                       "%s: belongs to uid %u and is not empty, so it is not hob's data; name another "
                       "folder, or give this one to hob with chown -R %d:%d",
                       path, st.st_uid, JAIL_UID_NODE, JAIL_UID_NODE);
    if (fchmod(fd, mode) < 0 || fchown(fd, JAIL_UID_NODE, JAIL_UID_NODE) < 0)
        return err_sys(e, "give %s to the node", path);
    return 0;
}

/* `name` in `dir_fd` (AT_FDCWD: a path from the command line, which may be a link); `shown` in errors. */
static int folder_make(int dir_fd, const char *name, const char *shown, mode_t mode, int *ret_fd,
                       struct err *e)
{
    int links = dir_fd == AT_FDCWD ? 0 : O_NOFOLLOW;
    if (mkdirat(dir_fd, name, mode) < 0 && errno != EEXIST)
        return err_sys(e, "make %s", shown);
    AUTO_CLOSE int fd =
        fault_hit("open") ? -1 : openat(dir_fd, name, O_DIRECTORY | O_RDONLY | O_CLOEXEC | links);
    if (fd < 0)
        return err_sys(e, "open %s", shown);
    int r = folder_own(fd, shown, mode, e);
    if (r == 0)
        *ret_fd = TAKE_FD(fd);
    return r;
}

/* ---- roles --------------------------------------------------------------------------------------- */

struct serve {
    struct serve_settings settings;
    struct origin_policy origins;
    struct serve_traces traces;
    char data[4096], store[4200], local[REACH_PATH_MAX];
    const char *roots[FILE_ROOTS_MAX];
    size_t root_count;
    int ingress_fd, api_fd, local_fd, temporal_fd, ready_fd, program_fd;
    char **argv;
};

/* What a role may know of the operator's environment: nothing in it is a secret. */
static const char *const environment_kept[] = {
    "TZ", "ASAN_OPTIONS", "LSAN_OPTIONS", "UBSAN_OPTIONS", /* of a build with sanitizers */
    "HOB_FAULT", /* of a build with faults */
};

static void environment_reduce(void)
{
    char *kept[COUNT_OF(environment_kept)];
    for (size_t i = 0; i < COUNT_OF(kept); i++) {
        const char *value = getenv(environment_kept[i]);
        kept[i] = value ? xstrdup(value) : NULL;
    }
    (void)clearenv();
    for (size_t i = 0; i < COUNT_OF(kept); i++)
        if (kept[i])
            (void)setenv(environment_kept[i], kept[i], 1);
}

/* A role writes to the operator's terminal but neither types into it (TIOCSTI, as its controlling terminal)
 * nor reads along: a session of its own, no input, and output opened for writing only. */
static void terminal_leave(void)
{
    char path[32];
    (void)setsid();
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fd != STDIN_FILENO && !isatty(fd))
            continue;
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        int other = fd == STDIN_FILENO ? open("/dev/null", O_RDONLY | O_CLOEXEC)
                                       : open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC);
        if (other < 0 || dup2(other, fd) < 0)
            _exit(70);
        close(other);
    }
}

static void fd_place(int fd, int at)
{
    if (fault_hit("dup2") || dup2(fd, at) < 0)
        _exit(70);
}

static _Noreturn void role_fail(const char *role, const struct err *e)
{
    log_role_set(role);
    log_event(LOG_ERROR, "start.failed", "error=\"%s\"", LOG_QUOTED(e->text));
    _exit(70);
}

/* Who root of our user namespace is outside of it: 0 where there is none. Before the jail, which has no /proc. */
static unsigned root_outside(void)
{
    unsigned inside = 0, outside = 0;
    FILE *f = fopen("/proc/self/uid_map", "re");
    if (f && (fscanf(f, "%u %u", &inside, &outside) != 2 || inside != 0))
        outside = 0;
    if (f)
        (void)fclose(f);
    return outside;
}

/* In a fork of the launcher: what the role may see is settled, then this program again. */
static _Noreturn void role_exec(const struct serve *s, const char *role, int link_fd,
                                const struct jail_spec *jail)
{
    struct err e;
    bool node = strcmp(role, "node") == 0;
    /* Out of the way of the fixed numbers first. */
    int high[] = { link_fd, s->program_fd, s->ingress_fd, s->api_fd, s->local_fd, s->temporal_fd, s->ready_fd };
    for (size_t i = 0; i < COUNT_OF(high); i++)
        if (high[i] >= 0 && (high[i] = fcntl(high[i], F_DUPFD_CLOEXEC, FD_ROLE_END + 8)) < 0)
            _exit(70);
    terminal_leave();
    char root[16];
    (void)snprintf(root, sizeof root, "%u", root_outside());
    if (jail_enter(jail, &e) < 0)
        role_fail(role, &e);
    /* Whatever the operator's shell left open is not for those who parse bytes from outside. */
    if (close_range(FD_LINK, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
        _exit(70);
    fd_place(high[0], FD_LINK);
    for (size_t i = 2; node && i < COUNT_OF(high); i++)
        if (high[i] >= 0)
            fd_place(high[i], FD_INGRESS + (int)i - 2);
    environment_reduce();
    setenv("HOB_ROLE", role, 1);
    setenv("HOB_DATA_SHOWN", s->data, 1);
    setenv("HOB_LOCAL", s->local, 1);
    setenv("HOB_ROOT_UID", root, 1);
    setenv("HOB_READY", s->ready_fd >= 0 ? "1" : "0", 1);
    serve_traces_give(&s->traces, !node);
    (void)ns_die_with_parent(-1); /* changed credentials cleared it */
    execveat(high[1], "", s->argv, environ, AT_EMPTY_PATH);
    err_sys(&e, "run myself as %s", role);
    role_fail(role, &e);
}

static void run_node(void *ctx, int link_fd, bool privileged)
{
    const struct serve *s = ctx;
    const struct jail_spec jail = { .data_dir = s->data, .privileged = privileged,
                                    .uid = JAIL_UID_NODE };
    role_exec(s, "node", link_fd, &jail);
}

static void run_fetcher(void *ctx, int link_fd, bool privileged)
{
    const struct serve *s = ctx;
    const struct jail_spec jail = { .network_files = true, .privileged = privileged,
                                    .uid = JAIL_UID_FETCHER };
    role_exec(s, "fetcher", link_fd, &jail);
}

/* Again whenever logrotate has moved it. Who may read it is the operator's umask's business, but nobody else's. */
static int request_log_open_file(void *ctx, struct err *e)
{
    const struct serve *s = ctx;
    const char *path = s->settings.request_log;
    int fd = strcmp(path, "-") == 0 ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, FD_ROLE_END)
                                    : open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOCTTY | O_NONBLOCK | O_CLOEXEC, 0640);
    return fd < 0 ? err_sys(e, "--request-log %s", path) : fd;
}

static int node_main(const struct serve_settings *s, struct err *e)
{
    char ingress[LISTEN_ADDRESS_MAX], api[LISTEN_ADDRESS_MAX], temporal[LISTEN_ADDRESS_MAX] = "";
    bool listens = serve_temporal_listens(s);
    const char *ready = getenv("HOB_READY"), *shown = getenv("HOB_DATA_SHOWN"), *local = getenv("HOB_LOCAL");
    listen_shown(FD_INGRESS, ingress);
    listen_shown(FD_API, api);
    if (listens)
        listen_shown(FD_TEMPORAL, temporal);
    for (int fd = FD_LINK; fd < FD_ROLE_END; fd++)
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    /* The node lets go of its own copy first; at the last one the launcher sees it gone, and by then it said why. */
    int link = fcntl(FD_LINK, F_DUPFD_CLOEXEC, FD_ROLE_END);
    if (link < 0)
        return err_sys(e, "the launcher's link");
    const char *root = getenv("HOB_ROOT_UID");
    const struct node_config c = {
        .root_uid = root ? (uint32_t)strtoul(root, NULL, 10) : 0,
        .limits = &s->limits, .data_dir = "/data", .shown_dir = shown ? shown : "/data",
        .ingress_fd = FD_INGRESS, .api_fd = FD_API, .local_fd = FD_LOCAL, .launcher_fd = link,
        .temporal_fd = listens ? FD_TEMPORAL : -1, .temporal = temporal,
        .namespaces = s->namespaces.at, .namespace_count = s->namespaces.count,
        .attributes = s->attributes.at, .attribute_count = s->attributes.count,
        .ready_fd = ready && ready[0] == '1' ? FD_READY : -1, .ingress = ingress, .api = api,
        .local = local ? local : "", .api_open = s->api_insecure,
        .temporal_open = !s->temporal_token && (!listens || s->api_insecure || !listen_beyond(FD_TEMPORAL)), .traces = serve_traces_on(),
        .service_name = serve_traces_name(), .request_log = s->request_log != NULL,
    };
    return node_run(&c, e);
}

/* Only the launcher starts roles, and only with a socket of its own at FD_LINK: the variable alone, left
 * in somebody's environment, means nothing. NULL: we are the launcher. */
static const char *role_given(void)
{
    const char *role = getenv("HOB_ROLE");
    int type = 0;
    socklen_t size = sizeof type;
    bool known = role && (strcmp(role, "node") == 0 || strcmp(role, "fetcher") == 0);
    return known && getsockopt(FD_LINK, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET
               ? role
               : NULL;
}

static int role_main(const char *role, const struct serve *s)
{
    struct err e = { 0 };
    bool node = strcmp(role, "node") == 0;
    (void)signal(SIGPIPE, SIG_IGN);
    log_role_set(node ? "node" : "fetcher");
    fault_arm_outside(role);
    const struct fetcher_export export = serve_traces_export();
    int r = node ? node_main(&s->settings, &e)
                 : fetcher_run(FD_LINK, &s->settings.limits, &s->origins, &export, &e);
    if (r < 0)
        log_event(LOG_ERROR, "ended", "error=\"%s\"", LOG_QUOTED(e.text));
    if (!node)
        _exit(r < 0 ? EXITS_FAILED : EXITS_OK); /* its box leaves no calls for what comes at exit */
    return r < 0 ? EXITS_FAILED : EXITS_OK;
}

/* ---- the launcher ---------------------------------------------------------------------------------- */

/* Root's hob opens files that who deploys may not read himself, so only what somebody said he may. */
static int roots_resolve(struct serve *s, struct err *e)
{
    static const char *const here[] = { "." };
    const struct opt_list *given = &s->settings.roots;
    char cwd[8];
    bool none = given->count == 0;
    if (none && (geteuid() == 0 || (getcwd(cwd, sizeof cwd) && strcmp(cwd, "/") == 0))) {
        log_event(LOG_WARN, "no_file_root",
                  "why=\"no --file-root: no file:// image or model can be deployed\"");
        return 0;
    }
    const char *const *from = none ? here : given->at;
    size_t count = none ? 1 : given->count;
    if (count > FILE_ROOTS_MAX)
        return err_set(e, CODE_EXHAUSTED, "--file-root: more than %d", FILE_ROOTS_MAX);
    for (; s->root_count < count; s->root_count++) {
        s->roots[s->root_count] = realpath(from[s->root_count], NULL); /* kept for the life of the process */
        if (!s->roots[s->root_count])
            return err_sys(e, "--file-root %s", from[s->root_count]);
    }
    return 0;
}

static int ports_open(struct serve *s, struct err *e)
{
    const struct serve_settings *t = &s->settings;
    const struct listen_tcp ingress = { "--listen-ingress", t->listen_ingress, t->insecure,
                                        "reads and changes what functions get and answer" };
    const struct listen_tcp api = { "--listen-api", t->listen_api, t->insecure,
                                    t->api_insecure ? "deploys and calls functions" : "reads the token" };
    const struct listen_tcp temporal = { "--listen-temporal", t->listen_temporal, t->insecure,
                                         "reads and changes workflows, and takes their tasks" };
    int r = listen_tcp(&ingress, &s->ingress_fd, e);
    if (r == 0)
        r = listen_tcp(&api, &s->api_fd, e);
    if (r == 0 && serve_temporal_listens(t))
        r = listen_tcp(&temporal, &s->temporal_fd, e);
    return r;
}

static int prepare(struct serve *s, struct err *e)
{
    int r = roots_resolve(s, e);
    if (r == 0) /* first: a port that is taken leaves no new folder behind */
        r = ports_open(s, e);
    if (r < 0)
        return r;
    AUTO_CLOSE int data_fd = -1, store_fd = -1;
    r = folder_make(AT_FDCWD, s->settings.data, s->settings.data, 0700, &data_fd, e);
    if (r < 0)
        return r;
    if (fault_hit("realpath") || !realpath(s->settings.data, s->data))
        return err_sys(e, "--data %s", s->settings.data);
    snprintf(s->store, sizeof s->store, "%s/store", s->data);
    /* Sandboxes see the store through a mount of its own, as users that own nothing here. */
    r = folder_make(data_fd, "store", s->store, 0755, &store_fd, e);
    if (r < 0)
        return r;
    s->program_fd = fault_hit("open") ? -1 : open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (s->program_fd < 0)
        return err_sys(e, "find my own program");
    return listen_local(listen_port(s->api_fd), s->settings.api_group, s->local, &s->local_fd, e);
}

static void descriptors_raise(void)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
        l.rlim_cur = l.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &l);
    }
}

static int launcher_main(struct serve *s, struct err *e)
{
    log_role_set("launcher");
    fault_arm_outside("launcher");
    descriptors_raise();
    (void)umask(022);
    (void)signal(SIGPIPE, SIG_IGN);
    int r = prepare(s, e);
    if (r == 0 && s->settings.request_log) { /* what does not work is said now */
        AUTO_CLOSE int fd = request_log_open_file(s, e);
        r = fd < 0 ? fd : 0;
    }
    if (r < 0)
        return r;
    const struct launcher_config c = {
        .data_dir = s->data, .store_dir = s->store, .limits = &s->settings.limits,
        .file_roots = s->roots, .file_root_count = s->root_count,
        .children = { run_node, run_fetcher, s },
        .request_log = s->settings.request_log ? request_log_open_file : NULL,
    };
    r = launcher_run(&c, e);
    (void)unlink(s->local); /* nobody else's: we hold the port it is named after */
    return r;
}

static int ready_fd_check(struct serve *s, struct err *e)
{
    if (s->settings.ready_fd == SERVE_NO_FD)
        return 0;
    s->ready_fd = (int)s->settings.ready_fd;
    if (fcntl(s->ready_fd, F_GETFD) < 0)
        return err_set(e, CODE_INVALID, "--ready-fd: '%d' is no open descriptor", s->ready_fd);
    return 0;
}

static int help_show(const struct cli_command *command)
{
    const struct term t = term_of_fd(STDOUT_FILENO, "auto");
    struct buf b;
    buf_init(&b, KIB(64));
    help_command(command, &t, &b);
    printf(STR_FMT, STR_ARG(buf_str(&b)));
    buf_done(&b);
    return EXITS_OK;
}

int serve_as(const struct serve_form *form, int argc, char **argv)
{
    static struct serve s = { .ingress_fd = -1, .api_fd = -1, .local_fd = -1, .temporal_fd = -1, .ready_fd = -1, .program_fd = -1 };
    struct err e = { 0 };
    const char *role = role_given();
    int read = form->read(&s.settings, argc - 1, (const char *const *)argv + 1, &e);
    if (s.settings.help)
        return help_show(form->command);
    if (read >= 0 && (read = origin_policy_parse(s.settings.model_origins, &s.origins, &e)) < 0)
        err_wrap(&e, "--model-origins");
    if (read >= 0 && !role)
        read = serve_traces_read(s.settings.otlp_endpoint, &s.traces, &e);
    if (read >= 0 && !role) /* in a role the number is the operator's no more */
        read = ready_fd_check(&s, &e);
    if (read < 0) {
        fprintf(stderr, "hob %s: %s\n  see: hob %s -h\n", form->command->name, e.text, form->command->name);
        return EXITS_USAGE;
    }
    log_level_set(s.settings.verbose ? LOG_DEBUG : s.settings.quiet ? LOG_WARN : LOG_INFO);
    if (role)
        return role_main(role, &s);
    s.argv = xcalloc((size_t)argc + 2, sizeof *s.argv); /* "hob", the command, and what followed */
    s.argv[0] = argv[0];
    s.argv[1] = xstrdup(form->command->name);
    for (int i = 1; i < argc; i++)
        s.argv[i + 1] = argv[i];
    int r = form->begin ? form->begin(&s.settings, &e) : 0;
    if (r == 0)
        r = launcher_main(&s, &e);
    if (form->end)
        form->end(&s.settings);
    if (r < 0)
        fprintf(stderr, "hob %s: %s\n", form->command->name, e.text);
    serve_settings_done(&s.settings);
    return r < 0 ? EXITS_FAILED : EXITS_OK;
}

int serve_main(int argc, char **argv)
{
    static const struct serve_form form = { .command = &cmd_serve, .read = serve_settings_read };
    return serve_as(&form, argc, argv);
}
