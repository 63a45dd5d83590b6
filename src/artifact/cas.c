#include "artifact/cas.h"
#include "artifact/ref.h"
#include "os/fault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct cas {
    const struct limits *limits;
    int root_fd, blobs_fd, bundles_fd, ingest_fd;
    pthread_mutex_t lock; /* guards bytes, and makes look-then-reserve one step */
    uint64_t bytes;
};

/* A part that nobody came back for in this time is rubbish, too. */
enum { PART_AGE_S_MAX = 7 * 24 * 3600 };

/* ---- names ------------------------------------------------------------------------------ */

void cas_path(bool tree, const char *hex, char into[CAS_NAME])
{
    snprintf(into, CAS_NAME, "%s%s", tree ? "bundles/sha256-" : "blobs/sha256/", hex);
}

void cas_name_new(const char *suffix, char into[CAS_NAME])
{
    uint64_t random = 0;
    ssize_t n = getrandom(&random, sizeof random, 0);
    ASSERT(n == (ssize_t)sizeof random);
    snprintf(into, CAS_NAME, "new-%016llx%s", (unsigned long long)random, suffix);
}

int cas_ingest_fd(const struct cas *c) { return c->ingest_fd; }

/* ---- opening ---------------------------------------------------------------------------- */

static int dir_make(int at, const char *name, int *ret_fd, struct err *e)
{
    if (mkdirat(at, name, 0755) < 0 && errno != EEXIST)
        return err_sys(e, "make folder %s", name);
    int fd = fault_hit("open") ? -1 : openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return err_sys(e, "open folder %s", name);
    *ret_fd = fd;
    return 0;
}

static int dirs_make(struct cas *c, const char *dir, struct err *e)
{
    AUTO_CLOSE int above = -1;
    int r = dir_make(AT_FDCWD, dir, &c->root_fd, e);
    if (r == 0)
        r = dir_make(c->root_fd, "blobs", &above, e);
    if (r == 0)
        r = dir_make(above, "sha256", &c->blobs_fd, e);
    if (r == 0)
        r = dir_make(c->root_fd, "bundles", &c->bundles_fd, e);
    if (r == 0)
        r = dir_make(c->root_fd, "ingest", &c->ingest_fd, e);
    return r;
}

/* Says to other tools that read image stores what this is. */
static int layout_write(struct cas *c, struct err *e)
{
    static const char text[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
    AUTO_CLOSE int fd = openat(c->root_fd, "oci-layout", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0 || fault_hit("write") || write(fd, text, sizeof text - 1) != (ssize_t)sizeof text - 1)
        return err_sys(e, "write oci-layout");
    return 0;
}

int cas_open(const char *dir, const struct limits *limits, struct cas **ret, struct err *e)
{
    AUTO(cas) struct cas *c = xcalloc(1, sizeof *c);
    c->limits = limits;
    c->root_fd = c->blobs_fd = c->bundles_fd = c->ingest_fd = -1;
    pthread_mutex_init(&c->lock, NULL);
    int r = dirs_make(c, dir, e);
    if (r == 0)
        r = layout_write(c, e);
    if (r < 0)
        return err_wrap(e, "content store %s", dir);
    *ret = TAKE(c);
    return 0;
}

void cas_free(struct cas *c)
{
    if (!c)
        return;
    fd_auto(&c->root_fd);
    fd_auto(&c->blobs_fd);
    fd_auto(&c->bundles_fd);
    fd_auto(&c->ingest_fd);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* ---- room ------------------------------------------------------------------------------- */

static int room_reserve(int fd, uint64_t offset, uint64_t need, struct err *e)
{
    if (fd < 0 || need == 0)
        return 0;
    /* KEEP_SIZE: the file's size goes on saying how much has come */
    if (fault_hit("fallocate") ||
        fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)need) < 0) {
        if (errno == EOPNOTSUPP)
            return 0;
        return err_sys(e, "reserve %llu bytes", (unsigned long long)need);
    }
    return 0;
}

