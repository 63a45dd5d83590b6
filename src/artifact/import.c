#include "artifact/import.h"
#include "os/fault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct import {
    struct cas *cas;
    const struct limits *limits;
    enum artifact_kind kind;
    int source_fd;
    char hex[DIGEST_HEX]; /* wanted, or empty */
    struct hasher *stream;
    char *block;
    char name[CAS_NAME]; /* of what is being built under ingest/; empty: nothing is */
    uint64_t taken;      /* room */
    struct tree tree;
    _Atomic uint64_t held;
    atomic_bool stop;
};

#define BLOCK_BYTES MIB(1)

struct import *import_new(struct cas *c, const struct limits *limits, enum artifact_kind kind,
                          int take_fd, const char *hex)
{
    struct import *im = xcalloc(1, sizeof *im);
    im->cas = c;
    im->limits = limits;
    im->kind = kind;
    im->source_fd = take_fd;
    snprintf(im->hex, sizeof im->hex, "%s", hex);
    im->stream = hasher_new();
    im->block = xcalloc(1, BLOCK_BYTES);
    tree_init(&im->tree, limits->artifact_files_max);
    return im;
}

/* Whatever was not committed goes. */
static void import_undo(struct import *im)
{
    if (im->name[0] != '\0')
        cas_erase(im->cas, im->name);
    im->name[0] = '\0';
    if (im->taken > 0)
        cas_room_give(im->cas, im->taken);
    im->taken = 0;
    tree_done(&im->tree);
    hasher_clear(im->stream);
}

void import_free(struct import *im)
{
    if (!im)
        return;
    import_undo(im);
    fd_auto(&im->source_fd);
    hasher_free(im->stream);
    free(im->block);
    free(im);
}

void import_stop(struct import *im) { atomic_store(&im->stop, true); }
uint64_t import_held(const struct import *im) { return atomic_load(&im->held); }

static int digest_check(const struct import *im, const char *found, struct err *e)
{
    if (im->hex[0] == '\0' || strcmp(im->hex, found) == 0)
        return 0;
    return err_set(e, CODE_DATA_LOSS, "expected sha256:%s, got sha256:%s", im->hex, found);
}

/* ---- one file ---------------------------------------------------------------------------- */

static int block_write(int fd, const char *block, size_t size, struct err *e)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = fault_hit("write") ? -1 : write(fd, block + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == ENOSPC || errno == EDQUOT))
            return err_set(e, CODE_EXHAUSTED, "disk full: %s", strerror(errno));
        if (n < 0)
            return err_sys(e, "write");
        done += (size_t)n;
    }
    return 0;
}

/* Copies and hashes to the end. A file that grows past the room taken for it is refused: it is being
 * written to, and no digest of it would mean anything. */
