/* bench_model_load -- a verified cold read of one blob, against the best O_DIRECT read of it.
 *
 *     bench_model_load DIR [MIB] [ROUNDS]
 *
 * Makes a store in DIR with one random blob, then measures interleaved, the page cache of the file
 * dropped before each: O_DIRECT with 1, 2 and 4 threads, and the verification that a cold start
 * waits for. The floor is the configuration with the lowest median: medians stand against medians (the
 * luckiest of three reads in each round would be a minimum against a median). Prints one JSON object.
 */
#include "artifact/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { THREADS_MAX = 4, ROUNDS_MAX = 50 };

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static _Noreturn void die(const char *what, const struct err *e)
{
    fprintf(stderr, "bench_model_load: %s: %s\n", what, e ? e->text : strerror(errno));
    exit(1);
}

static void blob_make(struct cas *c, uint64_t bytes, char hex[65])
{
    struct err e = { 0 };
    AUTO(hasher) struct hasher *d = hasher_new();
    char *block = xcalloc(1, MIB(1));
    uint64_t state = 88172645463325252ULL;
    size_t count = 0;
    int fd = openat(cas_ingest_fd(c), "bench", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        die("open", NULL);
    for (uint64_t done = 0; done < bytes; done += MIB(1)) {
        for (size_t i = 0; i < MIB(1) / 8; i++) {
            state ^= state << 13, state ^= state >> 7, state ^= state << 17;
            memcpy(block + i * 8, &state, 8);
        }
        hasher_add(d, block, MIB(1));
        if (write(fd, block, MIB(1)) != (ssize_t)MIB(1))
            die("write", NULL);
    }
    struct digest whole = hasher_end(d);
    const struct digest *leaves = hasher_leaves(d, &count);
    digest_hex(&whole, hex);
    uint64_t ignored;
    if (cas_room_take(c, -1, 0, bytes, &ignored, &e) != 0 ||
        cas_commit_blob(c, "bench", fd, hex, leaves, count, &e) < 0)
        die("commit", &e);
    close(fd);
    free(block);
}

static void cache_drop(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint64_t in = 1;
    struct err e;
    if (fd < 0)
        die(path, NULL);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    struct stat st;
    (void)fstat(fd, &st);
    if (verify_resident(fd, 0, (uint64_t)st.st_size, &in, &e) == 0 && in > 0)
        fprintf(stderr, "bench_model_load: %llu bytes stayed in the page cache\n", (unsigned long long)in);
    close(fd);
}

struct direct {
    const char *path;
    uint64_t bytes, block;
    atomic_ullong next;
};

static void *direct_main(void *arg)
{
    struct direct *d = arg;
    void *block = NULL;
    int fd = open(d->path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (fd < 0 || posix_memalign(&block, 4096, d->block) != 0)
        die("O_DIRECT", NULL);
    memset(block, 0, d->block); /* resident before the clock matters */
    for (uint64_t at; (at = atomic_fetch_add(&d->next, d->block)) < d->bytes;)
        if (pread(fd, block, d->block, (off_t)at) < 0)
            die("read", NULL);
    free(block);
    close(fd);
    return NULL;
}

static double direct_read(const char *path, uint64_t bytes, int threads, uint64_t block)
{
    struct direct d = { .path = path, .bytes = bytes, .block = block };
    pthread_t t[THREADS_MAX];
    double begin = now_s();
    for (int i = 0; i < threads; i++)
        if (pthread_create(&t[i], NULL, direct_main, &d) != 0)
            die("thread", NULL);
    for (int i = 0; i < threads; i++)
        pthread_join(t[i], NULL);
    return now_s() - begin;
}

struct waiting {
    bool done;
    struct err error;
    struct verify_result result;
};
static void on_verified(void *ctx, struct verify *v, const struct verify_result *r, const struct err *e)
{
    struct waiting *w = ctx;
    (void)v;
    w->done = true;
    w->result = *r;
    if (e)
        w->error = *e;
}

static double verified_read(struct loop *l, struct work_pool *p, struct cas *c, const char *hex,
                            uint64_t bytes, uint32_t threads)
{
    struct waiting w = { 0 };
    struct verify *v = NULL;
    struct err e = { 0 };
    const struct verify_request q = { .loop = l, .pool = p, .threads = threads, .cas = c, .hex = hex,
                                      .bytes = bytes, .on_done = on_verified, .ctx = &w };
    double begin = now_s();
    if (verify_start(&q, &v, &e) < 0)
        die("verify", &e);
    while (!w.done)
        if (loop_turn(l, true, &e) < 0)
            die("loop", &e);
    double took = now_s() - begin;
    if (w.error.code != CODE_OK || w.result.hashed_bytes != bytes)
        die("verify", &w.error);
    return took;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bench_model_load DIR [MIB] [ROUNDS]\n");
        return 2;
    }
    uint64_t bytes = MIB(argc > 2 ? strtoull(argv[2], NULL, 10) : 512);
    int rounds = argc > 3 ? MIN((int)strtol(argv[3], NULL, 10), ROUNDS_MAX) : 5;
    uint32_t threads = (uint32_t)MAX(sysconf(_SC_NPROCESSORS_ONLN), 2);
    if (bytes == 0 || rounds <= 0)
        return 2;
    struct limits limits;
    limits_default(&limits);
    struct cas *c = NULL;
    struct loop *l = NULL;
    struct work_pool *p = NULL;
    struct err e = { 0 };
    char hex[65], path[4096];
    if (cas_open(argv[1], &limits, &c, &e) < 0 || loop_open(&l, &e) < 0 ||
        work_pool_open(l, "verify", threads, 64, &p, &e) < 0)
        die("open", &e);
    blob_make(c, bytes, hex);
    snprintf(path, sizeof path, "%s/blobs/sha256/%s", argv[1], hex);

    static const struct {
        int threads;
        uint64_t block;
    } floors[] = { { 1, MIB(4) }, { 2, MIB(2) }, { 4, MIB(2) } };
    double direct_s[COUNT_OF(floors)][ROUNDS_MAX], ours_s[ROUNDS_MAX];
    for (int i = 0; i < rounds; i++) {
        for (size_t k = 0; k < COUNT_OF(floors); k++) {
            cache_drop(path);
            direct_s[k][i] = direct_read(path, bytes, floors[k].threads, floors[k].block);
        }
        cache_drop(path);
        ours_s[i] = verified_read(l, p, c, hex, bytes, threads);
    }
    const double *floor_s = direct_s[0];
    for (size_t k = 0; k < COUNT_OF(floors); k++) {
        qsort(direct_s[k], (size_t)rounds, sizeof *direct_s[k], by_value);
        if (direct_s[k][rounds / 2] < floor_s[rounds / 2])
            floor_s = direct_s[k];
    }
    qsort(ours_s, (size_t)rounds, sizeof *ours_s, by_value);
    double gb = (double)bytes / 1e9;
    printf("{\"name\": \"model_load_cold_verified\", \"unit\": \"s\", \"bytes\": %llu, \"rounds\": %d, "
           "\"min\": %.4f, \"p50\": %.4f, \"against_min\": %.4f, \"against_p50\": %.4f, "
           "\"gb_per_s\": %.3f, \"against_gb_per_s\": %.3f, \"ratio_p50\": %.3f, \"ratio_min\": %.3f}\n",
           (unsigned long long)bytes, rounds, ours_s[0], ours_s[rounds / 2], floor_s[0],
           floor_s[rounds / 2], gb / ours_s[rounds / 2], gb / floor_s[rounds / 2],
           ours_s[rounds / 2] / floor_s[rounds / 2], ours_s[0] / floor_s[0]);
    work_pool_free(p);
    loop_free(l);
    cas_free(c);
    return 0;
}
