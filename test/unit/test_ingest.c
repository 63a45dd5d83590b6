#include "artifact/ingest.h"
#include "fds.h"
#include "store_fixture.h"

#include <pthread.h>

enum { SIZE = 300000 };
static char bytes[SIZE];
static char hex[65];
static const char url[] = "https://host/x";

/* A pipe that already holds what the origin sent, closed at its end; fd of the reading end. */
static int sent(const char *data, size_t size)
{
    int p[2];
    if (pipe2(p, O_CLOEXEC) < 0 || fcntl(p[1], F_SETPIPE_SZ, 1 << 20) < 0 ||
        write(p[1], data, size) != (ssize_t)size)
        return -1;
    close(p[1]);
    return p[0];
}

static int take(struct ingest *in, const char *data, size_t size, struct err *e)
{
    uint64_t short_by = 0;
    int fd = sent(data, size);
    int r = ingest_take(in, fd, &short_by, e);
    close(fd);
    return r;
}

static void prepare(void)
{
    fill(bytes, SIZE, 1);
    hex_of(bytes, SIZE, hex);
}

TEST(a_whole_download_becomes_a_blob_with_leaves)
{
    struct fixture x;
    struct err e = { 0 };
    struct stat st;
    char path[256];
    prepare();
    CHECK(fixture_open(&x));
    struct ingest *in = NULL;
    CHECK_EQ(ingest_open(x.cas, &x.limits, hex, -1, &in, &e), 0);
    CHECK_EQ(ingest_announce(in, url, "\"v1\"", SIZE, &e), 0);
    CHECK_EQ(take(in, bytes, SIZE, &e), 0);
    CHECK_EQ(ingest_held(in), SIZE);
    CHECK(!stored(&x, false, hex)); /* not before the hash is known */
    CHECK_EQ(ingest_commit(in, &e), 0);
    ingest_free(in);
    CHECK(stored(&x, false, hex));
    snprintf(path, sizeof path, "%s/blobs/sha256/%s", x.dir, hex);
    CHECK(stat(path, &st) == 0 && (st.st_mode & 07777) == 0444 && st.st_size == SIZE);
    CHECK_EQ(names_in(&x, "blobs/sha256"), 2);
    CHECK_EQ(names_in(&x, "ingest"), 0);
    CHECK_EQ(cas_bytes(x.cas), SIZE);
    CHECK(fixture_reopen(&x));
    CHECK(x.found == 1 && x.found_bytes == SIZE && cas_bytes(x.cas) == SIZE);
    fixture_close(&x);
}

TEST(a_cut_download_is_kept_and_resumed_with_its_validator)
{
    struct fixture x;
    struct err e;
    prepare();
    CHECK(fixture_open(&x));
    struct ingest *in = NULL;
    CHECK_EQ(ingest_open(x.cas, &x.limits, hex, -1, &in, &e), 0);
    CHECK_EQ(ingest_announce(in, url, "\"v1\"", SIZE, &e), 0);
    CHECK_EQ(take(in, bytes, 100000, &e), 0);
    ingest_free(in);
    CHECK_EQ(cas_bytes(x.cas), 100000); /* what was reserved for the rest is given back */
    CHECK(fixture_reopen(&x));          /* as after kill -9 */
    CHECK(x.found == 0 && cas_bytes(x.cas) == 100000);
    CHECK_EQ(ingest_open(x.cas, &x.limits, hex, -1, &in, &e), 0);
    CHECK(ingest_resumed(in) && ingest_held(in) == 100000 && ingest_size(in) == SIZE);
    CHECK_STR(ingest_etag(in, url), "\"v1\"");
    CHECK_STR(ingest_etag(in, "https://other/x"), ""); /* a validator is one URL's */
    CHECK_EQ(ingest_announce(in, url, "W/\"v1\"", SIZE, &e), 0);
    CHECK_STR(ingest_etag(in, url), ""); /* a weak one cannot guard a range */
    CHECK_EQ(take(in, bytes + 100000, SIZE - 100000, &e), 0);
    CHECK_EQ(ingest_commit(in, &e), 0);
    ingest_free(in);
    CHECK(stored(&x, false, hex));
    CHECK_EQ(cas_bytes(x.cas), SIZE);
    fixture_close(&x);
}

TEST(what_lies_on_disk_is_hashed_again_and_never_trusted)
{
    struct fixture x;
    struct err e;
    char path[256];
    prepare();
    CHECK(fixture_open(&x));
    struct ingest *in = NULL;
    CHECK_EQ(ingest_open(x.cas, &x.limits, hex, -1, &in, &e), 0);
    CHECK_EQ(take(in, bytes, 100000, &e), 0);
    ingest_free(in);
    snprintf(path, sizeof path, "%s/ingest/%s.part", x.dir, hex);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    CHECK(fd >= 0 && pwrite(fd, "?", 1, 50000) == 1);
    close(fd);
    CHECK_EQ(ingest_open(x.cas, &x.limits, hex, -1, &in, &e), 0);
    CHECK_EQ(take(in, bytes + 100000, SIZE - 100000, &e), 0);
    CHECK_EQ(ingest_commit(in, &e), -CODE_DATA_LOSS);
    CHECK(ingest_resumed(in)); /* so the caller knows that the origin may be innocent */
    ingest_free(in);
    CHECK(!stored(&x, false, hex));
    CHECK_EQ(names_in(&x, "ingest"), 0);
    CHECK_EQ(cas_bytes(x.cas), 0);
    fixture_close(&x);
}

