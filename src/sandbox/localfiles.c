#include "sandbox/localfiles.h"
#include "os/fault.h"
#include "os/fd.h"
#include "os/mnt.h"
#include "sandbox/protocol.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FILE_ROOTS_MAX = 64 };

struct localfiles {
    const char *const *names;
    size_t count;
    const char *data_real;
    int roots[FILE_ROOTS_MAX];
};

int localfiles_open(const char *const *roots, size_t count, const char *data_real, struct localfiles **ret,
                    struct err *e)
{
    AUTO(localfiles) struct localfiles *f = xcalloc(1, sizeof *f);
    f->names = roots;
    f->data_real = data_real;
    memset(f->roots, -1, sizeof f->roots);
    if (count > FILE_ROOTS_MAX)
        return err_set(e, CODE_EXHAUSTED, "file roots: more than %d", FILE_ROOTS_MAX);
    for (; f->count < count; f->count++) {
        const char *name = roots[f->count];
        if (name[0] != '/')
            return err_set(e, CODE_INVALID, "file root %s: not an absolute path", name);
        f->roots[f->count] = fault_hit("open") ? -1 : open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (f->roots[f->count] < 0)
            return err_sys(e, "file root %s", name);
    }
    *ret = TAKE(f);
    return 0;
}

void localfiles_free(struct localfiles *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < COUNT_OF(f->roots); i++)
        fd_auto(&f->roots[i]);
    free(f);
}

/* The root that path lies beneath, and what is left of it; -1: none. Where roots overlap, the first wins. */
static int root_find(const struct localfiles *f, const char *path, const char **ret_rest)
{
    for (size_t i = 0; i < f->count; i++) {
        const char *root = f->names[i];
        size_t n = strlen(root);
        while (n > 1 && root[n - 1] == '/')
            n--;
        if (strncmp(path, root, n) != 0 || (n > 1 && path[n] != '\0' && path[n] != '/'))
            continue;
        const char *rest = path + n;
        rest += strspn(rest, "/");
        *ret_rest = rest[0] ? rest : ".";
        return f->roots[i];
    }
    return -1;
}

/* A folder goes out as the root of a detached mount: from there ".." leads nowhere, and nothing
 * can be written, whatever the receiver is. */
static int folder_detach(int fd, struct err *e)
{
    AUTO_CLOSE int tree = mnt_clone(fd, "", true, 0, e);
    if (tree < 0)
        return tree;
    int r = mnt_attrs(tree, "", MNT_RO_SAFE | MOUNT_ATTR_NOEXEC, true, 0, e);
    if (r < 0)
        return r;
    int dir = openat(tree, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return dir < 0 ? err_sys(e, "open") : dir;
}

/* `path` is `folder`, or lies beneath it; both are real paths. */
static bool is_beneath(const char *path, const char *folder)
{
    size_t n = strlen(folder);
    return strncmp(path, folder, n) == 0 && (path[n] == '\0' || path[n] == '/' || n == 1);
}

/* Under a root that holds the data folder (the default, side by side), what hob keeps about every function,
 * their environments too, must not become an image of one. */
static int secrets_check(const struct localfiles *f, int look, const char *path, struct err *e)
{
    char same[32], real[PROTOCOL_PATH_MAX];
    snprintf(same, sizeof same, "/proc/self/fd/%d", look);
    ssize_t n = readlink(same, real, sizeof real);
    if (n < 0 || (size_t)n == sizeof real)
        return err_set(e, CODE_INVALID, "%.400s: where it really lies cannot be told", path);
    real[n] = '\0';
    if (is_beneath(real, f->data_real))
        return err_set(e, CODE_DENIED, "%.200s: lies in hob's own data folder", path);
    if (is_beneath(f->data_real, real))
        return err_set(e, CODE_DENIED,
                       "%.200s: holds hob's own data folder %.200s; name a folder beside it, or start "
                       "hob serve with --data elsewhere",
                       path, f->data_real);
    return 0;
}

/* What openat2 calls a cross-device link is one that leads out of the root. */
static int open_failed(const char *path, struct err *e)
{
    if (errno == EXDEV)
        return err_set(e, CODE_DENIED, "%.400s: leads out of its --file-root", path);
    return err_sys(e, "%.400s", path);
}

/* The path first and short, the fix before the list: what is cut on its way to a condition is the list's end. */
static int outside_refuse(const struct localfiles *f, const char *path, struct err *e)
{
    char roots[200] = "";
    size_t used = 0, told = 0, count = f->count;
    for (; told < count; told++) {
        size_t size = strlen(f->names[told]) + 2;
        if (used + size >= sizeof roots)
            break;
        (void)snprintf(roots + used, sizeof roots - used, "%s%s", told ? ", " : "", f->names[told]);
        used = strlen(roots);
    }
    if (told < count)
        return err_set(e, CODE_DENIED,
                       "%.120s: not beneath a --file-root; move it there, or start hob serve with one more: %s and %zu others",
                       path, roots, count - told);
    return err_set(e, CODE_DENIED,
                   "%.120s: not beneath a --file-root; move it there, or start hob serve with one more: there %s %s", path,
                   count == 1 ? "is" : "are", roots);
}

int localfiles_get(const struct localfiles *f, const char *path, struct err *e)
{
    struct stat st;
    struct open_how how = { .flags = O_PATH | O_CLOEXEC,
                            .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
    const char *rest;
    int root = root_find(f, path, &rest);
    if (root < 0 && f->count == 0)
        return err_set(e, CODE_DENIED,
                       "%.300s: hob was started without --file-root, so it reads no files of this machine; start it with "
                       "--file-root FOLDER", path);
    if (root < 0)
        return outside_refuse(f, path, e);
    /* Looked at before it is opened: opening a device or a pipe can have effects. */
    AUTO_CLOSE int look = fault_hit("openat2")
                              ? -1
                              : (int)syscall(SYS_openat2, root, rest, &how, sizeof how);
    if (look < 0 || fstat(look, &st) < 0)
        return open_failed(path, e);
    int r = secrets_check(f, look, path, e);
    if (r < 0)
        return r;
    if (S_ISDIR(st.st_mode)) {
        r = folder_detach(look, e);
        return r < 0 ? err_wrap(e, "%.300s", path) : r;
    }
    if (!S_ISREG(st.st_mode))
        return err_set(e, CODE_INVALID, "%.400s: neither a file nor a folder", path);
    /* This very file, not what has the name by now: a plain descriptor of a folder would let its
     * receiver walk up to the host's root. */
    char same[32];
    snprintf(same, sizeof same, "/proc/self/fd/%d", look);
    int fd = open(same, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return fd < 0 ? err_sys(e, "%.400s", path) : fd;
}
