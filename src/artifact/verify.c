#include "artifact/verify.h"
#include "os/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_cachestat
#define SYS_cachestat 451 /* Linux 6.5; older headers do not know it */
#endif

/* How far the disk is kept ahead of the hashing, all helpers together: enough requests for a fast
 * disk, and little enough that it is still in memory when its turn comes. */
#define AHEAD_BYTES MIB(32)
/* One read: small enough to be hashed while it is in the second-level cache. */
#define READ_BYTES KIB(256)
enum { HELPERS_MAX = 16 };

struct helper {
    struct work work;
    struct verify *run;
};

struct verify {
    struct verify_request q;
    struct verify_result result;
    struct work step; /* look, and whole */
    struct helper helpers[HELPERS_MAX];
    uint32_t helpers_busy;
    struct cas_content *content;
    uint32_t *leaf_file; /* leaf -> file */
    uint32_t *wanted;    /* leaves to be read, in order */
    size_t wanted_count;
    atomic_size_t next;
    _Atomic uint64_t hashed;
    atomic_bool stop;    /* asked to, or something is wrong already */
    atomic_bool mismatch;
    pthread_mutex_t lock; /* guards failed and error while helpers run */
    bool failed, stopped;
    struct err error;
};

static void fail(struct verify *v, const struct err *e)
{
    pthread_mutex_lock(&v->lock);
    if (!v->failed) {
        v->failed = true;
        v->error = *e;
    }
    pthread_mutex_unlock(&v->lock);
    atomic_store(&v->stop, true);
}

/* ---- the page cache ---------------------------------------------------------------------- */

struct cache_range {
    uint64_t from, size;
};
struct cache_counts {
    uint64_t cached, dirty, writeback, evicted, recently_evicted;
};

static int resident_mincore(int fd, uint64_t from, uint64_t size, uint64_t page, uint64_t *ret,
                            struct err *e)
{
    uint64_t begin = from / page * page, count = 0;
    size_t length = (size_t)(from + size - begin), pages = (length + page - 1) / page;
    void *at = mmap(NULL, length, PROT_READ, MAP_SHARED, fd, (off_t)begin);
    if (at == MAP_FAILED)
        return err_sys(e, "map");
    AUTO_FREE unsigned char *map = xcalloc(pages, 1);
    int r = mincore(at, length, map);
    (void)munmap(at, length);
    if (r < 0)
        return err_sys(e, "mincore");
    for (size_t i = 0; i < pages; i++)
        count += map[i] & 1;
    *ret = MIN(count * page, size);
    return 0;
}

int verify_resident(int fd, uint64_t from, uint64_t size, uint64_t *ret_bytes, struct err *e)
{
    struct cache_range range = { from, size };
    struct cache_counts counts;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    if (size == 0) {
        *ret_bytes = 0;
        return 0;
    }
    if (fault_hit("cachestat") || syscall(SYS_cachestat, fd, &range, &counts, 0) < 0)
        return resident_mincore(fd, from, size, page, ret_bytes, e);
    *ret_bytes = MIN(counts.cached * page, size);
    return 0;
}

/* ---- what has to be read ------------------------------------------------------------------ */

static uint64_t leaf_size(const struct cas_file *f, uint64_t leaf)
{
    return MIN(f->bytes - leaf * LEAF_BYTES, LEAF_BYTES);
}

static int leaf_want(struct verify *v, int fd, const struct cas_file *f, uint64_t leaf, bool whole_in,
                     struct err *e)
{
    uint64_t index = f->leaf_first + leaf, in = 0, size = leaf_size(f, leaf);
    int r = 0;
    if (v->q.known && v->q.known[index]) {
        if (whole_in)
            return 0;
        r = verify_resident(fd, leaf * LEAF_BYTES, size, &in, e);
        if (r < 0 || in >= size)
            return r;
    }
    v->wanted[v->wanted_count++] = (uint32_t)index;
    return 0;
}

static int file_look(struct verify *v, uint32_t index, uint64_t *resident, struct err *e)
{
    const struct cas_file *f = &v->content->files[index];
    uint64_t in = 0;
    AUTO_CLOSE int fd = cas_content_open(v->q.cas, f, e);
    int r = fd < 0 ? fd : verify_resident(fd, 0, f->bytes, &in, e);
    if (r < 0)
        return r;
    *resident += in;
    for (uint64_t leaf = 0; r >= 0 && leaf < hasher_leaf_count(f->bytes); leaf++) {
        v->leaf_file[f->leaf_first + leaf] = index;
        r = leaf_want(v, fd, f, leaf, in >= f->bytes, e);
    }
    return r < 0 ? r : 0;
}