TEST(a_wrong_file_is_removed_and_named)
{
    struct fixture x;
    struct err e;
    char got[65];
    prepare();
    CHECK(fixture_open(&x));
    struct ingest *in = NULL;
    CHECK_EQ(ingest_open(x.cas, &x.limits, hex, -1, &in, &e), 0);
    CHECK_EQ(take(in, "other", 5, &e), 0);
    CHECK_EQ(ingest_commit(in, &e), -CODE_DATA_LOSS);
    hex_of("other", 5, got);
    CHECK(strstr(e.text, hex) && strstr(e.text, got));
    ingest_free(in);
    CHECK_EQ(names_in(&x, "ingest"), 0);
    CHECK_EQ(names_in(&x, "blobs/sha256"), 0);
    CHECK_EQ(cas_bytes(x.cas), 0);
    fixture_close(&x);
}

TEST(more_bytes_than_announced_or_allowed_are_refused)
{
    struct fixture x;
    struct err e;
    prepare();
    CHECK(fixture_open(&x));
    struct ingest *in = NULL;
    CHECK_EQ(ingest_open(x.cas, &x.limits, hex, -1, &in, &e), 0);
    CHECK_EQ(ingest_announce(in, url, "", 99999, &e), 0);
    CHECK_EQ(take(in, bytes, 100000, &e), -CODE_PRECONDITION);
    ingest_drop(in);
    ingest_free(in);
    x.limits.artifact_bytes_max = 99999;
    CHECK_EQ(ingest_open(x.cas, &x.limits, hex, -1, &in, &e), 0);
    CHECK_EQ(take(in, bytes, 100000, &e), -CODE_EXHAUSTED); /* size not said, so it is counted */
    CHECK(strstr(e.text, "artifact_bytes_max"));
    ingest_drop(in);
    ingest_free(in);
    CHECK_EQ(names_in(&x, "ingest"), 0);
    CHECK_EQ(cas_bytes(x.cas), 0);
    fixture_close(&x);
}

TEST(short_of_room_nothing_is_read_and_nothing_is_lost)
{
    struct fixture x;
    struct err e;
    uint64_t short_by = 0;
    prepare();
    CHECK(fixture_open(&x));
    x.limits.store_bytes_max = SIZE - 1;
    struct ingest *in = NULL;
    int fd = sent(bytes, SIZE);
    CHECK_EQ(ingest_open(x.cas, &x.limits, hex, -1, &in, &e), 0);
    CHECK_EQ(ingest_announce(in, url, "", SIZE, &e), 0);
    CHECK_EQ(ingest_take(in, fd, &short_by, &e), 1);
    CHECK(short_by == 1 && ingest_held(in) == 0 && cas_bytes(x.cas) == 0);
    x.limits.store_bytes_max = SIZE;
    CHECK_EQ(ingest_take(in, fd, &short_by, &e), 0);
    CHECK_EQ(ingest_commit(in, &e), 0);
    ingest_free(in);
    close(fd);
    CHECK(stored(&x, false, hex));
    fixture_close(&x);
}

static void *stop_main(void *arg)
{
    int *p = arg;
    (void)!write(p[1], "x", 1);
    return NULL;
}

TEST(a_stop_ends_the_wait_for_a_silent_origin)
{
    struct fixture x;
    struct err e;
    uint64_t short_by = 0;
    int silent[2], stop[2];
    pthread_t t;
    prepare();
    CHECK(fixture_open(&x));
    CHECK(pipe2(silent, O_CLOEXEC) == 0 && pipe2(stop, O_CLOEXEC) == 0);
    struct ingest *in = NULL;
    CHECK_EQ(ingest_open(x.cas, &x.limits, hex, stop[0], &in, &e), 0);
    CHECK(pthread_create(&t, NULL, stop_main, stop) == 0);
    CHECK_EQ(ingest_take(in, silent[0], &short_by, &e), 0); /* hangs here if it is not heard */
    pthread_join(t, NULL);
    ingest_free(in);
    close(silent[0]), close(silent[1]), close(stop[0]), close(stop[1]);
    CHECK_EQ(names_in(&x, "ingest"), 0);
    fixture_close(&x);
}

/* Whatever fails: no blob that is not whole, no descriptor, no byte counted that is not on disk. */
TEST(a_failed_step_leaves_at_most_a_part)
{
    struct fixture x;
    int nth = 0;
    prepare();
    CHECK(fixture_open(&x));
    for (bool fired = true; fired;) {
        CHECK(++nth < 60);
        CHECK(fixture_reopen(&x));
        int before = fds_open(), fd = sent(bytes, SIZE);
        uint64_t short_by = 0, on_disk = 0;
        struct ingest *in = NULL;
        struct err e = { 0 };
        fault_arm(nth);
        int r = ingest_open(x.cas, &x.limits, hex, -1, &in, &e);
        if (r == 0)
            r = ingest_announce(in, url, "\"v1\"", SIZE, &e);
        if (r == 0 && ingest_held(in) > 0)
            r = ingest_restart(in, &e);
        if (r == 0)
            r = ingest_take(in, fd, &short_by, &e);
        if (r == 0)
            r = ingest_commit(in, &e);
        fired = fault_fired();
        fault_arm(0);
        ingest_free(in);
        close(fd);
        CHECK(fired ? r < 0 && e.code != CODE_OK : r == 0);
        CHECK_EQ(stored(&x, false, hex), !fired);
        CHECK_EQ(fds_open(), before);
        struct stat st;
        char path[256];
        snprintf(path, sizeof path, "%s/%s/%s%s", x.dir, fired ? "ingest" : "blobs/sha256", hex,
                 fired ? ".part" : "");
        on_disk = stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
        CHECK_EQ(cas_bytes(x.cas), on_disk);
    }
    CHECK(nth > 10);
    fixture_close(&x);
}

TEST_MAIN()