int cas_room_take(struct cas *c, int fd, uint64_t offset, uint64_t need, uint64_t *ret_short,
                  struct err *e)
{
    struct statvfs vfs;
    if (fault_hit("statvfs") || fstatvfs(c->root_fd, &vfs) < 0)
        return err_sys(e, "content store: free space");
    pthread_mutex_lock(&c->lock);
    struct plan_disk disk = { vfs.f_bavail * vfs.f_frsize, c->bytes };
    uint64_t short_by = plan_room_short(c->limits, &disk, need);
    int r = short_by > 0 ? 1 : room_reserve(fd, offset, need, e);
    if (r == 0)
        c->bytes += need;
    pthread_mutex_unlock(&c->lock);
    if (r == 1) {
        *ret_short = short_by;
        err_set(e, CODE_EXHAUSTED,
                "disk: %llu bytes more do not fit: %llu are free, %llu stored (limits store_free_bytes_min, "
                "store_bytes_max)",
                (unsigned long long)need, (unsigned long long)disk.free_bytes,
                (unsigned long long)disk.store_bytes);
    }
    return r;
}

void cas_room_give(struct cas *c, uint64_t bytes)
{
    pthread_mutex_lock(&c->lock);
    ASSERT(c->bytes >= bytes);
    c->bytes -= bytes;
    pthread_mutex_unlock(&c->lock);
}

uint64_t cas_bytes(struct cas *c)
{
    pthread_mutex_lock(&c->lock);
    uint64_t bytes = c->bytes;
    pthread_mutex_unlock(&c->lock);
    return bytes;
}

static void room_count(struct cas *c, uint64_t bytes)
{
    pthread_mutex_lock(&c->lock);
    c->bytes += bytes;
    pthread_mutex_unlock(&c->lock);
}

/* ---- erasing ---------------------------------------------------------------------------- */

static void erase_at(int at, const char *name, int depth);

static void erase_folder(int at, const char *name, int depth)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)fchmod(fd, 0700); /* committed folders cannot be written, not even to empty them */
    DIR *dir = fdopendir(fd);
    if (!dir) {
        (void)close(fd);
        return;
    }
    for (struct dirent *d; (d = readdir(dir)) != NULL;)
        if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
            erase_at(dirfd(dir), d->d_name, depth + 1);
    closedir(dir);
    (void)unlinkat(at, name, AT_REMOVEDIR);
}

static void erase_at(int at, const char *name, int depth)
{
    if (unlinkat(at, name, 0) == 0 || (errno != EISDIR && errno != EPERM))
        return;
    if (depth <= TREE_DEPTH_MAX + 1)
        erase_folder(at, name, depth);
}

void cas_erase(struct cas *c, const char *ingest_name) { erase_at(c->ingest_fd, ingest_name, 0); }

int cas_detach(struct cas *c, bool tree, const char *hex, char ret_name[CAS_NAME], struct err *e)
{
    char from[CAS_NAME], beside[CAS_NAME + 16], to[CAS_NAME];
    int at = tree ? c->bundles_fd : c->blobs_fd;
    snprintf(from, sizeof from, "%s%s", tree ? "sha256-" : "", hex);
    cas_name_new(".gone", to);
    if (tree) /* moving a folder writes its `..`: it must be writable for that moment */
        (void)!fchmodat(at, from, 0755, 0);
    if (fault_hit("rename") || renameat(at, from, c->ingest_fd, to) < 0)
        return err_sys(e, "remove %s", from);
    snprintf(beside, sizeof beside, "%s.leaves", from);
    (void)unlinkat(at, beside, 0);
    snprintf(beside, sizeof beside, "%s.manifest", from);
    if (tree)
        (void)unlinkat(at, beside, 0);
    memcpy(ret_name, to, CAS_NAME);
    return 0;
}

int cas_part_detach(struct cas *c, const char *hex, char ret_name[CAS_NAME], struct err *e)
{
    char part[CAS_NAME], note[CAS_NAME], to[CAS_NAME];
    snprintf(part, sizeof part, "%s.part", hex);
    snprintf(note, sizeof note, "%s.origin", hex);
    cas_name_new(".gone", to);
    if (fault_hit("rename") || renameat(c->ingest_fd, part, c->ingest_fd, to) < 0)
        return err_sys(e, "remove %s", part);
    (void)unlinkat(c->ingest_fd, note, 0);
    memcpy(ret_name, to, CAS_NAME);
    return 0;
}