static int look(struct verify *v, struct err *e)
{
    uint64_t resident = 0;
    int r = cas_content_load(v->q.cas, v->q.tree, v->q.hex, v->q.bytes, &v->content, e);
    if (r < 0)
        return r;
    v->leaf_file = xcalloc(v->content->leaf_count + 1, sizeof *v->leaf_file);
    v->wanted = xcalloc(v->content->leaf_count + 1, sizeof *v->wanted);
    for (uint32_t i = 0; r == 0 && i < v->content->file_count; i++)
        r = file_look(v, i, &resident, e);
    uint64_t bytes = MAX(v->content->bytes, UINT64_C(1));
    v->result.resident_permille =
        v->content->bytes == 0 ? 1000 : (uint32_t)(MIN(resident, bytes) * 1000 / bytes);
    return r;
}

static void look_run(struct work *w)
{
    struct verify *v = CONTAINER_OF(w, struct verify, step);
    struct err e;
    if (look(v, &e) < 0)
        fail(v, &e);
}

/* ---- helpers ------------------------------------------------------------------------------ */

struct reader { /* one helper's own */
    uint32_t file;
    int fd;
    EVP_MD_CTX *hash;
    char *block;
};

static int reader_turn(struct verify *v, struct reader *r, uint32_t file, struct err *e)
{
    if (r->fd >= 0 && r->file == file)
        return 0;
    fd_auto(&r->fd);
    r->fd = cas_content_open(v->q.cas, &v->content->files[file], e);
    r->file = file;
    return MIN(r->fd, 0);
}

/* Asks the disk for a leaf that some helper will want soon. */
static void ahead(struct verify *v, struct reader *r, size_t at)
{
    if (at >= v->wanted_count || v->leaf_file[v->wanted[at]] != r->file)
        return;
    const struct cas_file *f = &v->content->files[r->file];
    uint64_t leaf = v->wanted[at] - f->leaf_first;
    (void)posix_fadvise(r->fd, (off_t)(leaf * LEAF_BYTES), (off_t)leaf_size(f, leaf),
                        POSIX_FADV_WILLNEED);
}

