#include "artifact/artifact.h"
#include "fds.h"
#include "store_fixture.h"

#include <sys/mount.h>
#include <sys/wait.h>

enum { SIZE = 700000, USES_MAX = 80, TRIES_MAX = 12 };

/* One answer of the scripted origin. */
struct answer {
    int status;        /* 0: ends with `error` and no head */
    enum code error;   /* CODE_OK: ends well */
    int64_t lie_from;  /* -1: tells the truth about ranges */
    int64_t lie_size;  /* -1: the truth; -2: does not say */
    size_t cut;        /* sends only so many bytes; 0: all */
    int64_t retry_after_ms;
    bool ignore_range, silent; /* silent: answers nothing until it is cancelled */
    bool hung; /* answers, and then neither ends nor hears that it is cancelled */
};
static const struct answer good = { .status = 200, .lie_from = -1, .lie_size = -1, .retry_after_ms = -1 };

struct world;
struct transfer {
    struct world *w;
    struct transfer_request q;
    struct loop_task task;
    struct answer a;
    int step;
};
struct world {
    struct artifact_transport transport;
    struct fixture x;
    struct loop *loop;
    struct artifact_store *store;
    const char *bytes;
    size_t size;
    struct answer script[TRIES_MAX];
    size_t tries, live, live_most;
    bool hold; /* no transfer goes on */
    struct loop_task *held[8];
    size_t held_count;
    uint64_t from[TRIES_MAX], sent;
    char etag[TRIES_MAX][128];
    const char *etag_now;
    int hung_fd;
};

static struct answer *answer_now(struct world *w, size_t i) { return &w->script[MIN(i, (size_t)TRIES_MAX - 1)]; }

static void transfer_step(struct loop_task *task)
{
    struct transfer *t = CONTAINER_OF(task, struct transfer, task);
    struct world *w = t->w;
    if (t->a.silent)
        return;
    if (t->step++ == 0 && t->a.status != 0) {
        uint64_t from = t->a.ignore_range ? 0 : t->q.from;
        struct transfer_head h = { .status = t->a.status == 200 && from > 0 ? 206 : t->a.status,
                                   .size = t->a.lie_size == -1 ? (int64_t)w->size : t->a.lie_size,
                                   .from = from > 0 ? (int64_t)from : -1,
                                   .retry_after_ms = t->a.retry_after_ms };
        if (t->a.lie_from >= 0)
            h.from = t->a.lie_from;
        if (h.size == -2)
            h.size = -1;
        snprintf(h.etag, sizeof h.etag, "%s", w->etag_now);
        loop_defer(w->loop, &t->task);
        t->q.on_head(t->q.ctx, &h);
        return;
    }
    if (t->a.hung)
        return;
    struct err e = { 0 };
    if (t->a.error != CODE_OK)
        err_set(&e, t->a.error, "scripted");
    void (*on_end)(void *, int, const struct err *) = t->q.on_end;
    void *ctx = t->q.ctx;
    enum code code = t->a.error;
    w->live--;
    free(t);
    on_end(ctx, -(int)code, &e);
}

static struct transfer *start(struct artifact_transport *at, const struct transfer_request *q, struct err *e)
{
    struct world *w = CONTAINER_OF(at, struct world, transport);
    int p[2];
    size_t i = w->tries++;
    if (pipe2(p, O_CLOEXEC) < 0 || fcntl(p[1], F_SETPIPE_SZ, 1 << 20) < 0) {
        err_sys(e, "pipe");
        return NULL;
    }
    struct transfer *t = xcalloc(1, sizeof *t);
    t->w = w;
    t->q = *q;
    t->a = *answer_now(w, i);
    t->task.run = transfer_step;
    if (i < TRIES_MAX) {
        w->from[i] = q->from;
        snprintf(w->etag[i], sizeof w->etag[i], "%s", q->etag ? q->etag : "");
    }
    uint64_t from = t->a.ignore_range ? 0 : q->from;
    size_t size = t->a.status == 200 && from < w->size ? w->size - from : 0;
    size = t->a.cut > 0 ? MIN(size, t->a.cut) : size;
    if (!t->a.silent && size > 0) {
        ssize_t n = write(p[1], w->bytes + from, size);
        w->sent += (uint64_t)MAX(n, 0);
    }
    if (t->a.hung)
        w->hung_fd = p[1];
    else
        close(p[1]);
    *q->ret_pipe_fd = p[0];
    w->live++;
    w->live_most = MAX(w->live_most, w->live);
    if (w->hold && w->held_count < COUNT_OF(w->held))
        w->held[w->held_count++] = &t->task;
    else
        loop_defer(w->loop, &t->task);
    return t;
}

static void cancel(struct artifact_transport *at, struct transfer *t)
{
    struct world *w = CONTAINER_OF(at, struct world, transport);
    loop_undefer(w->loop, &t->task);
    w->live--;
    free(t);
}

static int open_local(struct artifact_transport *at, const char *path,
                      void (*on_open)(void *ctx, int take_fd, const struct err *e), void *ctx, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct err why;
    (void)at;
    (void)e;
    if (fd < 0)
        err_sys(&why, "open %s", path);
    on_open(ctx, fd, &why);
    return 0;
}

