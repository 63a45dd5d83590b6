/* serve.c -- `hob serve`: settings, sockets and folders; then this process is the launcher, and runs
 * itself again as node and as fetcher (HOB_ROLE; descriptors at fixed numbers). */
#include "artifact/fetcher.h"
#include "base/log.h"
#include "cli/cli.h"
#include "node/jail.h"
#include "node/node.h"
#include "os/fault.h"
#include "os/ns.h"
#include "sandbox/launcher.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where a role finds its descriptors. */
enum { FD_LINK = 3, FD_INGRESS, FD_API, FD_READY, FD_ROLE_END };
enum { FILE_ROOTS_MAX = 16, BACKLOG = 4096, ADDRESS_MAX = 64 };

struct settings {
    struct limits limits;
    const char *listen_ingress, *listen_api, *data;
    const char *roots[FILE_ROOTS_MAX];
    size_t root_count;
    struct origin_policy origins;
    int ready_fd;
    bool insecure, verbose;
};

/* ---- settings ------------------------------------------------------------------------------- */

static int add_limit(struct settings *s, const char *text, struct err *e)
{
    struct str value = str_of(text), name = str_cut(&value, '=');
    return limits_set(&s->limits, name, value, e);
}

static int set_fd(struct settings *s, const char *text, struct err *e)
{
    uint64_t n;
    if (!str_u64(str_of(text), &n) || n > 1000000)
        return err_set(e, CODE_INVALID, "--ready-fd: '%s' is no descriptor", text);
    s->ready_fd = (int)n;
    return 0;
}

static int add_root(struct settings *s, const char *text, struct err *e)
{
    if (s->root_count == FILE_ROOTS_MAX)
        return err_set(e, CODE_EXHAUSTED, "--file-root: more than %d", FILE_ROOTS_MAX);
    s->roots[s->root_count++] = text;
    return 0;
}

static int set_origins(struct settings *s, const char *text, struct err *e)
{
    int r = origin_policy_parse(text, &s->origins, e);
    return r < 0 ? err_wrap(e, "--model-origins") : 0;
}

static const struct serve_flag {
    const char *name, *value, *help;
    size_t offset; /* of a text in struct settings, when there is no `set` */
    int (*set)(struct settings *s, const char *text, struct err *e);
} flags[] = {
    { "--listen-ingress", "ADDRESS", "functions, by Host header (127.0.0.1:8080; port 0: any)",
      offsetof(struct settings, listen_ingress), NULL },
    { "--listen-api", "ADDRESS", "API, metrics, health (127.0.0.1:8081; port 0: any)",
      offsetof(struct settings, listen_api), NULL },
    { "--data", "FOLDER", "everything hob keeps on this machine (./hob-data)",
      offsetof(struct settings, data), NULL },
    { "--file-root", "FOLDER",
      "file:// images and models may come from here; may be repeated (the current folder)", 0,
      add_root },
    { "--model-origins", "LIST",
      "where http(s) models may come from: public, private, loopback, link-local, networks "
      "(" ORIGIN_POLICY_DEFAULT ")", 0, set_origins },
    { "--limit", "NAME=N", "change a limit; see hob limits; may be repeated", 0, add_limit },
    { "--ready-fd", "N", "write one line of JSON with the addresses here when serving", 0, set_fd },
};

static void usage(FILE *out)
{
    fprintf(out, "Examples:\n"
                 "  hob serve                         on 127.0.0.1, data in ./hob-data\n"
                 "  hob serve --data /var/lib/hob     somewhere else\n"
                 "  hob serve --limit sandbox_pool=8  with another limit\n\n"
                 "Usage: hob serve [options]\n\nOptions:\n");
    for (size_t i = 0; i < COUNT_OF(flags); i++)
        fprintf(out, "  %-16s %-8s  %s\n", flags[i].name, flags[i].value, flags[i].help);
    fprintf(out, "  %-16s %-8s  %s\n", "--insecure", "",
            "allow addresses beyond this machine though there is no TLS and no token yet");
    fprintf(out, "  %-16s %-8s  %s\n", "--verbose", "", "log what only a developer wants to see");
}

static int flag_apply(struct settings *s, const struct serve_flag *f, const char *text,
                      struct err *e)
{
    if (f->set)
        return f->set(s, text, e);
    memcpy((char *)s + f->offset, &text, sizeof text);
    return 0;
}