static int leaf_hash(struct reader *r, uint64_t from, uint64_t size, struct digest *ret, struct err *e)
{
    int ok = EVP_DigestInit_ex(r->hash, EVP_sha256(), NULL);
    ASSERT(ok == 1);
    for (uint64_t done = 0; done < size;) {
        ssize_t n = fault_hit("read") ? -1
                                      : pread(r->fd, r->block, MIN(READ_BYTES, size - done), (off_t)(from + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(e, "read");
        if (n == 0)
            return err_set(e, CODE_DATA_LOSS, "ends too early");
        ok = EVP_DigestUpdate(r->hash, r->block, (size_t)n);
        ASSERT(ok == 1);
        done += (uint64_t)n;
    }
    ok = EVP_DigestFinal_ex(r->hash, ret->at, NULL);
    ASSERT(ok == 1);
    return 0;
}

static int leaf_verify(struct verify *v, struct reader *r, size_t at, struct err *e)
{
    uint32_t index = v->wanted[at];
    const struct cas_file *f = &v->content->files[v->leaf_file[index]];
    uint64_t leaf = index - f->leaf_first, size = leaf_size(f, leaf);
    struct digest found;
    int result = reader_turn(v, r, v->leaf_file[index], e);
    if (result < 0)
        return result;
    ahead(v, r, at + AHEAD_BYTES / LEAF_BYTES);
    result = leaf_hash(r, leaf * LEAF_BYTES, size, &found, e);
    if (result < 0)
        return err_wrap(e, "%s: byte %llu", f->path, (unsigned long long)(leaf * LEAF_BYTES));
    atomic_fetch_add(&v->hashed, size);
    if (memcmp(&found, &v->content->leaves[index], sizeof found) != 0) {
        atomic_store(&v->mismatch, true);
        atomic_store(&v->stop, true);
    } else if (v->q.known) {
        v->q.known[index] = 1;
    }
    return 0;
}

static void helper_run(struct work *w)
{
    struct verify *v = CONTAINER_OF(w, struct helper, work)->run;
    struct reader r = { .fd = -1, .hash = EVP_MD_CTX_new(), .block = xcalloc(1, READ_BYTES) };
    struct err e;
    ASSERT(r.hash);
    for (size_t at; !atomic_load(&v->stop) && (at = atomic_fetch_add(&v->next, 1)) < v->wanted_count;)
        if (leaf_verify(v, &r, at, &e) < 0)
            fail(v, &e);
    fd_auto(&r.fd);
    EVP_MD_CTX_free(r.hash);
    free(r.block);
}

/* ---- the whole, where leaves are missing or do not fit ------------------------------------ */

static int whole_file(struct verify *v, const struct cas_file *f, struct hasher *d, char *block,
                      struct err *e)
{
    AUTO_CLOSE int fd = cas_content_open(v->q.cas, f, e);
    if (fd < 0)
        return fd;
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    for (uint64_t done = 0; done < f->bytes;) {
        ssize_t n = pread(fd, block, READ_BYTES, (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(e, "read %s: byte %llu", f->path, (unsigned long long)done);
        if (atomic_load(&v->stop))
            return err_set(e, CODE_CANCELLED, "stopped");
        if (n == 0)
            break;
        hasher_add(d, block, (size_t)n);
        done += (uint64_t)n;
        atomic_fetch_add(&v->hashed, (uint64_t)n);
    }
    struct digest found = hasher_end(d);
    if (memcmp(&found, &f->whole, sizeof found) == 0)
        return 0;
    char want[65], got[65];
    digest_hex(&f->whole, want);
    digest_hex(&found, got);
    return err_set(e, CODE_DATA_LOSS, "%s: the copy on disk is damaged (expected sha256:%s, got sha256:%s)",
                   f->path, want, got);
}

static void whole_run(struct work *w)
{
    struct verify *v = CONTAINER_OF(w, struct verify, step);
    struct err e;
    size_t count = 0;
    AUTO(hasher) struct hasher *d = hasher_new();
    AUTO_FREE char *block = xcalloc(1, READ_BYTES);
    for (size_t i = 0; i < v->content->file_count; i++)
        if (whole_file(v, &v->content->files[i], d, block, &e) < 0) {
            fail(v, &e);
            return;
        }
    const struct digest *leaves = hasher_leaves(d, &count);
    ASSERT(count == v->content->leaf_count);
    /* Not being able to write them costs the next start time, not correctness. */
    int saved = cas_leaves_save(v->q.cas, v->q.tree, v->q.hex, leaves, count, &e);
    (void)saved;
    if (v->q.known)
        memset(v->q.known, 1, count);
}

/* ---- the run ------------------------------------------------------------------------------ */

static void verify_free(struct verify *v)
{
    cas_content_free(v->content);
    free(v->leaf_file);
    free(v->wanted);
    pthread_mutex_destroy(&v->lock);
    free(v);
}

static void finish(struct verify *v)
{
    if (v->stopped && !v->failed) {
        v->failed = true;
        err_set(&v->error, CODE_CANCELLED, "stopped");
    }
    v->result.hashed_bytes = atomic_load(&v->hashed);
    if (v->result.begin_us > 0)
        v->result.end_us = loop_clock_us(v->q.loop);
    v->q.on_done(v->q.ctx, v, &v->result, v->failed ? &v->error : NULL);
    verify_free(v);
}

static int step_submit(struct verify *v, void (*run)(struct work *), void (*on_done)(struct work *))
{
    v->step = (struct work){ .run = run, .on_done = on_done };
    int r = work_submit(v->q.pool, &v->step, &v->error);
    if (r < 0) /* once submitted, `failed` is the helpers' too */
        v->failed = true;
    return r;
}

static void on_whole(struct work *w)
{
    struct verify *v = CONTAINER_OF(w, struct verify, step);
    v->stopped = v->stopped || w->submitted;
    finish(v);
}

static void helpers_over(struct verify *v)
{
    if (!v->failed && !v->stopped && atomic_load(&v->mismatch)) {
        atomic_store(&v->stop, false);
        if (step_submit(v, whole_run, on_whole) == 0)
            return;
    }
    finish(v);
}

static void on_helper(struct work *w)
{
    struct verify *v = CONTAINER_OF(w, struct helper, work)->run;
    ASSERT(v->helpers_busy > 0);
    v->stopped = v->stopped || w->submitted;
    if (--v->helpers_busy == 0)
        helpers_over(v);
}

static void helpers_start(struct verify *v)
{
    uint32_t count = (uint32_t)MIN((size_t)MIN(v->q.threads, (uint32_t)HELPERS_MAX), v->wanted_count);
    struct err e;
    for (uint32_t i = 0; i < count; i++) {
        v->helpers[i] = (struct helper){ { .run = helper_run, .on_done = on_helper }, v };
        if (work_submit(v->q.pool, &v->helpers[i].work, &e) < 0) {
            if (i == 0)
                fail(v, &e); /* fewer helpers are slower; none is a failure */
            break;
        }
        v->helpers_busy++;
    }
    if (v->helpers_busy == 0)
        finish(v);
}

static void on_looked(struct work *w)
{
    struct verify *v = CONTAINER_OF(w, struct verify, step);
    v->stopped = v->stopped || w->submitted;
    if (v->failed || v->stopped || v->wanted_count == 0) {
        finish(v);
        return;
    }
    v->result.begin_us = loop_clock_us(v->q.loop);
    if (v->content->leaves)
        helpers_start(v);
    else if (step_submit(v, whole_run, on_whole) < 0)
        finish(v);
}

int verify_start(const struct verify_request *q, struct verify **ret, struct err *e)
{
    ASSERT(q->threads > 0 && q->on_done);
    struct verify *v = xcalloc(1, sizeof *v);
    v->q = *q;
    pthread_mutex_init(&v->lock, NULL);
    int r = step_submit(v, look_run, on_looked);
    if (r < 0) {
        *e = v->error;
        verify_free(v);
        return r;
    }
    *ret = v;
    return 0;
}

void verify_stop(struct verify *v)
{
    v->stopped = true;
    atomic_store(&v->stop, true);
}