static char content[SIZE];
static char hex[65], digest[72];

static bool store_open(struct world *w)
{
    struct err e;
    return artifact_store_open(w->loop, w->x.dir, &w->x.limits, &w->transport, &w->store, &e) == 0;
}

static bool world_open(struct world *w)
{
    struct err e;
    *w = (struct world){ .transport = { start, cancel, open_local } };
    fill(content, SIZE, 9);
    hex_of(content, SIZE, hex);
    snprintf(digest, sizeof digest, "sha256:%s", hex);
    w->bytes = content;
    w->size = SIZE;
    w->etag_now = "\"v1\"";
    for (size_t i = 0; i < TRIES_MAX; i++)
        w->script[i] = good;
    if (!fixture_open(&w->x) || loop_open(&w->loop, &e) < 0)
        return false;
    cas_free(TAKE(w->x.cas)); /* the store under test opens the folder itself */
    return store_open(w);
}

static void world_close(struct world *w)
{
    artifact_store_free(w->store);
    loop_free(w->loop);
    fixture_close(&w->x);
}

struct user {
    struct artifact_use *use;
    int presents, verifieds, faileds;
    bool retryable, free_when_told;
    enum phase at;
    struct err error;
    char path[CAS_NAME], digest[80];
    struct artifact_facts facts;
};

static void told(struct user *v)
{
    v->facts = *artifact_use_facts(v->use);
    if (v->free_when_told) {
        artifact_use_free(v->use);
        v->use = NULL;
    }
}
static void on_present(struct artifact_use *u, const char *path, const char *d)
{
    struct user *v = artifact_use_ctx(u);
    v->presents++;
    snprintf(v->path, sizeof v->path, "%s", path);
    snprintf(v->digest, sizeof v->digest, "%s", d);
    told(v);
}
static void on_verified(struct artifact_use *u)
{
    struct user *v = artifact_use_ctx(u);
    v->verifieds++;
    told(v);
}
static void on_failed(struct artifact_use *u, enum phase at, bool retryable, const struct err *e)
{
    struct user *v = artifact_use_ctx(u);
    v->faileds++;
    v->at = at;
    v->retryable = retryable;
    v->error = *e;
    told(v);
}

static int use_as(struct world *w, struct user *v, enum artifact_kind kind, const char *reference,
                  const char *resolved)
{
    struct err e;
    const struct artifact_request q = { .kind = kind, .reference = reference, .digest = resolved,
                                        .on_present = on_present, .on_verified = on_verified, .on_failed = on_failed, .ctx = v };
    *v = (struct user){ .free_when_told = v->free_when_told };
    int r = artifact_use_start(w->store, &q, &v->use, &e);
    if (v->presents + v->verifieds + v->faileds > 0)
        return -99; /* never before it returned */
    v->error = r < 0 ? e : v->error;
    return r;
}

static int use(struct world *w, struct user *v, enum artifact_kind kind, const char *reference)
{
    return use_as(w, v, kind, reference, NULL);
}

static bool over(const struct user *v) { return v->verifieds + v->faileds > 0; }

static void settle(struct world *w, struct user *v)
{
    struct err e;
    for (int i = 0; i < 100000 && !over(v); i++)
        if (loop_turn(w->loop, true, &e) < 0)
            return;
}

static char *model(const char *host)
{
    return xasprintf("http://%s/m.bin@%s", host, digest);
}

static int fetch_one(struct world *w, struct user *v)
{
    AUTO_FREE char *ref = model("a");
    v->free_when_told = false;
    int r = use(w, v, ARTIFACT_MODEL, ref);
    if (r == 0)
        settle(w, v);
    return r;
}

static void info_count(void *ctx, const struct artifact_info *i)
{
    struct artifact_info *into = ctx;
    *into = *i;
}

TEST(many_waiters_of_one_digest_cost_one_download)
{
    struct world w;
    static struct user v[64];
    AUTO_FREE char *a = NULL, *b = NULL;
    CHECK(world_open(&w));
    a = model("a");
    b = model("b");
    for (int i = 0; i < 64; i++)
        CHECK_EQ(use(&w, &v[i], ARTIFACT_MODEL, i % 2 ? a : b), 0);
    for (int i = 0; i < 64; i++) {
        settle(&w, &v[i]);
        CHECK(v[i].presents == 1 && v[i].verifieds == 1 && v[i].faileds == 0);
        CHECK_STR(v[i].digest, digest);
        CHECK(!v[i].facts.was_present && v[i].facts.fetched_bytes == SIZE && v[i].facts.size_bytes == SIZE);
        CHECK(v[i].facts.fetch_end_us >= v[i].facts.fetch_begin_us && v[i].facts.fetch_begin_us > 0);
    }
    CHECK(stored(&w.x, false, hex));
    CHECK(w.tries == 1 && w.sent == SIZE);
    struct artifact_totals t = artifact_totals(w.store);
    CHECK(t.fetches == 1 && t.origin_bytes == SIZE && t.bytes == SIZE && t.files == 1);
    struct user late = { 0 };
    CHECK_EQ(use(&w, &late, ARTIFACT_MODEL, a), 0);
    settle(&w, &late);
    CHECK(late.verifieds == 1 && late.facts.was_present && late.facts.fetched_bytes == 0);
    CHECK(late.facts.resident_permille == 1000 && late.facts.verified_bytes == 0); /* written just now */
    CHECK_EQ(w.tries, 1);
    artifact_use_free(late.use);
    for (int i = 0; i < 64; i++)
        artifact_use_free(v[i].use);
    world_close(&w);
}

