#include "sandbox/command.h"
#include "base/str.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

int command_exec(char *const *argv, char *const *env, struct err *e)
{
    const char *path = "/usr/local/bin:/usr/bin:/bin", *name = argv[0];
    char full[4096];
    int worst = ENOENT;
    if (strchr(name, '/')) {
        execve(name, argv, env);
        return err_sys(e, "command %s", name);
    }
    for (char *const *v = env; *v; v++)
        if (strncmp(*v, "PATH=", 5) == 0)
            path = *v + 5;
    for (struct str rest = str_of(path); rest.size > 0;) {
        struct str dir = str_cut(&rest, ':');
        int n = snprintf(full, sizeof full, STR_FMT "/%s", STR_ARG(dir), name);
        if (dir.size == 0 || n < 0 || (size_t)n >= sizeof full)
            continue;
        execve(full, argv, env);
        if (errno != ENOENT && errno != ENOTDIR)
            worst = errno;
    }
    errno = worst;
    return err_sys(e, "command %s (looked for in %.200s)", name, path);
}