static int file_copy(struct import *im, int from, int to, uint64_t bytes, struct err *e)
{
    uint64_t done = 0;
    for (;;) {
        if (atomic_load(&im->stop))
            return err_set(e, CODE_CANCELLED, "stopped");
        ssize_t n = fault_hit("read") ? -1 : read(from, im->block, BLOCK_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(e, "read");
        if ((uint64_t)n > bytes - done || (n == 0 && done < bytes))
            return err_set(e, CODE_ABORTED, "changed while it was read");
        if (n == 0)
            return 0;
        int r = block_write(to, im->block, (size_t)n, e);
        if (r < 0)
            return r;
        hasher_add(im->stream, im->block, (size_t)n);
        done += (uint64_t)n;
        atomic_fetch_add(&im->held, (uint64_t)n);
    }
}

static int size_check(const struct import *im, uint64_t bytes, struct err *e)
{
    if (bytes > im->limits->artifact_bytes_max)
        return err_set(e, CODE_EXHAUSTED, "%llu bytes are more than %llu (limit artifact_bytes_max)",
                       (unsigned long long)bytes,
                       (unsigned long long)im->limits->artifact_bytes_max);
    return 0;
}

static int blob_build(struct import *im, int fd, uint64_t bytes, struct import_result *ret,
                      struct err *e)
{
    size_t leaf_count = 0;
    int r = file_copy(im, im->source_fd, fd, bytes, e);
    if (r < 0)
        return r;
    struct digest whole = hasher_end(im->stream);
    const struct digest *leaves = hasher_leaves(im->stream, &leaf_count);
    digest_hex(&whole, ret->hex);
    r = digest_check(im, ret->hex, e);
    if (r == 0)
        r = cas_commit_blob(im->cas, im->name, fd, ret->hex, leaves, leaf_count, e);
    if (r < 0)
        return r;
    im->name[0] = '\0'; /* committed: not ours to remove any more */
    im->taken = 0;
    return 0;
}

static int blob_import(struct import *im, const struct stat *st, struct import_result *ret,
                       uint64_t *ret_short, struct err *e)
{
    uint64_t bytes = (uint64_t)st->st_size;
    int r = size_check(im, bytes, e);
    if (r < 0)
        return r;
    cas_name_new(".file", im->name);
    AUTO_CLOSE int fd = fault_hit("open") ? -1
                                          : openat(cas_ingest_fd(im->cas), im->name,
                                                   O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_sys(e, "write %s", im->name);
    r = cas_room_take(im->cas, fd, 0, bytes, ret_short, e);
    if (r != 0)
        return r;
    im->taken = bytes;
    if (lseek(im->source_fd, 0, SEEK_SET) < 0)
        return err_sys(e, "seek");
    (void)posix_fadvise(im->source_fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    ret->bytes = bytes;
    ret->leaves = hasher_leaf_count(bytes);
    return blob_build(im, fd, bytes, ret, e);
}

/* ---- a folder: first look, then copy ------------------------------------------------------ */

static int link_look(struct import *im, int at, const char *name, const char *path, struct err *e)
{
    char target[TREE_PATH_MAX + 2];
    ssize_t n = readlinkat(at, name, target, sizeof target - 1);
    if (n < 0)
        return err_sys(e, "symlink %s", path);
    target[n] = '\0';
    struct tree_entry f = { .type = TREE_LINK, .path = (char *)(uintptr_t)path, .target = target };
    return tree_add(&im->tree, &f, e);
}

static int file_look(struct import *im, const struct stat *st, const char *path, struct err *e)
{
    if (st->st_mode & (S_ISUID | S_ISGID))
        return err_set(e, CODE_INVALID, "file %s: set-user-ID and set-group-ID files are not taken",
                       path);
    struct tree_entry f = { .type = TREE_FILE,
                            .path = (char *)(uintptr_t)path,
                            .size = (uint64_t)st->st_size,
                            .executable = (st->st_mode & 0111) != 0 };
    return tree_add(&im->tree, &f, e);
}

static int folder_look(struct import *im, int take_fd, const char *path, int depth, struct err *e);

static int name_look(struct import *im, int at, const char *name, const char *path, int depth,
                     struct err *e)
{
    struct stat st;
    if (atomic_load(&im->stop))
        return err_set(e, CODE_CANCELLED, "stopped");
    if (fault_hit("stat") || fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return err_sys(e, "%s", path);
    switch (st.st_mode & S_IFMT) {
    case S_IFREG: return file_look(im, &st, path, e);
    case S_IFLNK: return link_look(im, at, name, path, e);
    case S_IFDIR: break;
    default:
        return err_set(e, CODE_INVALID, "%s: devices, FIFOs and sockets are not taken", path);
    }
    struct tree_entry f = { .type = TREE_DIR, .path = (char *)(uintptr_t)path };
    int r = tree_add(&im->tree, &f, e);
    if (r < 0)
        return r;
    int fd = fault_hit("open") ? -1 : openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_sys(e, "open folder %s", path);
    return folder_look(im, fd, path, depth + 1, e);
}

static int folder_look(struct import *im, int take_fd, const char *path, int depth, struct err *e)
{
    int r = 0;
    DIR *dir = depth <= TREE_DEPTH_MAX && !fault_hit("opendir") ? fdopendir(take_fd) : NULL;
    if (!dir) {
        (void)close(take_fd);
        return err_set(e, CODE_INVALID, "folder %s: cannot be listed, or nested deeper than %d", path,
                       TREE_DEPTH_MAX);
    }
    for (struct dirent *d; r == 0 && (d = readdir(dir)) != NULL;) {
        if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
            continue;
        AUTO_FREE char *below = xasprintf("%s%s%s", path, path[0] ? "/" : "", d->d_name);
        r = name_look(im, dirfd(dir), d->d_name, below, depth, e);
    }
    closedir(dir);
    return r;
}

static int tree_look(struct import *im, struct err *e)
{
    int fd = fault_hit("open") ? -1 : openat(im->source_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(e, "open folder");
    int r = folder_look(im, fd, "", 0, e);
    if (r == 0)
        r = tree_sort(&im->tree, e);
    return r < 0 ? r : size_check(im, im->tree.file_bytes, e);
}

static int beneath(int at, const char *path, int flags)
{
    struct open_how how = { .flags = (uint64_t)(unsigned)flags,
                            .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
    if (!(flags & O_PATH))
        how.resolve |= RESOLVE_NO_SYMLINKS;
    return (int)syscall(SYS_openat2, at, path, &how, sizeof how);
}

static int tree_file_copy(struct import *im, int stage, struct tree_entry *f, struct err *e)
{
    struct stat st;
    AUTO_CLOSE int from = fault_hit("open") ? -1 : beneath(im->source_fd, f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (from < 0)
        return err_sys(e, "open %s", f->path);
    /* Between the look and this the name may have become something else. */
    if (fstat(from, &st) < 0 || !S_ISREG(st.st_mode) || (st.st_mode & (S_ISUID | S_ISGID)))
        return err_set(e, CODE_ABORTED, "file %s: changed while it was read", f->path);
    AUTO_CLOSE int to = fault_hit("open") ? -1
                                          : openat(stage, f->path,
                                                   O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (to < 0)
        return err_sys(e, "write %s", f->path);
    int r = file_copy(im, from, to, f->size, e);
    if (r < 0)
        return err_wrap(e, "file %s", f->path);
    f->digest = hasher_end(im->stream);
    const struct timespec times[2] = { { 0, UTIME_OMIT }, st.st_mtim };
    if (futimens(to, times) < 0 || fchmod(to, f->executable ? 0555 : 0444) < 0)
        return err_sys(e, "mode of %s", f->path);
    return 0;
}

static int entry_copy(struct import *im, int stage, struct tree_entry *f, struct err *e)
{
    switch (f->type) {
    case TREE_FILE: return tree_file_copy(im, stage, f, e);
    case TREE_DIR:
        return fault_hit("mkdir") || mkdirat(stage, f->path, 0755) < 0 ? err_sys(e, "make %s", f->path) : 0;
    case TREE_LINK:
        return fault_hit("symlink") || symlinkat(f->target, stage, f->path) < 0
                   ? err_sys(e, "link %s", f->path)
                   : 0;
    }
    UNREACHABLE("an entry has one of three types");
}

/* Asked of the kernel, in the finished copy: what a chain of links leads to cannot be read off the
 * targets one by one. */
static int link_check(int stage, const struct tree_entry *f, struct err *e)
{
    AUTO_CLOSE int fd = beneath(stage, f->path, O_PATH | O_CLOEXEC);
    if (fd >= 0)
        return 0;
    return err_set(e, CODE_INVALID, "symlink %s: points %s (%s)", f->path,
                   errno == ENOENT ? "at nothing in the folder" : "outside the folder, or in a circle",
                   f->target);
}

/* Children before their folder, so that a folder is still writable while it is filled. */
static int tree_seal(struct import *im, int stage, struct err *e)
{
    for (size_t i = im->tree.count; i-- > 0;) {
        const struct tree_entry *f = &im->tree.entries[i];
        int r = f->type == TREE_LINK ? link_check(stage, f, e) : 0;
        if (r < 0)
            return r;
        if (f->type == TREE_DIR && fchmodat(stage, f->path, 0555, 0) < 0)
            return err_sys(e, "mode of %s", f->path);
    }
    return 0;
}

static int tree_commit(struct import *im, struct import_result *ret, struct err *e)
{
    size_t leaf_count = 0;
    struct buf text;
    const struct digest *leaves = hasher_leaves(im->stream, &leaf_count);
    buf_init(&text, tree_text_max(im->limits->artifact_files_max));
    tree_format(&im->tree, &text);
    ASSERT(!text.overflow);
    struct digest d = hasher_of(buf_at(&text), text.size);
    digest_hex(&d, ret->hex);
    int r = digest_check(im, ret->hex, e);
    if (r == 0)
        r = cas_commit_tree(im->cas, im->name, buf_str(&text), ret->hex, leaves, leaf_count, e);
    buf_done(&text);
    if (r < 0)
        return r;
    im->name[0] = '\0';
    if (r == 1) /* it was there already: our copy is gone, and so is its room */
        cas_room_give(im->cas, im->taken);
    im->taken = 0;
    return 0;
}

static int tree_build(struct import *im, int stage, struct import_result *ret, struct err *e)
{
    for (size_t i = 0; i < im->tree.count; i++) {
        int r = entry_copy(im, stage, &im->tree.entries[i], e);
        if (r < 0)
            return r;
    }
    int r = tree_seal(im, stage, e);
    return r < 0 ? r : tree_commit(im, ret, e);
}

static int tree_import(struct import *im, struct import_result *ret, uint64_t *ret_short,
                       struct err *e)
{
    int r = tree_look(im, e);
    if (r < 0)
        return r;
    r = cas_room_take(im->cas, -1, 0, im->tree.file_bytes, ret_short, e);
    if (r != 0)
        return r;
    im->taken = im->tree.file_bytes;
    ret->tree = true;
    ret->bytes = im->tree.file_bytes;
    ret->leaves = tree_leaf_count(&im->tree);
    cas_name_new(".folder", im->name);
    int at = cas_ingest_fd(im->cas);
    if (fault_hit("mkdir") || mkdirat(at, im->name, 0755) < 0)
        return err_sys(e, "make %s", im->name);
    AUTO_CLOSE int stage = fault_hit("open") ? -1 : openat(at, im->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (stage < 0)
        return err_sys(e, "open %s", im->name);
    return tree_build(im, stage, ret, e);
}

int import_run(struct import *im, struct import_result *ret, uint64_t *ret_short, struct err *e)
{
    struct stat st;
    struct import_result result = { 0 };
    int r;
    if (fault_hit("stat") || fstat(im->source_fd, &st) < 0)
        return err_sys(e, "stat");
    if (S_ISDIR(st.st_mode))
        r = tree_import(im, &result, ret_short, e);
    else if (S_ISREG(st.st_mode) && im->kind == ARTIFACT_MODEL)
        r = blob_import(im, &st, &result, ret_short, e);
    else
        r = err_set(e, CODE_INVALID, im->kind == ARTIFACT_MODEL ? "is neither a file nor a folder" : "is not a folder");
    if (r != 0)
        import_undo(im);
    else
        *ret = result;
    return r;
}