TEST(a_cut_download_is_resumed_where_it_was_cut)
{
    struct world w;
    struct user v = { 0 };
    CHECK(world_open(&w));
    w.script[0].cut = 300000;
    w.script[1].cut = 100000;
    w.script[1].error = CODE_UNAVAILABLE;
    CHECK_EQ(fetch_one(&w, &v), 0);
    CHECK_EQ(v.verifieds, 1);
    CHECK(w.tries == 3 && w.from[0] == 0 && w.from[1] == 300000 && w.from[2] == 400000);
    CHECK_STR(w.etag[1], "\"v1\"");
    CHECK_EQ(w.sent, SIZE);
    CHECK_EQ(artifact_totals(w.store).resumes, 2);
    artifact_use_free(v.use);
    world_close(&w);
}

TEST(an_origin_that_ignores_ranges_is_taken_from_the_start)
{
    struct world w;
    struct user v = { 0 };
    CHECK(world_open(&w));
    w.script[0].cut = 300000;
    w.script[1].ignore_range = true;
    CHECK_EQ(fetch_one(&w, &v), 0);
    CHECK_EQ(v.verifieds, 1);
    CHECK(w.tries == 2 && w.sent == 300000 + SIZE);
    artifact_use_free(v.use);
    world_close(&w);
}

