#include "sandbox/folders.h"
#include "os/fault.h"
#include "os/fd.h"
#include "os/mnt.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE_BYTES = 4096, NAME_ROOM = 16 };

/* What a file holds is whole pages; it costs an inode, and so does every directory. */
static void size_options(const struct order *p, char *into, size_t size)
{
    uint64_t inodes = 2 + (uint64_t)p->head->folder_count, pages = 16;
    for (uint32_t i = 0; i < p->head->file_count; i++) {
        pages += p->files[i].size / PAGE_BYTES + 2;
        inodes++;
        for (const char *c = p->files[i].path; *c; c++)
            inodes += *c == '/';
    }
    snprintf(into, size, "size=%llu,nr_inodes=%llu,mode=0755", (unsigned long long)(pages * PAGE_BYTES),
             (unsigned long long)inodes);
}

static int parents_make(int dir, const char *path, struct err *e)
{
    char part[PATH_MAX];
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(part, sizeof part, STR_FMT, (int)(slash - path), path);
        if (mkdirat(dir, part, 0755) < 0 && errno != EEXIST)
            return err_sys(e, "make %s", part);
    }
    return 0;
}

static int bytes_write(int fd, const char *data, size_t size, struct err *e)
{
    while (size > 0) {
        ssize_t n = fault_hit("write") ? -1 : write(fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_sys(e, "write");
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

/* Nothing is in the folder but what was made here: there is no link to follow. */
static int file_make(int dir, const struct sandbox_file *f, const struct folders_owner *owner, struct err *e)
{
    int r = parents_make(dir, f->path, e);
    if (r < 0)
        return r;
    AUTO_CLOSE int fd = fault_hit("open") ? -1
                                          : openat(dir, f->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                                                   0600);
    if (fd < 0)
        return err_sys(e, "make %s", f->path);
    r = bytes_write(fd, f->data, f->size, e);
    if (r < 0)
        return err_wrap(e, "%s", f->path);
    if (fchown(fd, owner->uid, owner->gid) < 0 || fchmod(fd, f->mode) < 0)
        return err_sys(e, "%s", f->path);
    return 0;
}

static int folder_make(int top, const struct sandbox_folder *f, uint32_t index, const struct folders_owner *owner,
                       struct err *e)
{
    char name[NAME_ROOM];
    snprintf(name, sizeof name, "%u", index);
    if (fault_hit("mkdir") || mkdirat(top, name, 0755) < 0)
        return err_sys(e, "make its folder");
    AUTO_CLOSE int dir = openat(top, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return err_sys(e, "open its folder");
    int r = 0;
    for (size_t i = 0; r == 0 && i < f->file_count; i++)
        r = file_make(dir, &f->files[i], owner, e);
    return r;
}

int folders_make(const struct order *p, const char *at, const struct folders_owner *owner, uint64_t key,
                 int *ret_top, struct err *e)
{
    char options[96];
    size_options(p, options, sizeof options);
    if (mkdir(at, 0755) < 0)
        return err_sys(e, "folders");
    int r = mnt_new("tmpfs", at, MS_NOSUID | MS_NODEV, options, key, e);
    if (r < 0)
        return err_wrap(e, "folders");
    AUTO_CLOSE int top = open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (top < 0)
        return err_sys(e, "folders");
    for (uint32_t i = 0; r >= 0 && i < p->head->folder_count; i++) {
        r = folder_make(top, &p->folders[i], i, owner, e);
        if (r < 0)
            return err_wrap(e, "files at %s", p->folders[i].target);
    }
    *ret_top = TAKE_FD(top);
    return 0;
}

int folders_take(int top, const struct order *p, uint32_t index, uint64_t key, struct err *e)
{
    const struct sandbox_folder *f = &p->folders[index];
    char path[NAME_ROOM + NAME_MAX + 1];
    snprintf(path, sizeof path, "%u%s%s", index, f->alone ? "/" : "", f->alone ? f->files[0].path : "");
    AUTO_CLOSE int tree = mnt_clone(top, path, false, key, e);
    if (tree < 0)
        return tree;
    int r = mnt_attrs(tree, "", MNT_RO_SAFE, false, key, e);
    return r < 0 ? r : TAKE_FD(tree);
}
