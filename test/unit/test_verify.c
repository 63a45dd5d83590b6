#include "artifact/import.h"
#include "artifact/verify.h"
#include "store_fixture.h"

enum { LEAVES = 5 };
static const size_t SIZE = 4 * LEAF_BYTES + 4097;

struct run {
    struct fixture x;
    struct loop *loop;
    struct work_pool *pool;
    char hex[65];
    uint64_t bytes;
    bool tree;
    uint8_t known[LEAVES + 3];
    int dones;
    struct verify_result result;
    struct err error;
};

static void on_done(void *ctx, struct verify *v, const struct verify_result *r, const struct err *e)
{
    struct run *t = ctx;
    (void)v;
    t->dones++;
    t->result = *r;
    t->error = e ? *e : (struct err){ 0 };
}

static bool run_start(struct run *t, struct verify **ret)
{
    struct err e;
    const struct verify_request q = { .loop = t->loop, .pool = t->pool, .threads = 2, .cas = t->x.cas,
                                      .tree = t->tree, .hex = t->hex, .bytes = t->bytes,
                                      .known = t->known, .on_done = on_done, .ctx = t };
    t->dones = 0;
    return verify_start(&q, ret, &e) == 0 && t->dones == 0;
}

static enum code verify(struct run *t)
{
    struct verify *v;
    struct err e;
    if (!run_start(t, &v))
        return CODE_UNKNOWN;
    while (t->dones == 0)
        if (loop_turn(t->loop, true, &e) < 0)
            return CODE_UNKNOWN;
    return t->error.code;
}

static bool import_from(struct run *t, const char *path)
{
    struct err e;
    struct import_result got;
    uint64_t short_by;
    AUTO(import) struct import *im =
        import_new(t->x.cas, &t->x.limits, ARTIFACT_MODEL, open(path, O_RDONLY | O_CLOEXEC), "");
    if (import_run(im, &got, &short_by, &e) != 0)
        return false;
    memcpy(t->hex, got.hex, sizeof t->hex);
    t->bytes = got.bytes;
    t->tree = got.tree;
    return true;
}

static bool run_open(struct run *t, bool tree)
{
    struct err e;
    char dir[] = "/tmp/hob-source-XXXXXX", path[128];
    *t = (struct run){ 0 };
    char *bytes = xcalloc(1, SIZE);
    fill(bytes, SIZE, 3);
    bool good = fixture_open(&t->x) && mkdtemp(dir) && file_put(dir, "model", bytes, SIZE, 0644) &&
                file_put(dir, "other", "abc", 3, 0755) && file_put(dir, "none", "", 0, 0644) &&
                loop_open(&t->loop, &e) == 0 && work_pool_open(t->loop, "t", 2, 16, &t->pool, &e) == 0;
    snprintf(path, sizeof path, "%s%s", dir, tree ? "" : "/model");
    good = good && import_from(t, path);
    dir_remove(dir);
    free(bytes);
    return good;
}

static void run_close(struct run *t)
{
    work_pool_free(t->pool);
    loop_free(t->loop);
    fixture_close(&t->x);
}

static void path_of(const struct run *t, const char *suffix, char into[256])
{
    char name[CAS_NAME];
    cas_path(t->tree, t->hex, name);
    snprintf(into, 256, "%s/%s%s", t->x.dir, name, suffix);
}