TEST(what_cannot_be_had_fails_once_and_says_why)
{
    static const struct {
        struct answer a;
        const char *say;
        const char *why;
    } cases[] = {
        { { 404, CODE_OK, -1, -1, 0, -1, false, false }, "404", "not found" },
        { { 403, CODE_OK, -1, -1, 0, -1, false, false }, "403", "forbidden" },
        { { 410, CODE_OK, -1, -1, 0, -1, false, false }, "410", "gone" },
        { { 200, CODE_OK, -1, SIZE - 1, 0, -1, false, false }, "announced", "more than announced" },
        { { 206, CODE_OK, 0, -1, 0, -1, false, false }, "range", "a range nobody asked for" },
        { { 0, CODE_PRECONDITION, -1, -1, 0, -1, false, false }, "scripted", "TLS and the like" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct world w;
        struct user v = { 0 };
        CHECK(world_open(&w));
        w.script[0] = cases[i].a;
        CHECK_EQ(fetch_one(&w, &v), 0);
        if (v.faileds != 1 || v.presents != 0 || v.retryable || w.tries != 1 || v.at != PHASE_MODEL_FETCH ||
            !strstr(v.error.text, cases[i].say) || !strstr(v.error.text, "http://a/m.bin"))
            FAIL("%s: failed %d, retryable %d, tries %zu, %s", cases[i].why, v.faileds, v.retryable, w.tries,
                 v.error.text);
        CHECK_EQ(names_in(&w.x, "ingest"), 0);
        CHECK_EQ(names_in(&w.x, "blobs/sha256"), 0);
        CHECK_EQ(artifact_totals(w.store).bytes, 0);
        CHECK_EQ(w.live, 0);
        artifact_use_free(v.use);
        world_close(&w);
    }
}

TEST(a_lie_about_where_a_range_begins_ends_the_download)
{
    struct world w;
    struct user v = { 0 };
    CHECK(world_open(&w));
    w.script[0].cut = 300000;
    w.script[1].lie_from = 299999;
    CHECK_EQ(fetch_one(&w, &v), 0);
    CHECK(v.faileds == 1 && !v.retryable && w.tries == 2);
    CHECK_EQ(names_in(&w.x, "ingest"), 0);
    artifact_use_free(v.use);
    world_close(&w);
}

TEST(a_wrong_file_is_refused_removed_and_named)
{
    struct world w;
    struct user v = { 0 };
    static char other[SIZE];
    char other_hex[65];
    CHECK(world_open(&w));
    fill(other, SIZE, 10);
    hex_of(other, SIZE, other_hex);
    w.bytes = other;
    CHECK_EQ(fetch_one(&w, &v), 0);
    CHECK(v.faileds == 1 && !v.retryable && w.tries == 1 && v.presents == 0);
    CHECK(strstr(v.error.text, hex) && strstr(v.error.text, other_hex));
    CHECK_EQ(v.error.code, CODE_DATA_LOSS);
    CHECK_EQ(names_in(&w.x, "ingest"), 0);
    CHECK_EQ(names_in(&w.x, "blobs/sha256"), 0);
    artifact_use_free(v.use);
    world_close(&w);
}

/* Two halves of two versions: the origin may be innocent, so it is asked once for the whole. */
TEST(pieces_that_do_not_fit_are_fetched_again_in_one_piece_once)
{
    struct world w;
    struct user v = { 0 };
    static char mixed[SIZE];
    CHECK(world_open(&w));
    memcpy(mixed, content, SIZE);
    mixed[10] ^= 1;
    w.bytes = mixed; /* the first piece comes from a wrong version */
    w.script[0].cut = 300000;
    struct err e;
    AUTO_FREE char *ref = model("a");
    CHECK_EQ(use(&w, &v, ARTIFACT_MODEL, ref), 0);
    while (w.tries < 1)
        CHECK(loop_turn(w.loop, true, &e) >= 0);
    w.bytes = content;
    settle(&w, &v);
    CHECK_EQ(v.verifieds, 1);
    CHECK(w.tries == 3 && w.from[1] == 300000 && w.from[2] == 0);
    artifact_use_free(v.use);
    world_close(&w);
}

TEST(a_dead_origin_fails_after_its_tries_and_the_part_waits_for_the_next)
{
    struct world w;
    struct user v = { 0 };
    CHECK(world_open(&w));
    w.x.limits.fetch_attempts_max = 3;
    w.script[0].cut = 300000;
    w.script[1] = w.script[2] = (struct answer){ .status = 503, .lie_from = -1, .lie_size = -1, .retry_after_ms = 1 };
    CHECK_EQ(fetch_one(&w, &v), 0);
    CHECK(v.faileds == 1 && v.retryable && w.tries == 3);
    CHECK(strstr(v.error.text, "503") && strstr(v.error.text, "3 times"));
    CHECK_EQ(names_in(&w.x, "ingest"), 2);
    CHECK_EQ(artifact_totals(w.store).bytes, 300000);
    artifact_use_free(v.use);
    artifact_store_free(w.store); /* and over a restart */
    CHECK(store_open(&w));
    CHECK_EQ(artifact_totals(w.store).bytes, 300000);
    CHECK_EQ(fetch_one(&w, &v), 0);
    CHECK(v.verifieds == 1 && w.from[3] == 300000);
    CHECK_STR(w.etag[3], "\"v1\"");
    CHECK_EQ(names_in(&w.x, "ingest"), 0);
    artifact_use_free(v.use);
    world_close(&w);
}

TEST(who_asked_by_another_url_gets_a_try_of_its_own)
{
    struct world w;
    struct user a = { 0 }, b = { 0 };
    AUTO_FREE char *ra = NULL, *rb = NULL;
    CHECK(world_open(&w));
    ra = model("dead");
    rb = model("mirror");
    w.script[0].status = 404;
    CHECK_EQ(use(&w, &a, ARTIFACT_MODEL, ra), 0);
    CHECK_EQ(use(&w, &b, ARTIFACT_MODEL, rb), 0);
    settle(&w, &a);
    settle(&w, &b);
    CHECK(a.faileds == 1 && b.verifieds == 1 && w.tries == 2);
    artifact_use_free(a.use);
    artifact_use_free(b.use);
    world_close(&w);
}

TEST(a_download_nobody_waits_for_is_cancelled_and_can_be_begun_again)
{
    struct world w;
    struct user a = { 0 }, b = { 0 };
    struct err e;
    AUTO_FREE char *ref = NULL;
    CHECK(world_open(&w));
    ref = model("a");
    w.script[0].silent = true;
    CHECK_EQ(use(&w, &a, ARTIFACT_MODEL, ref), 0);
    while (w.live == 0)
        CHECK(loop_turn(w.loop, true, &e) >= 0);
    artifact_use_free(a.use);
    CHECK_EQ(w.live, 0);
    int others[8]; /* may get the numbers of what the cancelled one had open */
    for (size_t i = 0; i < COUNT_OF(others); i++)
        others[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK_EQ(use(&w, &b, ARTIFACT_MODEL, ref), 0); /* while the cancelled one is still ending */
    settle(&w, &b);
    for (size_t i = 0; i < COUNT_OF(others); i++)
        CHECK_EQ(close(others[i]), 0);
    CHECK(b.verifieds == 1 && a.faileds == 0 && w.tries == 2);
    artifact_use_free(b.use);
    CHECK_EQ(use(&w, &b, ARTIFACT_MODEL, ref), 0);
    artifact_use_free(b.use); /* before anything was told */
    world_close(&w);
}

TEST(a_fetcher_that_hangs_holds_up_neither_the_next_use_nor_the_end)
{
    struct world w;
    struct user v = { 0 };
    struct err e;
    AUTO_FREE char *ref = NULL;
    CHECK(world_open(&w));
    ref = model("a");
    w.script[0].hung = w.script[2].hung = true;
    w.script[0].cut = w.script[2].cut = 300000;
    for (int round = 0; round < 2; round++) {
        struct artifact_info i = { 0 };
        CHECK_EQ(use(&w, &v, ARTIFACT_MODEL, ref), 0);
        while (i.have_bytes < 300000) { /* a helper sits in the pipe now */
            CHECK(loop_turn(w.loop, false, &e) >= 0);
            artifact_each(w.store, info_count, &i);
        }
        CHECK(i.state == ARTIFACT_FETCHING && i.size_bytes == SIZE);
        artifact_use_free(v.use);
        if (round == 0) {
            CHECK_EQ(use(&w, &v, ARTIFACT_MODEL, ref), 0);
            settle(&w, &v);
            CHECK(v.verifieds == 1 && w.from[1] == 300000);
            artifact_use_free(v.use);
            close(w.hung_fd);
            CHECK_EQ(artifact_evict(w.store, digest, &e), 0);
        }
    }
    artifact_store_free(w.store); /* joins its helpers: hangs here if they do not hear it */
    w.store = NULL;
    close(w.hung_fd);
    CHECK_EQ(names_in(&w.x, "ingest"), 2);
    world_close(&w);
}

TEST(a_store_that_closes_in_the_middle_leaves_no_transfer)
{
    for (int turns = 0; turns < 12; turns++) {
        struct world w;
        struct user a = { 0 }, b = { 0 };
        struct err e;
        AUTO_FREE char *ref = NULL;
        CHECK(world_open(&w));
        ref = model("a");
        w.script[0].silent = turns % 2;
        CHECK_EQ(use(&w, &a, ARTIFACT_MODEL, ref), 0);
        CHECK_EQ(use(&w, &b, ARTIFACT_MODEL, "file:///etc/hostname"), 0);
        for (int i = 0; i < turns; i++)
            CHECK(loop_turn(w.loop, false, &e) >= 0);
        artifact_use_free(a.use);
        artifact_use_free(b.use);
        artifact_store_free(w.store);
        CHECK_EQ(w.live, 0);
        w.store = NULL;
        world_close(&w);
    }
}

TEST(uses_may_end_inside_their_own_callbacks)
{
    struct world w;
    struct user v[3] = { 0 };
    AUTO_FREE char *ref = NULL;
    CHECK(world_open(&w));
    ref = model("a");
    for (int i = 0; i < 3; i++)
        v[i].free_when_told = i < 2;
    for (int i = 0; i < 3; i++)
        CHECK_EQ(use(&w, &v[i], ARTIFACT_MODEL, ref), 0);
    settle(&w, &v[2]);
    CHECK(v[0].presents == 1 && v[0].verifieds == 0 && !v[0].use && v[2].verifieds == 1);
    artifact_use_free(v[2].use);
    world_close(&w);
}

static bool blob_flip(const struct world *w)
{
    char path[256], byte = 0;
    snprintf(path, sizeof path, "%s/blobs/sha256/%s", w->x.dir, hex);
    (void)chmod(path, 0644);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    bool flipped = fd >= 0 && pread(fd, &byte, 1, 4321) == 1;
    byte = (char)(byte ^ 8);
    flipped = flipped && pwrite(fd, &byte, 1, 4321) == 1 && fsync(fd) == 0 &&
              posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0;
    if (fd >= 0)
        close(fd);
    return flipped;
}

TEST(a_copy_that_rotted_on_disk_is_found_removed_and_fetched_anew)
{
    struct world w;
    struct user v = { 0 };
    CHECK(world_open(&w));
    CHECK_EQ(fetch_one(&w, &v), 0);
    artifact_use_free(v.use);
    artifact_store_free(w.store); /* a restart: nothing is known to be sound any more */
    CHECK(blob_flip(&w) && store_open(&w));
    CHECK_EQ(fetch_one(&w, &v), 0);
    CHECK(v.faileds == 1 && v.retryable && v.at == PHASE_MODEL_VERIFY && strstr(v.error.text, "damaged"));
    CHECK_EQ(artifact_totals(w.store).verify_failures, 1);
    CHECK(!stored(&w.x, false, hex));
    artifact_use_free(v.use);
    CHECK_EQ(fetch_one(&w, &v), 0);
    CHECK(v.verifieds == 1 && w.tries == 2 && !v.facts.was_present);
    artifact_use_free(v.use);
    CHECK_EQ(artifact_totals(w.store).bytes, SIZE);
    world_close(&w);
}

TEST(a_restart_verifies_before_the_first_use_and_not_again)
{
    struct world w;
    struct user v = { 0 };
    CHECK(world_open(&w));
    CHECK_EQ(fetch_one(&w, &v), 0);
    artifact_use_free(v.use);
    artifact_store_free(w.store);
    CHECK(store_open(&w));
    CHECK_EQ(fetch_one(&w, &v), 0);
    CHECK(v.verifieds == 1 && v.facts.was_present && v.facts.verified_bytes == SIZE);
    CHECK(v.facts.verify_end_us >= v.facts.verify_begin_us && v.facts.verify_begin_us > 0);
    for (int tries = 0; tries < 20; tries++) { /* again where others needed the page cache meanwhile */
        artifact_use_free(v.use);
        CHECK_EQ(fetch_one(&w, &v), 0);
        if (v.facts.resident_permille == 1000)
            break;
    }
    CHECK_EQ(v.facts.resident_permille, 1000);
    CHECK_EQ(v.facts.verified_bytes, 0);
    CHECK_EQ(w.tries, 1);
    artifact_use_free(v.use);
    world_close(&w);
}

static bool folder_make(char dir[64], const char *text)
{
    snprintf(dir, 64, "/tmp/hob-source-XXXXXX");
    return mkdtemp(dir) && file_put(dir, "run", text, strlen(text), 0755);
}

TEST(a_bundle_is_pinned_when_it_is_read_and_stays_what_it_was)
{
    struct world w;
    struct user a = { 0 }, b = { 0 }, c = { 0 };
    char dir[64], first[80];
    CHECK(world_open(&w) && folder_make(dir, "one"));
    AUTO_FREE char *ref = xasprintf("file://%s", dir), *pinned = NULL;
    CHECK_EQ(use(&w, &a, ARTIFACT_BUNDLE, ref), 0);
    CHECK_EQ(use(&w, &b, ARTIFACT_BUNDLE, ref), 0);
    settle(&w, &a);
    settle(&w, &b);
    CHECK(a.presents == 1 && a.verifieds == 1 && b.verifieds == 1);
    CHECK_EQ(artifact_totals(w.store).fetches, 1);
    CHECK(strncmp(a.path, "bundles/sha256-", 15) == 0 && a.facts.unpack_end_us > 0);
    snprintf(first, sizeof first, "%s", a.digest);
    pinned = xasprintf("%s@%s", ref, first);
    CHECK(file_put(dir, "run", "two", 3, 0755)); /* edited after the deploy */
    CHECK_EQ(use(&w, &c, ARTIFACT_BUNDLE, pinned), 0);
    settle(&w, &c);
    CHECK(c.verifieds == 1 && c.facts.was_present);
    CHECK_STR(c.digest, first);
    artifact_use_free(c.use);
    CHECK_EQ(use(&w, &c, ARTIFACT_BUNDLE, ref), 0); /* a new deploy sees the new content */
    settle(&w, &c);
    CHECK(c.verifieds == 1 && strcmp(c.digest, first) != 0);
    artifact_use_free(c.use);
    artifact_use_free(a.use);
    artifact_use_free(b.use);
    struct err e;
    CHECK_EQ(artifact_evict(w.store, first, &e), 0);
    CHECK_EQ(use(&w, &c, ARTIFACT_BUNDLE, pinned), 0); /* cannot be had any more */
    settle(&w, &c);
    CHECK(c.faileds == 1 && !c.retryable && strstr(c.error.text, "expected sha256:"));
    artifact_use_free(c.use);
    CHECK_EQ(use(&w, &c, ARTIFACT_BUNDLE, "file:///nowhere/at/all"), 0);
    settle(&w, &c);
    CHECK(c.faileds == 1 && c.at == PHASE_IMAGE_PULL && c.error.code == CODE_NOT_FOUND);
    artifact_use_free(c.use);
    dir_remove(dir);
    world_close(&w);
}

TEST(what_was_resolved_is_asked_for_though_the_reference_does_not_say_it)
{
    struct world w;
    struct user v = { 0 };
    struct err e;
    char dir[64], first[80];
    CHECK(world_open(&w) && folder_make(dir, "one"));
    AUTO_FREE char *ref = xasprintf("file://%s/run", dir);
    AUTO_FREE char *other = xasprintf("%s@sha256:%064d", ref, 0);
    CHECK_EQ(use(&w, &v, ARTIFACT_MODEL, ref), 0);
    settle(&w, &v);
    CHECK_EQ(v.verifieds, 1);
    artifact_use_free(v.use);
    snprintf(first, sizeof first, "%s", v.digest);
    CHECK(file_put(dir, "run", "two", 3, 0644));
    CHECK_EQ(use_as(&w, &v, ARTIFACT_MODEL, ref, first), 0);
    settle(&w, &v);
    CHECK(v.verifieds == 1 && v.facts.was_present);
    CHECK_STR(v.digest, first);
    artifact_use_free(v.use);
    CHECK_EQ(artifact_evict(w.store, first, &e), 0);
    CHECK_EQ(use_as(&w, &v, ARTIFACT_MODEL, ref, first), 0); /* the file is another now, and is not taken */
    settle(&w, &v);
    CHECK(v.faileds == 1 && !v.retryable && strstr(v.error.text, "expected sha256:"));
    artifact_use_free(v.use);
    CHECK_EQ(use_as(&w, &v, ARTIFACT_MODEL, other, first), -CODE_INVALID);
    dir_remove(dir);
    world_close(&w);
}

TEST(room_is_made_from_the_least_recently_used_that_nobody_needs)
{
    struct world w;
    struct user v = { 0 }, keep = { 0 };
    struct err e;
    char names[4][80], path[128], dir[64] = "/tmp/hob-source-XXXXXX";
    CHECK(world_open(&w) && mkdtemp(dir));
    for (int i = 0; i < 4; i++) {
        char name[2] = { (char)('a' + i), 0 };
        CHECK(file_put(dir, name, content + i, 200000, 0644));
        snprintf(path, sizeof path, "file://%s/%s", dir, name);
        struct user *who = i == 0 ? &keep : &v;
        CHECK_EQ(use(&w, who, ARTIFACT_MODEL, path), 0);
        settle(&w, who);
        CHECK_EQ(who->verifieds, 1);
        snprintf(names[i], sizeof names[i], "%s", who->digest);
        if (i > 0)
            artifact_use_free(v.use);
        for (int64_t ms = loop_wall_ms(); loop_wall_ms() == ms;)
            continue; /* last-used times have milliseconds, and must differ */
    }
    artifact_pin(w.store, names[1]);
    w.x.limits.store_bytes_max = SIZE + 400000; /* 800000 are there; a and b must stay */
    CHECK_EQ(fetch_one(&w, &v), 0);
    CHECK_EQ(v.verifieds, 1);
    CHECK(stored(&w.x, false, names[0] + 7) && stored(&w.x, false, names[1] + 7));
    CHECK(!stored(&w.x, false, names[2] + 7) && !stored(&w.x, false, names[3] + 7));
    CHECK_EQ(artifact_totals(w.store).bytes, SIZE + 400000);
    CHECK_EQ(artifact_evict(w.store, names[0], &e), -CODE_PRECONDITION);
    CHECK_EQ(artifact_evict(w.store, names[1], &e), -CODE_PRECONDITION);
    CHECK_EQ(artifact_evict(w.store, names[2], &e), -CODE_NOT_FOUND);
    artifact_unpin(w.store, names[1]);
    CHECK_EQ(artifact_evict(w.store, names[1], &e), 0);
    CHECK_EQ(artifact_totals(w.store).evicted, 3);
    artifact_use_free(v.use);
    artifact_use_free(keep.use);
    dir_remove(dir);
    world_close(&w);
}

TEST(what_does_not_fit_is_refused_before_its_first_byte)
{
    struct world w;
    struct user v = { 0 };
    CHECK(world_open(&w));
    w.x.limits.store_bytes_max = SIZE - 1;
    CHECK_EQ(fetch_one(&w, &v), 0);
    CHECK(v.faileds == 1 && !v.retryable && v.error.code == CODE_EXHAUSTED && strstr(v.error.text, "store_bytes_max"));
    struct artifact_totals t = artifact_totals(w.store);
    CHECK(t.origin_bytes == 0 && t.disk_refusals == 1 && t.bytes == 0);
    CHECK_EQ(names_in(&w.x, "ingest"), 0);
    artifact_use_free(v.use);
    w.x.limits.store_bytes_max = 0;
    w.x.limits.artifact_bytes_max = SIZE - 1;
    CHECK_EQ(fetch_one(&w, &v), 0);
    CHECK(v.faileds == 1 && !v.retryable && strstr(v.error.text, "artifact_bytes_max"));
    CHECK_EQ(artifact_totals(w.store).origin_bytes, 0);
    artifact_use_free(v.use);
    world_close(&w);
}

/* A real file system that is really full: refused up front where the size is known, stopped midway
 * where it is not; either way nothing stays. */
TEST(a_full_disk_leaves_nothing_behind)
{
    for (int said = 0; said < 2; said++) {
        struct world w;
        struct user v = { 0 };
        char small[] = "/tmp/hob-small-XXXXXX";
        CHECK(world_open(&w));
        artifact_store_free(w.store);
        w.store = NULL;
        CHECK(mkdtemp(small));
        if (mount("none", small, "tmpfs", MS_NOSUID | MS_NODEV, "size=512k") < 0) {
            rmdir(small);
            world_close(&w);
            SKIP("mounting a small file system needs root");
        }
        w.x.limits.store_free_bytes_min = 0;
        struct err e;
        int r = artifact_store_open(w.loop, small, &w.x.limits, &w.transport, &w.store, &e);
        w.script[0].lie_size = said ? -1 : -2;
        int asked = r == 0 ? fetch_one(&w, &v) : r;
        struct artifact_totals t = r == 0 ? artifact_totals(w.store) : (struct artifact_totals){ 0 };
        if (v.use)
            artifact_use_free(v.use);
        artifact_store_free(w.store);
        w.store = NULL;
        struct fixture at = { 0 };
        snprintf(at.dir, sizeof at.dir, "%s", small);
        int left = names_in(&at, "ingest"), blobs = names_in(&at, "blobs/sha256");
        umount(small);
        rmdir(small);
        CHECK_EQ(asked, 0);
        if (v.faileds != 1 || v.retryable || v.error.code != CODE_EXHAUSTED || !strstr(v.error.text, "disk"))
            FAIL("failed %d retryable %d %s", v.faileds, v.retryable, v.error.text);
        CHECK(left == 0 && blobs == 0 && t.bytes == 0);
        CHECK(!said || t.origin_bytes == 0);
        world_close(&w);
    }
}

TEST(a_waiter_over_the_limit_is_refused_by_name)
{
    struct world w;
    struct user v[3] = { 0 };
    AUTO_FREE char *ref = NULL;
    CHECK(world_open(&w));
    ref = model("a");
    w.x.limits.fetch_waiters_max = 2;
    CHECK_EQ(use(&w, &v[0], ARTIFACT_MODEL, ref), 0);
    CHECK_EQ(use(&w, &v[1], ARTIFACT_MODEL, ref), 0);
    CHECK_EQ(use(&w, &v[2], ARTIFACT_MODEL, ref), -CODE_EXHAUSTED);
    CHECK(strstr(v[2].error.text, "fetch_waiters_max"));
    artifact_use_free(v[0].use);
    artifact_use_free(v[1].use);
    world_close(&w);
}

TEST(no_more_downloads_run_at_once_than_allowed)
{
    struct world w;
    struct user v[4] = { 0 };
    struct err e;
    CHECK(world_open(&w));
    w.hold = true;
    w.x.limits.fetch_concurrent_max = 2; /* the pool has more threads: the queue must hold them back */
    for (int i = 0; i < 4; i++) {
        char wrong[65];
        hex_of(&i, sizeof i, wrong);
        AUTO_FREE char *ref = xasprintf("http://a/%d@sha256:%s", i, wrong);
        CHECK_EQ(use(&w, &v[i], ARTIFACT_MODEL, ref), 0);
    }
    while (w.live < 2)
        CHECK(loop_turn(w.loop, true, &e) >= 0);
    for (int i = 0; i < 100; i++) { /* a third one would come now */
        CHECK(loop_turn(w.loop, false, &e) >= 0);
        usleep(100);
    }
    w.hold = false;
    for (size_t i = 0; i < w.held_count; i++)
        loop_defer(w.loop, w.held[i]);
    while (!over(&v[3]) || !over(&v[2]) || !over(&v[1]) || !over(&v[0]))
        CHECK(loop_turn(w.loop, true, &e) >= 0);
    CHECK_EQ(w.live_most, 2);
    CHECK_EQ(w.tries, 4);
    for (int i = 0; i < 4; i++)
        artifact_use_free(v[i].use);
    world_close(&w);
}

TEST(what_is_in_the_store_can_be_looked_at)
{
    struct world w;
    struct user v = { 0 };
    struct artifact_info i = { 0 };
    CHECK(world_open(&w));
    CHECK_EQ(fetch_one(&w, &v), 0);
    artifact_each(w.store, info_count, &i);
    CHECK(i.state == ARTIFACT_PRESENT && i.size_bytes == SIZE && i.have_bytes == SIZE && i.users == 1 &&
          i.origin_bytes == SIZE && i.kind == ARTIFACT_MODEL && i.last_used_wall_ms > 0);
    CHECK_STR(i.digest, digest);
    CHECK(strncmp(i.reference, "http://a/m.bin@", 15) == 0 && i.resident_permille == 1000);
    artifact_use_free(v.use);
    world_close(&w);
}

/* The node has no privilege: folders without write permission must still be moved and emptied. */
TEST(it_works_without_privilege)
{
    if (geteuid() != 0)
        SKIP("already without privilege: the other tests show it");
    pid_t child = fork();
    if (child == 0) {
        struct world w;
        struct user v = { 0 };
        struct err e;
        char dir[64], sub[80];
        bool fine = setgid(65534) == 0 && setuid(65534) == 0 && world_open(&w) && folder_make(dir, "one");
        snprintf(sub, sizeof sub, "%s/lib", dir);
        fine = fine && mkdir(sub, 0700) == 0 && file_put(sub, "x", "x", 1, 0600);
        AUTO_FREE char *ref = xasprintf("file://%s", dir);
        fine = fine && use(&w, &v, ARTIFACT_BUNDLE, ref) == 0;
        if (fine)
            settle(&w, &v);
        fine = fine && v.verifieds == 1;
        artifact_use_free(v.use);
        fine = fine && artifact_evict(w.store, v.digest, &e) == 0;
        artifact_store_free(w.store);
        fine = fine && names_in(&w.x, "ingest") == 0 && names_in(&w.x, "bundles") == 0;
        loop_free(w.loop);
        fixture_close(&w.x);
        dir_remove(dir);
        _exit(fine ? 0 : 1);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST(a_failed_opening_leaves_nothing_open)
{
    struct world w;
    CHECK(world_open(&w));
    artifact_store_free(w.store);
    int before = fds_open(), nth = 0;
    for (bool fired = true; fired;) {
        CHECK(++nth < 60);
        struct err e = { 0 };
        w.store = NULL;
        fault_arm(nth);
        int r = artifact_store_open(w.loop, w.x.dir, &w.x.limits, &w.transport, &w.store, &e);
        fired = fault_fired();
        fault_arm(0);
        CHECK((r < 0) == fired && (w.store == NULL) == fired && (e.code != CODE_OK) == fired);
        artifact_store_free(w.store);
        CHECK_EQ(fds_open(), before);
    }
    CHECK(nth > 8);
    w.store = NULL;
    world_close(&w);
}

TEST_MAIN()