/* `--name value` and `--name=value`. */
static int settings_read(struct settings *s, int argc, char **argv, struct err *e)
{
    *s = (struct settings){ .listen_ingress = CLI_INGRESS_DEFAULT, .listen_api = CLI_SERVER_DEFAULT,
                            .data = "hob-data", .ready_fd = -1 };
    limits_default(&s->limits);
    int parsed = origin_policy_parse(ORIGIN_POLICY_DEFAULT, &s->origins, e);
    ASSERT(parsed == 0);
    for (int i = 1; i < argc; i++) {
        struct str value = str_of(argv[i]), name = str_cut(&value, '=');
        bool joined = name.size < strlen(argv[i]);
        if (str_is(name, "--insecure") || str_is(name, "--verbose")) {
            *(name.at[2] == 'i' ? &s->insecure : &s->verbose) = true;
            continue;
        }
        size_t k = 0;
        while (k < COUNT_OF(flags) && !str_is(name, flags[k].name))
            k++;
        if (k == COUNT_OF(flags))
            return err_set(e, CODE_INVALID, "unknown option '%s'; hob serve --help lists them", argv[i]);
        if (!joined && i + 1 == argc)
            return err_set(e, CODE_INVALID, "%s: wants a value: %s", argv[i], flags[k].value);
        int r = flag_apply(s, &flags[k], joined ? value.at : argv[++i], e);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- sockets and folders ---------------------------------------------------------------------- */

static int address_read(const char *flag, const char *text, struct sockaddr_storage *ret,
                        socklen_t *ret_size, bool *ret_local, struct err *e)
{
    char host[ADDRESS_MAX];
    const char *colon = strrchr(text, ':');
    uint64_t port;
    size_t size = colon ? (size_t)(colon - text) : 0;
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)ret;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)ret;
    memset(ret, 0, sizeof *ret);
    if (!colon || size == 0 || size >= sizeof host || !str_u64(str_of(colon + 1), &port) ||
        port > 65535)
        return err_set(e, CODE_INVALID, "%s: '%s' is not ADDRESS:PORT", flag, text);
    bool bracketed = text[0] == '[' && colon[-1] == ']';
    snprintf(host, sizeof host, "%.*s", (int)(size - (bracketed ? 2 : 0)), text + bracketed);
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        *ret_size = sizeof *v4;
        *ret_local = ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    } else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        *ret_size = sizeof *v6;
        *ret_local = IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
    } else {
        return err_set(e, CODE_INVALID, "%s: '%s' is not a numeric address", flag, host);
    }
    return 0;
}

static void address_shown(int fd, char into[ADDRESS_MAX])
{
    struct sockaddr_storage a;
    socklen_t size = sizeof a;
    char host[INET6_ADDRSTRLEN] = "";
    if (getsockname(fd, (struct sockaddr *)&a, &size) == 0 && a.ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&a;
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        snprintf(into, ADDRESS_MAX, "%s:%u", host, ntohs(v4->sin_port));
    } else {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&a;
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        snprintf(into, ADDRESS_MAX, "[%.46s]:%u", host, ntohs(v6->sin6_port));
    }
}

static int listen_at(const char *flag, const char *text, bool insecure, int *ret_fd, struct err *e)
{
    struct sockaddr_storage a;
    socklen_t size = 0;
    bool local = false;
    const int one = 1;
    int r = address_read(flag, text, &a, &size, &local, e);
    if (r < 0)
        return r;
    if (!local && !insecure)
        return err_set(e, CODE_DENIED,
                       "%s %s: anybody on the network could deploy and call functions, as there is no "
                       "TLS and no token yet; listen on 127.0.0.1, or say --insecure",
                       flag, text);
    AUTO_CLOSE int fd =
        fault_hit("socket") ? -1 : socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_sys(e, "%s: socket", flag);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fault_hit("listen") || bind(fd, (struct sockaddr *)&a, size) < 0 || listen(fd, BACKLOG) < 0)
        return err_sys(e, "%s: listen on %s", flag, text);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

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
    struct settings settings;
    char data[4096], store[4200];
    int ingress_fd, api_fd, program_fd;
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

