#include "cli/serve_listen.h"
#include "base/str.h"
#include "os/fault.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 4096 };

/* ---- TCP ---------------------------------------------------------------------------------------- */

static bool is_local(const struct sockaddr_storage *a)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)a;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)a;
    return a->ss_family == AF_INET ? ntohl(v4->sin_addr.s_addr) >> 24 == 127
                                   : a->ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

static int address_read(const struct listen_tcp *t, struct sockaddr_storage *ret, socklen_t *ret_size,
                        bool *ret_local, struct err *e)
{
    char host[LISTEN_ADDRESS_MAX];
    const char *text = t->address, *colon = strrchr(text, ':');
    uint64_t port;
    size_t size = colon ? (size_t)(colon - text) : 0;
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)ret;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)ret;
    memset(ret, 0, sizeof *ret);
    if (!colon || size == 0 || size >= sizeof host || !str_u64(str_of(colon + 1), &port) ||
        port > 65535)
        return err_set(e, CODE_INVALID, "%s: '%s' is not ADDRESS:PORT", t->flag, text);
    bool bracketed = text[0] == '[' && colon[-1] == ']';
    snprintf(host, sizeof host, "%.*s", (int)(size - (bracketed ? 2 : 0)), text + bracketed);
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        *ret_size = sizeof *v4;
    } else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        *ret_size = sizeof *v6;
    } else {
        return err_set(e, CODE_INVALID, "%s: '%s' is not a numeric address", t->flag, host);
    }
    *ret_local = is_local(ret);
    return 0;
}

static unsigned address_of(int fd, char host[INET6_ADDRSTRLEN], bool *ret_v6)
{
    struct sockaddr_storage a = { 0 };
    socklen_t size = sizeof a;
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&a;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&a;
    host[0] = '\0';
    *ret_v6 = getsockname(fd, (struct sockaddr *)&a, &size) < 0 || a.ss_family != AF_INET;
    if (*ret_v6)
        inet_ntop(AF_INET6, &v6->sin6_addr, host, INET6_ADDRSTRLEN);
    else
        inet_ntop(AF_INET, &v4->sin_addr, host, INET6_ADDRSTRLEN);
    return ntohs(*ret_v6 ? v6->sin6_port : v4->sin_port);
}

void listen_shown(int fd, char into[LISTEN_ADDRESS_MAX])
{
    char host[INET6_ADDRSTRLEN];
    bool v6;
    unsigned port = address_of(fd, host, &v6);
    snprintf(into, LISTEN_ADDRESS_MAX, v6 ? "[%.46s]:%u" : "%.46s:%u", host, port);
}

bool listen_beyond(int fd)
{
    struct sockaddr_storage a = { 0 };
    socklen_t size = sizeof a;
    if (getsockname(fd, (struct sockaddr *)&a, &size) < 0)
        return true;
    return !is_local(&a);
}

unsigned listen_port(int fd)
{
    char host[INET6_ADDRSTRLEN];
    bool v6;
    return address_of(fd, host, &v6);
}

int listen_tcp(const struct listen_tcp *t, int *ret_fd, struct err *e)
{
    struct sockaddr_storage a;
    socklen_t size = 0;
    bool local = false;
    const int one = 1;
    int r = address_read(t, &a, &size, &local, e);
    if (r < 0)
        return r;
    if (!local && !t->insecure)
        return err_set(e, CODE_DENIED,
                       "%s %s: there is no TLS, so anybody on the way %s; listen on 127.0.0.1, or say --insecure",
                       t->flag, t->address, t->danger);
    AUTO_CLOSE int fd =
        fault_hit("socket") ? -1 : socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_sys(e, "%s: socket", t->flag);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fault_hit("listen") || bind(fd, (struct sockaddr *)&a, size) < 0 || listen(fd, BACKLOG) < 0)
        return err_sys(e, "%s: listen on %s", t->flag, t->address);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

/* ---- the unix socket ------------------------------------------------------------------------------ */

static struct sockaddr_un local_address(const char *path)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    memcpy(a.sun_path, path, strnlen(path, sizeof a.sun_path - 1));
    return a;
}

static bool is_dead(const char *path)
{
    struct sockaddr_un a = local_address(path);
    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd >= 0 && connect(fd, (const struct sockaddr *)(const void *)&a, sizeof a) < 0 &&
           errno == ECONNREFUSED;
}

/* A name is given only to a socket that listens, so one that refuses has lost its hob. */
static void dead_remove(const char *folder)
{
    DIR *dir = opendir(folder);
    for (const struct dirent *d; dir && (d = readdir(dir));) {
        char path[REACH_PATH_MAX + sizeof d->d_name];
        bool named = strncmp(d->d_name, "api-", 4) == 0 && str_ends(str_of(d->d_name), STR(".sock"));
        int size = snprintf(path, sizeof path, "%s/%s", folder, d->d_name);
        if (named && size < REACH_PATH_MAX && is_dead(path))
            (void)unlink(path);
    }
    if (dir)
        closedir(dir);
}

static int group_find(const char *text, gid_t *ret, struct err *e)
{
    uint64_t number;
    const struct group *g;
    if (str_u64(str_of(text), &number) && number < UINT32_MAX)
        *ret = (gid_t)number;
    else if ((g = getgrnam(text)))
        *ret = g->gr_gid;
    else
        return err_set(e, CODE_INVALID, "--api-group: no group is called '%s' here", text);
    return 0;
}

static int local_open(const char *path, const gid_t *group, int *ret_fd, struct err *e)
{
    struct sockaddr_un a = local_address(path);
    AUTO_CLOSE int fd = fault_hit("socket") ? -1 : socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_sys(e, "the API's socket");
    mode_t before = umask(0177);
    int bound = bind(fd, (const struct sockaddr *)(const void *)&a, sizeof a);
    int failed = errno;
    (void)umask(before);
    errno = failed;
    if (bound < 0)
        return err_sys(e, "the API's socket: %s", path);
    if (fault_hit("listen") || listen(fd, BACKLOG) < 0 ||
        (group && (lchown(path, (uid_t)-1, *group) < 0 || chmod(path, 0660) < 0))) {
        int r = err_sys(e, "the API's socket: %s", path);
        (void)unlink(path);
        return r;
    }
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int listen_local(unsigned port, const char *group, char ret_path[REACH_PATH_MAX], int *ret_fd, struct err *e)
{
    char folder[REACH_PATH_MAX], path[REACH_PATH_MAX], fresh[REACH_PATH_MAX];
    gid_t gid = 0;
    int r = group ? group_find(group, &gid, e) : 0;
    if (r == 0)
        r = reach_folder_make(folder, e);
    if (r == 0)
        r = reach_socket_path(folder, port, path, e);
    if (r < 0)
        return r;
    dead_remove(folder);
    snprintf(fresh, sizeof fresh, "%.90s/.%u", folder, port); /* shorter than its final name */
    (void)unlink(fresh);
    AUTO_CLOSE int fd = -1;
    r = local_open(fresh, group ? &gid : NULL, &fd, e);
    if (r < 0)
        return r;
    if (fault_hit("rename") || rename(fresh, path) < 0) {
        r = err_sys(e, "the API's socket: %s", path);
        (void)unlink(fresh);
        return r;
    }
    memcpy(ret_path, path, sizeof path);
    *ret_fd = TAKE_FD(fd);
    return 0;
}