void cas_touch(struct cas *c, bool tree, const char *hex)
{
    char path[CAS_NAME];
    const struct timespec times[2] = { { 0, UTIME_OMIT }, { 0, UTIME_NOW } };
    cas_path(tree, hex, path);
    (void)utimensat(c->root_fd, path, times, AT_SYMLINK_NOFOLLOW);
}

/* ---- small files, whole or not at all ---------------------------------------------------- */

static int bytes_write(int fd, const void *data, size_t size)
{
    const char *at = data;
    while (size > 0) {
        ssize_t n = fault_hit("write") ? -1 : write(fd, at, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

static int file_save(struct cas *c, int at, const char *name, struct str bytes, struct err *e)
{
    char temporary[CAS_NAME];
    cas_name_new(".tmp", temporary);
    AUTO_CLOSE int fd = fault_hit("open") ? -1
                                          : openat(c->ingest_fd, temporary,
                                                   O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
    if (fd < 0)
        return err_sys(e, "write %s", name);
    if (bytes_write(fd, bytes.at, bytes.size) < 0 || fault_hit("fsync") || fsync(fd) < 0 ||
        renameat(c->ingest_fd, temporary, at, name) < 0) {
        err_sys(e, "write %s", name);
        (void)unlinkat(c->ingest_fd, temporary, 0);
        return -(int)e->code;
    }
    return 0;
}

static int file_load(int at, const char *name, size_t size_max, struct buf *into, struct err *e)
{
    AUTO_CLOSE int fd = openat(at, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return err_sys(e, "read %s", name);
    buf_init(into, size_max);
    for (ssize_t n = 1; n > 0;) {
        size_t room = 0;
        char *at_end = buf_reserve(into, 65536, &room);
        if (room == 0)
            return err_set(e, CODE_DATA_LOSS, "%s: longer than it can be", name);
        n = read(fd, at_end, room);
        if (n < 0 && errno != EINTR)
            return err_sys(e, "read %s", name);
        buf_commit(into, n > 0 ? (size_t)n : 0);
    }
    return 0;
}

/* ---- leaves ------------------------------------------------------------------------------ */

/* magic, bytes per leaf, count, the leaves, and the SHA-256 of all that */
struct leaves_head {
    char magic[8];
    uint64_t leaf_bytes, count;
};
static const char leaves_magic[8] = { 'h', 'o', 'b', 'l', 'e', 'a', 'f', '1' };

static void leaves_name(bool tree, const char *hex, char into[CAS_NAME])
{
    snprintf(into, CAS_NAME, "%s%s.leaves", tree ? "sha256-" : "", hex);
}

int cas_leaves_save(struct cas *c, bool tree, const char *hex, const struct digest *leaves,
                    size_t leaf_count, struct err *e)
{
    char name[CAS_NAME];
    size_t body = sizeof(struct leaves_head) + leaf_count * sizeof *leaves;
    AUTO_FREE char *bytes = xcalloc(1, body + sizeof(struct digest));
    struct leaves_head head = { .leaf_bytes = LEAF_BYTES, .count = leaf_count };
    memcpy(head.magic, leaves_magic, sizeof head.magic);
    memcpy(bytes, &head, sizeof head);
    if (leaf_count > 0)
        memcpy(bytes + sizeof head, leaves, leaf_count * sizeof *leaves);
    struct digest check = hasher_of(bytes, body);
    memcpy(bytes + body, check.at, sizeof check);
    leaves_name(tree, hex, name);
    return file_save(c, tree ? c->bundles_fd : c->blobs_fd, name,
                     (struct str){ bytes, body + sizeof check }, e);
}

/* NULL where they are missing or damaged: they can always be made again. */
static struct digest *leaves_load(struct cas *c, bool tree, const char *hex, size_t count)
{
    char name[CAS_NAME];
    struct buf b;
    struct err ignored;
    struct leaves_head head;
    struct digest *leaves = NULL;
    size_t body = sizeof head + count * sizeof *leaves;
    leaves_name(tree, hex, name);
    buf_init(&b, 1);
    int r = file_load(tree ? c->bundles_fd : c->blobs_fd, name, body + sizeof(struct digest) + 1, &b, &ignored);
    if (r == 0 && b.size == body + sizeof(struct digest)) {
        struct digest check = hasher_of(buf_at(&b), body);
        memcpy(&head, buf_at(&b), sizeof head);
        if (memcmp(check.at, buf_at(&b) + body, sizeof(struct digest)) == 0 && head.count == count &&
            head.leaf_bytes == LEAF_BYTES && memcmp(head.magic, leaves_magic, 8) == 0) {
            leaves = xcalloc(count + 1, sizeof *leaves);
            memcpy(leaves, buf_at(&b) + sizeof head, count * sizeof *leaves);
        }
    }
    buf_done(&b);
    return leaves;
}

/* ---- committing -------------------------------------------------------------------------- */

static int sync_dir(int fd, struct err *e)
{
    return fault_hit("fsync") || fsync(fd) < 0 ? err_sys(e, "sync folder") : 0;
}

/* 0: moved; 1: the name is there already */
static int move_in(struct cas *c, const char *from, int at, const char *to, struct err *e)
{
    if (!fault_hit("rename") && renameat2(c->ingest_fd, from, at, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno == EEXIST || errno == ENOTEMPTY)
        return 1;
    return err_sys(e, "rename %s", to);
}

int cas_commit_blob(struct cas *c, const char *ingest_name, int fd, const char *hex,
                    const struct digest *leaves, size_t leaf_count, struct err *e)
{
    struct stat st;
    if (fchmod(fd, 0444) < 0 || fault_hit("fsync") || fsync(fd) < 0 || fstat(fd, &st) < 0)
        return err_sys(e, "sync %s", ingest_name);
    int r = cas_leaves_save(c, false, hex, leaves, leaf_count, e);
    if (r == 0)
        r = move_in(c, ingest_name, c->blobs_fd, hex, e);
    bool moved = r == 0;
    if (r == 1) {
        (void)unlinkat(c->ingest_fd, ingest_name, 0);
        cas_room_give(c, (uint64_t)st.st_size);
        r = 0;
    }
    if (r < 0)
        return r;
    r = sync_dir(c->blobs_fd, e);
    if (r < 0 && moved) /* a name that may be gone after a crash is no commit */
        (void)unlinkat(c->blobs_fd, hex, 0);
    return r;
}

int cas_commit_tree(struct cas *c, const char *ingest_name, struct str manifest, const char *hex,
                    const struct digest *leaves, size_t leaf_count, struct err *e)
{
    char name[CAS_NAME], beside[CAS_NAME];
    struct err ignored;
    snprintf(name, sizeof name, "sha256-%s", hex);
    snprintf(beside, sizeof beside, "sha256-%s.manifest", hex);
    /* One syncfs instead of an fsync per file: a bundle is many small ones. */
    if (fault_hit("fsync") || syncfs(c->ingest_fd) < 0)
        return err_sys(e, "sync %s", ingest_name);
    int r = cas_leaves_save(c, true, hex, leaves, leaf_count, e);
    if (r == 0)
        r = file_save(c, c->bundles_fd, beside, manifest, e);
    if (r == 0)
        r = move_in(c, ingest_name, c->bundles_fd, name, e);
    if (r < 0)
        return r;
    if (r == 1)
        cas_erase(c, ingest_name); /* the caller gives its room back: it knows how much */
    else
        (void)!fchmodat(c->bundles_fd, name, 0555, 0);
    int synced = sync_dir(c->bundles_fd, e);
    if (synced < 0 && r == 0 && cas_detach(c, true, hex, name, &ignored) == 0)
        cas_erase(c, name); /* a name that may be gone after a crash is no commit */
    return synced < 0 ? synced : r;
}

/* ---- contents ---------------------------------------------------------------------------- */

static int content_blob(const char *hex, uint64_t bytes, struct cas_content *t, struct err *e)
{
    t->files = xcalloc(1, sizeof *t->files);
    t->file_count = 1;
    t->files[0] = (struct cas_file){ .path = xasprintf("blobs/sha256/%s", hex), .bytes = bytes };
    t->leaf_count = hasher_leaf_count(bytes);
    t->bytes = bytes;
    if (!ref_hex_parse(str_of(hex), &t->files[0].whole))
        return err_set(e, CODE_INTERNAL, "%s is no digest", hex);
    return 0;
}

static void content_files(const struct tree *m, const char *hex, struct cas_content *t)
{
    t->files = xcalloc(m->count + 1, sizeof *t->files);
    for (size_t i = 0; i < m->count; i++) {
        const struct tree_entry *f = &m->entries[i];
        if (f->type != TREE_FILE)
            continue;
        t->files[t->file_count++] =
            (struct cas_file){ .path = xasprintf("bundles/sha256-%s/%s", hex, f->path),
                               .bytes = f->size,
                               .leaf_first = t->leaf_count,
                               .whole = f->digest };
        t->leaf_count += hasher_leaf_count(f->size);
    }
    t->bytes = m->file_bytes;
}

static int manifest_load(struct cas *c, const char *hex, struct tree *ret, struct err *e)
{
    char name[CAS_NAME], found[65];
    struct buf text;
    snprintf(name, sizeof name, "sha256-%s.manifest", hex);
    buf_init(&text, 1);
    int r = file_load(c->bundles_fd, name, tree_text_max(c->limits->artifact_files_max), &text, e);
    if (r == 0) {
        struct digest d = hasher_of(buf_at(&text), text.size);
        digest_hex(&d, found);
        r = strcmp(found, hex) == 0 ? tree_parse(buf_str(&text), c->limits->artifact_files_max, ret, e)
                                    : err_set(e, CODE_DATA_LOSS, "%s: is damaged", name);
    }
    buf_done(&text);
    return r;
}

static int content_tree(struct cas *c, const char *hex, struct cas_content *t, struct err *e)
{
    AUTO(tree) struct tree m;
    tree_init(&m, 0);
    int r = manifest_load(c, hex, &m, e);
    if (r < 0)
        return r;
    content_files(&m, hex, t);
    return 0;
}

int cas_content_load(struct cas *c, bool tree, const char *hex, uint64_t bytes,
                     struct cas_content **ret, struct err *e)
{
    AUTO(cas_content) struct cas_content *t = xcalloc(1, sizeof *t);
    t->tree = tree;
    int r = tree ? content_tree(c, hex, t, e) : content_blob(hex, bytes, t, e);
    if (r < 0)
        return r;
    t->leaves = leaves_load(c, tree, hex, t->leaf_count);
    *ret = TAKE(t);
    return 0;
}

void cas_content_free(struct cas_content *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->file_count; i++)
        free(t->files[i].path);
    free(t->files);
    free(t->leaves);
    free(t);
}

int cas_content_open(const struct cas *c, const struct cas_file *f, struct err *e)
{
    struct stat st;
    AUTO_CLOSE int fd = fault_hit("open") ? -1 : openat(c->root_fd, f->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return err_sys(e, "open %s", f->path);
    if (fstat(fd, &st) < 0)
        return err_sys(e, "stat %s", f->path);
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != f->bytes)
        return err_set(e, CODE_DATA_LOSS, "%s: has %lld bytes, not %llu", f->path,
                       (long long)st.st_size, (unsigned long long)f->bytes);
    return TAKE_FD(fd);
}

static bool hex_valid(struct str hex)
{
    struct digest ignored;
    return ref_hex_parse(hex, &ignored);
}

/* ---- scanning ---------------------------------------------------------------------------- */

static int each_name(int at, int (*on_name)(struct cas *c, void *ctx, const char *name),
                     struct cas *c, void *ctx, struct err *e)
{
    int fd = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        err_sys(e, "list folder");
        fd_auto(&fd);
        return -(int)e->code;
    }
    for (struct dirent *d; (d = readdir(dir)) != NULL;)
        if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
            (void)on_name(c, ctx, d->d_name);
    closedir(dir);
    return 0;
}

struct scan {
    void (*on_found)(void *ctx, const struct cas_found *f);
    void *ctx;
};

static int64_t wall_ms(struct timespec t) { return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000; }

static bool exists(int at, const char *name) { return faccessat(at, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0; }

static int scan_blob(struct cas *c, void *ctx, const char *name)
{
    struct scan *s = ctx;
    struct stat st;
    struct str n = str_of(name);
    if (str_ends(n, STR(".leaves"))) {
        AUTO_FREE char *blob = xstrndup(name, n.size - 7);
        return exists(c->blobs_fd, blob) ? 0 : unlinkat(c->blobs_fd, name, 0);
    }
    if (!hex_valid(n) || fstatat(c->blobs_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        !S_ISREG(st.st_mode))
        return 0;
    uint64_t bytes = (uint64_t)st.st_size;
    struct cas_found f = { false, false, name, bytes, hasher_leaf_count(bytes), wall_ms(st.st_mtim) };
    room_count(c, f.bytes);
    s->on_found(s->ctx, &f);
    return 0;
}

static int scan_bundle(struct cas *c, void *ctx, const char *name)
{
    struct scan *s = ctx;
    struct stat st;
    struct err ignored;
    AUTO(tree) struct tree m;
    tree_init(&m, 0);
    struct str n = str_of(name), dot = n;
    struct str folder = str_cut(&dot, '.');
    if (!str_starts(n, STR("sha256-")) || !hex_valid(str_from(folder, 7)))
        return 0;
    if (folder.size < n.size) {
        AUTO_FREE char *beside = xstrndup(name, folder.size);
        return exists(c->bundles_fd, beside) ? 0 : unlinkat(c->bundles_fd, name, 0);
    }
    if (fstatat(c->bundles_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
        return 0;
    if (manifest_load(c, name + 7, &m, &ignored) < 0) { /* cannot be checked: not what it says */
        char gone[CAS_NAME];
        if (cas_detach(c, true, name + 7, gone, &ignored) == 0)
            cas_erase(c, gone);
        return 0;
    }
    if ((st.st_mode & 07777) != 0555) /* stopped between the rename and its mode */
        (void)!fchmodat(c->bundles_fd, name, 0555, 0);
    struct cas_found f = { true, false, name + 7, m.file_bytes, tree_leaf_count(&m), wall_ms(st.st_mtim) };
    room_count(c, f.bytes);
    s->on_found(s->ctx, &f);
    return 0;
}

static int scan_ingest(struct cas *c, void *ctx, const char *name)
{
    struct stat st;
    struct str n = str_of(name), rest = n;
    struct str hex = str_cut(&rest, '.');
    struct scan *s = ctx;
    bool part = str_is(rest, "part"), origin = str_is(rest, "origin");
    if (hex_valid(hex) && (part || origin) &&
        fstatat(c->ingest_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode)) {
        AUTO_FREE char *pair = xasprintf(STR_FMT ".part", STR_ARG(hex));
        bool fresh = loop_wall_ms() - wall_ms(st.st_mtim) < INT64_C(1000) * PART_AGE_S_MAX;
        if (fresh && part) {
            AUTO_FREE char *text = xstrndup(hex.at, hex.size);
            struct cas_found f = { false, true, text, (uint64_t)st.st_size, 0, wall_ms(st.st_mtim) };
            room_count(c, f.bytes);
            s->on_found(s->ctx, &f);
            return 0;
        }
        if (fresh && exists(c->ingest_fd, pair))
            return 0;
    }
    cas_erase(c, name);
    return 0;
}

int cas_scan(struct cas *c, void (*on_found)(void *ctx, const struct cas_found *f), void *ctx,
             struct err *e)
{
    struct scan s = { on_found, ctx };
    int r = each_name(c->blobs_fd, scan_blob, c, &s, e);
    if (r == 0)
        r = each_name(c->bundles_fd, scan_bundle, c, &s, e);
    if (r == 0)
        r = each_name(c->ingest_fd, scan_ingest, c, &s, e);
    return r;
}