/* In a fork of the launcher: what the role may see is settled, then this program again. */
static _Noreturn void role_exec(const struct serve *s, const char *role, int link_fd,
                                const struct jail_spec *jail)
{
    struct err e;
    bool node = strcmp(role, "node") == 0;
    /* Out of the way of the fixed numbers first. */
    int high[] = { link_fd, s->program_fd, s->ingress_fd, s->api_fd, s->settings.ready_fd };
    for (size_t i = 0; i < COUNT_OF(high); i++)
        if (high[i] >= 0 && (high[i] = fcntl(high[i], F_DUPFD_CLOEXEC, FD_ROLE_END + 8)) < 0)
            _exit(70);
    terminal_leave();
    if (jail_enter(jail, &e) < 0)
        role_fail(role, &e);
    /* Whatever the operator's shell left open is not for those who parse bytes from outside. */
    if (close_range(FD_LINK, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
        _exit(70);
    fd_place(high[0], FD_LINK);
    for (int i = 2; node && i < 5; i++)
        if (high[i] >= 0)
            fd_place(high[i], FD_INGRESS + i - 2);
    environment_reduce();
    setenv("HOB_ROLE", role, 1);
    setenv("HOB_DATA_SHOWN", s->data, 1);
    setenv("HOB_READY", high[4] >= 0 ? "1" : "0", 1);
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

static int node_main(const struct settings *s, struct err *e)
{
    char ingress[ADDRESS_MAX], api[ADDRESS_MAX];
    const char *ready = getenv("HOB_READY"), *shown = getenv("HOB_DATA_SHOWN");
    address_shown(FD_INGRESS, ingress);
    address_shown(FD_API, api);
    for (int fd = FD_LINK; fd < FD_ROLE_END; fd++)
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    const struct node_config c = {
        .limits = &s->limits, .data_dir = "/data", .shown_dir = shown ? shown : "/data",
        .ingress_fd = FD_INGRESS, .api_fd = FD_API, .launcher_fd = FD_LINK,
        .ready_fd = ready && ready[0] == '1' ? FD_READY : -1, .ingress = ingress, .api = api,
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

static int role_main(const char *role, const struct settings *s)
{
    struct err e = { 0 };
    bool node = strcmp(role, "node") == 0;
    (void)signal(SIGPIPE, SIG_IGN);
    log_role_set(node ? "node" : "fetcher");
    fault_arm_outside(role);
    int r = node ? node_main(s, &e) : fetcher_run(FD_LINK, &s->limits, &s->origins, &e);
    if (r < 0)
        log_event(LOG_ERROR, "ended", "error=\"%s\"", LOG_QUOTED(e.text));
    if (!node)
        _exit(r < 0 ? EXITS_FAILED : EXITS_OK); /* its box leaves no calls for what comes at exit */
    return r < 0 ? EXITS_FAILED : EXITS_OK;
}

/* ---- the launcher ---------------------------------------------------------------------------------- */

static int roots_resolve(struct settings *s, struct err *e)
{
    if (s->root_count == 0) {
        char here[8];
        if (getcwd(here, sizeof here) && strcmp(here, "/") == 0) { /* as a service manager starts us */
            log_event(LOG_WARN, "no_file_root", "why=\"started in /, which is not published by default\"");
            return 0;
        }
        s->roots[s->root_count++] = ".";
    }
    for (size_t i = 0; i < s->root_count; i++) {
        char *full = realpath(s->roots[i], NULL); /* kept for the life of the process */
        if (!full)
            return err_sys(e, "--file-root %s", s->roots[i]);
        s->roots[i] = full;
    }
    return 0;
}

static int prepare(struct serve *s, struct err *e)
{
    int r = roots_resolve(&s->settings, e);
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
    const struct settings *t = &s->settings;
    r = listen_at("--listen-ingress", t->listen_ingress, t->insecure, &s->ingress_fd, e);
    if (r < 0)
        return r;
    return listen_at("--listen-api", t->listen_api, t->insecure, &s->api_fd, e);
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
    if (r < 0)
        return r;
    const struct launcher_config c = {
        .data_dir = s->data, .store_dir = s->store, .limits = &s->settings.limits,
        .file_roots = s->settings.roots, .file_root_count = s->settings.root_count,
        .children = { run_node, run_fetcher, s },
    };
    return launcher_run(&c, e);
}

static int ready_fd_check(const struct settings *s, struct err *e)
{
    if (s->ready_fd >= 0 && fcntl(s->ready_fd, F_GETFD) < 0)
        return err_set(e, CODE_INVALID, "--ready-fd: '%d' is no open descriptor", s->ready_fd);
    return 0;
}

int serve_main(int argc, char **argv)
{
    static struct serve s = { .ingress_fd = -1, .api_fd = -1, .program_fd = -1 };
    struct err e = { 0 };
    const char *role = role_given();
    if (argc > 1 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)) {
        usage(stdout);
        return EXITS_OK;
    }
    int read = settings_read(&s.settings, argc, argv, &e);
    if (read == 0 && !role) /* in a role the number is the operator's no more */
        read = ready_fd_check(&s.settings, &e);
    if (read < 0) {
        fprintf(stderr, "hob serve: %s\n", e.text);
        return EXITS_USAGE;
    }
    log_level_set(s.settings.verbose ? LOG_DEBUG : LOG_INFO);
    if (role)
        return role_main(role, &s.settings);
    s.argv = xcalloc((size_t)argc + 2, sizeof *s.argv); /* "hob" "serve" and what followed */
    s.argv[0] = argv[0];
    s.argv[1] = xstrdup("serve");
    for (int i = 1; i < argc; i++)
        s.argv[i + 1] = argv[i];
    int r = launcher_main(&s, &e);
    if (r < 0)
        fprintf(stderr, "hob serve: %s\n", e.text);
    return r < 0 ? EXITS_FAILED : EXITS_OK;
}