/* True where the file system lets go of the file's pages. */
static bool cache_drop(const struct run *t, const char *suffix)
{
    char path[256];
    uint64_t in = 1;
    struct err e;
    path_of(t, suffix, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool gone = fd >= 0 && fsync(fd) == 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0 &&
                verify_resident(fd, 0, SIZE, &in, &e) == 0 && in == 0;
    if (fd >= 0)
        close(fd);
    return gone;
}

static bool flip(const struct run *t, const char *suffix, off_t at)
{
    char path[256], byte = 0;
    path_of(t, suffix, path);
    int fd = open(path, O_RDWR | O_CLOEXEC); /* root may; another uid needs the mode changed */
    if (fd < 0 && chmod(path, 0644) == 0)
        fd = open(path, O_RDWR | O_CLOEXEC);
    bool good = fd >= 0 && pread(fd, &byte, 1, at) == 1;
    byte = (char)(byte ^ 1);
    good = good && pwrite(fd, &byte, 1, at) == 1;
    if (fd >= 0)
        close(fd);
    return good;
}

/* The page cache is everybody's: what others need, or somebody drops, leaves it at any moment. A run says
 * what it found; so a check that is about cached bytes is repeated while they were not. */
enum { CACHE_TRIES = 20 };

TEST(a_cold_file_is_read_once_and_then_known)
{
    struct run t;
    CHECK(run_open(&t, false));
    CHECK_EQ(verify(&t), CODE_OK); /* just written: in the page cache, but not known */
    CHECK_EQ(t.result.hashed_bytes, SIZE);
    int tries = 0;
    do
        CHECK_EQ(verify(&t), CODE_OK);
    while (t.result.resident_permille < 1000 && ++tries < CACHE_TRIES);
    CHECK_EQ(t.result.resident_permille, 1000);
    CHECK_EQ(t.result.hashed_bytes, 0);
    CHECK(t.result.begin_us == 0 && t.result.end_us == 0);
    if (!cache_drop(&t, "")) {
        run_close(&t);
        SKIP("this file system keeps its pages");
    }
    CHECK_EQ(verify(&t), CODE_OK); /* known or not: what left the page cache is checked again */
    CHECK_EQ(t.result.hashed_bytes, SIZE);
    CHECK_EQ(t.result.resident_permille, 0);
    CHECK(t.result.begin_us > 0 && t.result.end_us >= t.result.begin_us);
    CHECK(!cache_drop(&t, "") || verify(&t) == CODE_OK);
    run_close(&t);
}

TEST(only_what_left_the_page_cache_is_read_again)
{
    struct run t;
    char path[256];
    bool seen = false;
    CHECK(run_open(&t, false));
    CHECK_EQ(verify(&t), CODE_OK);
    if (!cache_drop(&t, "")) {
        run_close(&t);
        SKIP("this file system keeps its pages");
    }
    path_of(&t, "", path);
    for (int tries = 0; tries < CACHE_TRIES && !seen; tries++) {
        CHECK_EQ(verify(&t), CODE_OK);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        CHECK(fd >= 0 && posix_fadvise(fd, LEAF_BYTES, LEAF_BYTES, POSIX_FADV_DONTNEED) == 0);
        close(fd);
        CHECK_EQ(verify(&t), CODE_OK);
        /* large folios may keep or take a neighbour along */
        seen = t.result.resident_permille > 0 && t.result.resident_permille < 1000;
        if (seen)
            CHECK(t.result.hashed_bytes >= LEAF_BYTES && t.result.hashed_bytes < SIZE);
    }
    CHECK(seen);
    run_close(&t);
}

TEST(a_flipped_bit_is_found_wherever_it_is)
{
    static const off_t places[] = { 0, (off_t)LEAF_BYTES, 4 * (off_t)LEAF_BYTES + 4096 };
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        struct run t;
        CHECK(run_open(&t, false));
        CHECK(flip(&t, "", places[i]));
        (void)cache_drop(&t, "");
        CHECK_EQ(verify(&t), CODE_DATA_LOSS);
        CHECK(strstr(t.error.text, "damaged") && strstr(t.error.text, t.hex));
        run_close(&t);
    }
}

TEST(a_flipped_bit_in_a_folder_is_found)
{
    static const char *const places[] = { "/model", "/other", ".manifest" };
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        struct run t;
        CHECK(run_open(&t, true));
        CHECK_EQ(t.bytes, SIZE + 3);
        CHECK_EQ(verify(&t), CODE_OK);
        CHECK_EQ(t.result.hashed_bytes, SIZE + 3);
        memset(t.known, 0, sizeof t.known);
        CHECK(flip(&t, places[i], 1));
        CHECK_EQ(verify(&t), CODE_DATA_LOSS);
        run_close(&t);
    }
}

TEST(a_missing_or_cut_file_is_found)
{
    struct run t;
    char path[256];
    CHECK(run_open(&t, false));
    path_of(&t, "", path);
    CHECK(truncate(path, (off_t)SIZE - 1) == 0);
    CHECK_EQ(verify(&t), CODE_DATA_LOSS);
    CHECK(remove(path) == 0);
    CHECK(verify(&t) != CODE_OK);
    run_close(&t);
}

TEST(lost_damaged_or_wrong_leaves_are_made_again)
{
    for (int kind = 0; kind < 3; kind++) {
        struct run t;
        struct err e;
        char path[256];
        CHECK(run_open(&t, false));
        path_of(&t, ".leaves", path);
        if (kind == 0)
            CHECK(remove(path) == 0);
        if (kind == 1)
            CHECK(flip(&t, ".leaves", 40));
        if (kind == 2) { /* well formed, and of something else */
            struct digest wrong[LEAVES] = { 0 };
            CHECK_EQ(cas_leaves_save(t.x.cas, false, t.hex, wrong, LEAVES, &e), 0);
        }
        CHECK_EQ(verify(&t), CODE_OK);
        CHECK(t.result.hashed_bytes >= SIZE);
        memset(t.known, 0, sizeof t.known);
        CHECK_EQ(verify(&t), CODE_OK);
        CHECK_EQ(t.result.hashed_bytes, SIZE); /* by leaves again, and only once */
        run_close(&t);
    }
}

TEST(a_stopped_run_ends_and_a_closing_pool_ends_it_too)
{
    struct run t;
    struct verify *v;
    struct err e;
    CHECK(run_open(&t, false));
    CHECK(run_start(&t, &v));
    verify_stop(v);
    while (t.dones == 0)
        CHECK(loop_turn(t.loop, true, &e) >= 0);
    CHECK_EQ(t.error.code, CODE_CANCELLED);
    CHECK(run_start(&t, &v));
    work_pool_free(t.pool);
    t.pool = NULL;
    CHECK_EQ(t.dones, 1);
    run_close(&t);
}

TEST_MAIN()
