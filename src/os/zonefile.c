#include "os/zonefile.h"

#include "os/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int read_all(int fd, struct buf *into, struct err *e)
{
    for (;;) {
        size_t room = 0;
        char *at = buf_reserve(into, 4096, &room);
        if (room == 0)
            return err_set(e, CODE_INVALID, "larger than any time zone");
        ssize_t n = fault_hit("zonefile.read") ? -1 : read(fd, at, room);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(e, "read");
        if (n == 0)
            return 0;
        buf_commit(into, (size_t)n);
    }
}

/* The folder has links, but none that leads out of it is followed. */
int zonefile_read(const char *dir, struct str name, struct buf *into, struct err *e)
{
    AUTO_CLOSE int folder = -1, fd = -1;
    char path[128];
    struct stat st;
    struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                            .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
    const int shown = (int)MIN(name.size, (size_t)100);
    if (snprintf(path, sizeof path, "%.*s", (int)name.size, name.at) >= (int)sizeof path ||
        memchr(name.at, 0, name.size))
        return err_set(e, CODE_INVALID, "time zone %.*s: no such name", shown, name.at);
    dir = dir ? dir : "/usr/share/zoneinfo";
    folder = fault_hit("zonefile.folder") ? -1 : open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return err_sys(e, "time zone %.*s: %s (is the package tzdata installed?)", shown, name.at, dir);
    fd = fault_hit("zonefile.open") ? -1 : (int)syscall(SYS_openat2, folder, path, &how, sizeof how);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return err_set(e, CODE_NOT_FOUND, "time zone %.*s: unknown", shown, name.at);
    if (fd < 0)
        return err_sys(e, "time zone %.*s", shown, name.at);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return err_set(e, CODE_NOT_FOUND, "time zone %.*s: unknown", shown, name.at);
    int r = read_all(fd, into, e);
    return r < 0 ? err_wrap(e, "time zone %.*s", shown, name.at) : 0;
}
