#include "cli/reach.h"
#include "base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { CANDIDATES = 4 };
struct candidates {
    char at[CANDIDATES][REACH_PATH_MAX];
    size_t count;
};

static void PRINTF_LIKE(2, 3) candidate(struct candidates *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int size = vsnprintf(c->at[c->count], REACH_PATH_MAX, fmt, ap);
    va_end(ap);
    if (size > 0 && size < REACH_PATH_MAX)
        c->count++;
}

/* What this user's hob would take, best first; then, for who only looks, what root's would. */
static struct candidates candidates_of(uid_t uid, bool looking)
{
    struct candidates c = { .count = 0 };
    const char *given = getenv("HOB_RUNTIME_DIR"), *runtime = getenv("XDG_RUNTIME_DIR");
    if (given && given[0]) {
        candidate(&c, "%s", given);
        return c;
    }
    if (uid == 0)
        candidate(&c, "/run/hob");
    else if (runtime && runtime[0] == '/')
        candidate(&c, "%s/hob", runtime);
    candidate(&c, "/tmp/hob-%u", uid);
    if (looking && uid != 0) {
        candidate(&c, "/run/hob");
        candidate(&c, "/tmp/hob-0");
    }
    return c;
}

/* A link, or a folder that others write to, could lead to somebody else's socket. */
static bool is_trusted(const char *folder, uid_t uid, bool ours)
{
    struct stat st;
    return lstat(folder, &st) == 0 && S_ISDIR(st.st_mode) && (st.st_mode & 022) == 0 &&
           (st.st_uid == uid || (!ours && st.st_uid == 0));
}

int reach_folder_make(char into[REACH_PATH_MAX], struct err *e)
{
    uid_t uid = geteuid();
    struct candidates c = candidates_of(uid, false);
    int r = err_set(e, CODE_INVALID, "the API's socket: HOB_RUNTIME_DIR is too long for a socket's path");
    for (size_t i = 0; i < c.count; i++) {
        if (mkdir(c.at[i], uid == 0 ? 0755 : 0700) < 0 && errno != EEXIST) {
            r = err_sys(e, "the API's socket: make %s", c.at[i]);
        } else if (!is_trusted(c.at[i], uid, true)) {
            r = err_set(e, CODE_DENIED,
                        "the API's socket: %s is no folder that only this user writes to; name another one in "
                        "HOB_RUNTIME_DIR", c.at[i]);
        } else {
            memcpy(into, c.at[i], REACH_PATH_MAX);
            return 0;
        }
    }
    return r;
}

int reach_socket_path(const char *folder, unsigned port, char into[REACH_PATH_MAX], struct err *e)
{
    int size = snprintf(into, REACH_PATH_MAX, "%s/api-%u.sock", folder, port);
    return size < REACH_PATH_MAX
               ? 0
               : err_set(e, CODE_INVALID, "the API's socket: %s is too long a path; name a shorter one in HOB_RUNTIME_DIR",
                         folder);
}

static bool answers(const char *path)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd >= 0 && (connect(fd, (const struct sockaddr *)(const void *)&to, sizeof to) == 0 ||
                       errno == EAGAIN); /* it is there, and busy */
}

static bool is_of_this_machine(struct str server)
{
    return str_starts(server, STR("127.")) || str_starts(server, STR("[::1]:")) ||
           str_starts(server, STR("localhost:"));
}

const char *reach_server(const char *server, char into[REACH_SERVER_MAX])
{
    const char *colon = strrchr(server, ':');
    struct err ignored;
    uint64_t port;
    char path[REACH_PATH_MAX];
    uid_t uid = geteuid();
    if (!is_of_this_machine(str_of(server)) || !colon || !str_u64(str_of(colon + 1), &port) || port > 65535)
        return server;
    struct candidates c = candidates_of(uid, true);
    for (size_t i = 0; i < c.count; i++) {
        if (!is_trusted(c.at[i], uid, false) || reach_socket_path(c.at[i], (unsigned)port, path, &ignored) < 0 ||
            !answers(path))
            continue;
        snprintf(into, REACH_SERVER_MAX, "unix:%s", path);
        return into;
    }
    return server;
}
