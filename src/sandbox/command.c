#include "sandbox/command.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HASHBANG_MAX = 256 }; /* as the kernel reads: BINPRM_BUF_SIZE */

/* What the file's first line names: "#!/bin/sh -e" gives /bin/sh. False: it is no script. */
static bool interpreter_of(const char *path, char into[HASHBANG_MAX], bool *ret_is_dos)
{
    char head[HASHBANG_MAX + 1];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t size = fd < 0 ? -1 : read(fd, head, HASHBANG_MAX);
    if (fd >= 0)
        (void)close(fd);
    if (size < 2 || head[0] != '#' || head[1] != '!')
        return false;
    head[size] = '\0';
    const char *name = head + 2 + strspn(head + 2, " \t");
    *ret_is_dos = name[strcspn(name, "\r\n")] == '\r';
    (void)snprintf(into, HASHBANG_MAX, "%.*s", (int)strcspn(name, " \t\r\n"), name);
    return *into != '\0';
}

/* execve says of a file and of what the file needs the same: which of the two is meant is looked up. Nothing
 * changes in an instance's folder, so what is said of it as CODE_INVALID is so at every try. */
static int why_not(const char *path, int sys, struct err *e)
{
    struct stat st, other;
    char by[HASHBANG_MAX];
    bool is_dos = false;
    errno = sys;
    if ((sys != EACCES && sys != ENOENT && sys != ENOEXEC) || stat(path, &st) < 0) {
        errno = sys;
        return err_sys(e, "command %s", path);
    }
    if (S_ISDIR(st.st_mode))
        return err_set(e, CODE_INVALID, "%.200s is a folder, not a program: name a file in it and deploy again", path);
    if (!(st.st_mode & 0111))
        return err_set(e, CODE_INVALID, "%.200s is not executable: chmod +x it and deploy again", path);
    if (sys == ENOEXEC)
        return err_set(e, CODE_INVALID,
                       "%.200s is no program for this machine (exec format error), nor does it begin with #! and an "
                       "interpreter", path);
    bool script = interpreter_of(path, by, &is_dos);
    if (script && sys == ENOENT)
        return err_set(e, CODE_INVALID, "%.100s is there, but its interpreter %.80s is missing%s", path, by,
                       is_dos ? ": its first line ends with a carriage return; save it with Unix line ends"
                              : " in the sandbox: name one of /usr, or bring it in the folder");
    if (script && stat(by, &other) == 0 && !(other.st_mode & 0111))
        return err_set(e, CODE_INVALID, "the interpreter of %.100s, %.80s, is not executable", path, by);
    if (sys == ENOENT)
        return err_set(e, CODE_INVALID,
                       "%.150s is there, but the dynamic linker it was built for is missing: link it statically, or "
                       "bring the linker in the folder", path);
    errno = sys;
    return err_sys(e, "command %s", path);
}

int command_exec(char *const *argv, char *const *env, struct err *e)
{
    const char *path = "/usr/local/bin:/usr/bin:/bin", *name = argv[0];
    char full[4096];
    if (strchr(name, '/')) {
        execve(name, argv, env);
        return why_not(name, errno, e);
    }
    for (char *const *v = env; *v; v++)
        if (strncmp(*v, "PATH=", 5) == 0)
            path = *v + 5;
    bool found = false;
    for (struct str rest = str_of(path); rest.size > 0;) {
        struct str dir = str_cut(&rest, ':');
        int n = snprintf(full, sizeof full, STR_FMT "/%s", STR_ARG(dir), name);
        if (dir.size == 0 || n < 0 || (size_t)n >= sizeof full)
            continue;
        execve(full, argv, env);
        int sys = errno;
        if ((sys != ENOENT && sys != ENOTDIR) || access(full, F_OK) == 0) {
            (void)why_not(full, sys, e); /* the last one found: those before it are told by mending it */
            found = true;
        }
    }
    if (found)
        return -(int)e->code;
    errno = ENOENT;
    return err_sys(e, "command %s (looked for in %.200s)", name, path);
}
