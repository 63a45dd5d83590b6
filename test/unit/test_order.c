#include "tap.h"

#include "sandbox/order.h"
#include "sandbox/protocol.h"

static const char *const some_argv[] = { "/app/main", "--x", NULL };
static const char *const some_env[] = { "A=b", "EMPTY=", NULL };

static struct sandbox_spec good(void)
{
    return (struct sandbox_spec){ .id = "hello-00001",
                                  .argv = some_argv,
                                  .env = some_env,
                                  .workdir = "/app",
                                  .uid = 65532,
                                  .gid = 65532,
                                  .memory_bytes = MIB(64),
                                  .ephemeral_bytes = MIB(1),
                                  .cpu_milli = 100,
                                  .pids_max = 10,
                                  .fds_max = 64 };
}

static int write_it(const struct sandbox_spec *s, struct err *e)
{
    struct limits l;
    struct buf b;
    limits_default(&l);
    buf_init(&b, ORDER_BYTES_MAX);
    int r = order_write(s, &l, 0, &b, e);
    buf_done(&b);
    return r;
}

TEST(what_is_written_is_read)
{
    const struct sandbox_mount mounts[] = { { "bundles/x", "/app" }, { "blobs/sha256/y", "/m/w" } };
    const struct sandbox_scratch scratches[] = { { "/cache", 0 }, { "/own", 65536 } };
    const struct sandbox_file files[] = { { "k", "text", 4, 0444 }, { "deep/er/x", "a\0b", 3, 0400 } };
    const struct sandbox_file one = { "only", "", 0, 0755 };
    const struct sandbox_folder folders[] = { { "/etc/conf", files, 2, false },
                                              { "/etc/none", NULL, 0, false },
                                              { "/etc/one", &one, 1, true } };
    struct sandbox_spec s = good();
    struct limits l;
    struct buf b;
    struct order p;
    struct err e = { 0 };
    s.mounts = mounts;
    s.mount_count = 2;
    s.scratches = scratches;
    s.scratch_count = 2;
    s.folders = folders;
    s.folder_count = 3;
    limits_default(&l);
    buf_init(&b, ORDER_BYTES_MAX);
    CHECK_EQ(order_write(&s, &l, ORDER_STAMPS, &b, &e), 0);
    CHECK_EQ(order_parse(buf_at(&b), b.size, &p, &e), 0);
    CHECK_STR(p.id, "hello-00001");
    CHECK_STR(p.workdir, "/app");
    CHECK_STR(p.argv[0], "/app/main");
    CHECK_STR(p.argv[1], "--x");
    CHECK(p.argv[2] == NULL);
    CHECK_STR(p.env[1], "EMPTY=");
    CHECK(p.env[2] == NULL);
    CHECK_STR(p.mounts[1].source, "blobs/sha256/y");
    CHECK_STR(p.mounts[1].target, "/m/w");
    CHECK_STR(p.scratches[1].target, "/own");
    CHECK_EQ(p.scratches[1].size_bytes, 65536);
    CHECK_EQ(p.shared_bytes, MIB(1) - 65536);
    CHECK_STR(p.folders[0].target, "/etc/conf");
    CHECK_EQ(p.folders[0].file_count, 2);
    CHECK(!p.folders[0].alone && p.folders[2].alone);
    CHECK_EQ(p.folders[0].files[0].mode, 0444);
    CHECK_STR(p.folders[0].files[1].path, "deep/er/x");
    CHECK_EQ(p.folders[0].files[1].size, 3);
    CHECK(memcmp(p.folders[0].files[1].data, "a\0b", 3) == 0);
    CHECK_EQ(p.folders[1].file_count, 0);
    CHECK_STR(p.folders[2].files[0].path, "only");
    CHECK_EQ(p.file_bytes, 7);
    CHECK_EQ(p.head->flags, ORDER_STAMPS);
    order_done(&p);
    /* every cut of it, and every one with a byte more, is refused */
    for (size_t n = 0; n < b.size; n++)
        CHECK_EQ(order_parse(buf_at(&b), n, &p, &e), -CODE_INVALID);
    buf_append(&b, "", 1);
    CHECK_EQ(order_parse(buf_at(&b), b.size, &p, &e), -CODE_INVALID);
    buf_done(&b);
}

TEST(places_that_are_not_for_mounts_are_refused)
{
    static const char *const targets[] = { "", "/", "app", "/app/", "//app", "/a//b", "/a/../b", "/a/./b",
                                           "/..", "/proc", "/proc/sys", "/sys/x", "/dev/shm" };
    static const char *const sources[] = { "", "/x", "../x", "a/../x", "a/", "a//b", "." };
    struct err e = { 0 };
    for (size_t i = 0; i < COUNT_OF(targets); i++) {
        const struct sandbox_mount m = { "bundles/x", targets[i] };
        const struct sandbox_scratch t = { targets[i], 0 };
        const struct sandbox_folder f = { targets[i], NULL, 0, false };
        struct sandbox_spec s = good();
        s.mounts = &m;
        s.mount_count = 1;
        if (write_it(&s, &e) != -CODE_INVALID)
            FAIL("mount at \"%s\" passes", targets[i]);
        s = good();
        s.scratches = &t;
        s.scratch_count = 1;
        if (write_it(&s, &e) != -CODE_INVALID)
            FAIL("scratch at \"%s\" passes", targets[i]);
        s = good();
        s.folders = &f;
        s.folder_count = 1;
        if (write_it(&s, &e) != -CODE_INVALID)
            FAIL("folder at \"%s\" passes", targets[i]);
    }
    for (size_t i = 0; i < COUNT_OF(sources); i++) {
        const struct sandbox_mount m = { sources[i], "/app" };
        struct sandbox_spec s = good();
        s.mounts = &m;
        s.mount_count = 1;
        if (write_it(&s, &e) != -CODE_INVALID)
            FAIL("source \"%s\" passes", sources[i]);
    }
    struct sandbox_spec s = good();
    CHECK_EQ(write_it(&s, &e), 0); /* the control */
}

static int write_file(const struct sandbox_file *files, size_t count, bool alone)
{
    const struct sandbox_folder folder = { "/etc/conf", files, count, alone };
    struct sandbox_spec s = good();
    struct err e = { 0 };
    s.folders = &folder;
    s.folder_count = 1;
    return write_it(&s, &e);
}

TEST(a_file_lies_below_its_folder_and_has_a_mode_of_nine_bits)
{
    static const char *const paths[] = { "", "/k", "..", "../k", "a/../../k", ".", "a/.", "a//b", "a/" };
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        const struct sandbox_file f = { paths[i], "x", 1, 0444 };
        if (write_file(&f, 1, false) != -CODE_INVALID)
            FAIL("\"%s\" passes", paths[i]);
    }
    const struct sandbox_file set_uid = { "k", "x", 1, 04755 }, deep = { "a/k", "x", 1, 0444 };
    const struct sandbox_file two[] = { { "k", "x", 1, 0444 }, { "l", "x", 1, 0444 } };
    CHECK_EQ(write_file(&set_uid, 1, false), -CODE_INVALID);
    CHECK_EQ(write_file(&deep, 1, true), -CODE_INVALID);
    CHECK_EQ(write_file(two, 2, true), -CODE_INVALID);
    CHECK_EQ(write_file(&deep, 1, false), 0); /* the controls */
    CHECK_EQ(write_file(two, 2, false), 0);
    CHECK_EQ(write_file(two, 1, true), 0);
}

TEST(more_files_than_their_limit_and_larger_ones_are_refused_by_name)
{
    struct limits l;
    limits_default(&l);
    AUTO_FREE struct sandbox_file *many = xcalloc(l.config_files_max + 1, sizeof *many);
    for (size_t i = 0; i <= l.config_files_max; i++)
        many[i] = (struct sandbox_file){ "k", "", 0, 0444 };
    AUTO_FREE char *large = xcalloc(1, MIB(1) + 1);
    const struct sandbox_file whole = { "k", large, MIB(1), 0444 }, more = { "k", large, MIB(1) + 1, 0444 };
    CHECK_EQ(write_file(many, l.config_files_max, false), 0);
    CHECK_EQ(write_file(many, l.config_files_max + 1, false), -CODE_EXHAUSTED);
    CHECK_EQ(write_file(&whole, 1, false), 0);
    CHECK_EQ(write_file(&more, 1, false), -CODE_EXHAUSTED);
}

TEST(what_no_sandbox_could_start_with_is_refused)
{
    static const char *const bad_env[] = { "A=b", "=x", NULL };
    static const char *const worse_env[] = { "NAME", NULL };
    static const char *const none[] = { NULL };
    static const char *const empty[] = { "", NULL };
    struct err e = { 0 };
    struct sandbox_spec s;
#define REFUSED(change)                                                                    \
    do {                                                                                   \
        s = good();                                                                        \
        change;                                                                            \
        if (write_it(&s, &e) != -CODE_INVALID)                                             \
            FAIL("%s passes", #change);                                                    \
    } while (0)
    REFUSED(s.id = "");
    REFUSED(s.id = "Upper");
    REFUSED(s.id = "-x");
    REFUSED(s.id = "x-");
    REFUSED(s.id = "a.b");
    REFUSED(s.workdir = "app");
    REFUSED(s.workdir = "/app/..");
    REFUSED(s.argv = none);
    REFUSED(s.argv = empty);
    REFUSED(s.env = bad_env);
    REFUSED(s.env = worse_env);
    REFUSED(s.uid = UINT32_MAX);
    REFUSED(s.gid = UINT32_MAX);
    REFUSED(s.memory_bytes = 4096);
    REFUSED(s.memory_bytes = UINT64_MAX);
    REFUSED(s.cpu_milli = 0);
    REFUSED(s.pids_max = 0);
    REFUSED(s.fds_max = 3);
    REFUSED(s.ephemeral_bytes = 4096);
    s = good();
    s.mount_count = 17;
    CHECK_EQ(write_it(&s, &e), -CODE_EXHAUSTED);
    CHECK(strstr(e.text, "sandbox_mounts_max"));
}

TEST(scratches_cannot_promise_more_than_there_is)
{
    struct sandbox_scratch t[] = { { "/a", 512 * 1024 }, { "/b", 512 * 1024 - 65536 } };
    struct sandbox_spec s = good();
    struct err e = { 0 };
    s.scratches = t;
    s.scratch_count = 2;
    CHECK_EQ(write_it(&s, &e), 0); /* exactly what /tmp needs is left */
    t[1].size_bytes++;
    CHECK_EQ(write_it(&s, &e), -CODE_INVALID);
    t[1].size_bytes = UINT64_MAX;
    CHECK_EQ(write_it(&s, &e), -CODE_INVALID);
}

TEST(requests_have_one_size_each)
{
    struct request q = { .type = REQUEST_KILL };
    struct err e = { 0 };
    for (uint32_t type = 0; type <= REQUEST_TYPES; type++) {
        size_t right = request_size(type);
        q.type = type;
        q.number = type == REQUEST_HELLO ? PROTOCOL_VERSION : type == REQUEST_SOCKETS || type == REQUEST_SIGNAL;
        memset(q.path, 0, sizeof q.path);
        if (type == REQUEST_JOIN)
            memcpy(q.name, "x", 2);
        else if (type == REQUEST_VOLUMES)
            q.volume_bytes[0] = (uint64_t)(q.number = 1);
        else
            memcpy(q.path, "/x", 3);
        for (size_t n = 0; n <= sizeof q; n++)
            CHECK_EQ(request_check(&q, n, &e) == 0, right > 0 && n == right);
    }
}

TEST(requests_about_pods_name_a_host_and_sizes)
{
    struct request q = { .type = REQUEST_JOIN, .id = 1 };
    struct err e = { 0 };
    static const char *const bad[] = { "", "-x", "x-", "X", "a.b", "a/b" };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        memset(q.name, 0, sizeof q.name);
        memcpy(q.name, bad[i], strlen(bad[i]));
        CHECK(request_check(&q, request_size(q.type), &e) < 0);
    }
    memset(q.name, 'a', sizeof q.name); /* without an end */
    CHECK(request_check(&q, request_size(q.type), &e) < 0);
    q = (struct request){ .type = REQUEST_VOLUMES, .id = 1, .number = 2, .volume_bytes = { 1, 2 } };
    CHECK_EQ(request_check(&q, request_size(q.type), &e), 0);
    q.volume_bytes[1] = 0;
    CHECK(request_check(&q, request_size(q.type), &e) < 0);
    q.volume_bytes[1] = UINT64_MAX;
    CHECK(request_check(&q, request_size(q.type), &e) < 0);
    q.volume_bytes[1] = q.volume_bytes[2] = 1; /* more than it says */
    CHECK(request_check(&q, request_size(q.type), &e) < 0);
    q.number = PROTOCOL_VOLUMES_MAX + 1;
    CHECK(request_check(&q, request_size(q.type), &e) < 0);
}

TEST(a_scratch_is_its_own_or_a_volume_of_the_pod)
{
    struct sandbox_scratch t[] = { { .target = "/a", .size_bytes = 1024 }, { .target = "/b", .volume = ORDER_VOLUMES_MAX } };
    struct sandbox_spec s = good();
    struct err e = { 0 };
    s.scratches = t;
    s.scratch_count = 2;
    s.ephemeral_bytes = 1024 + 65536; /* a volume is not taken off it */
    CHECK_EQ(write_it(&s, &e), 0);
    t[1].volume++;
    CHECK_EQ(write_it(&s, &e), -CODE_INVALID);
}

TEST(a_scratch_may_be_another_one_before_it_and_costs_nothing_then)
{
    struct sandbox_scratch t[] = { { .target = "/a", .size_bytes = 1024 },
                                   { .target = "/b", .size_bytes = 1024, .same = 1, .read_only = true },
                                   { .target = "/c", .volume = 1, .read_only = true } };
    struct sandbox_spec s = good();
    struct err e = { 0 };
    struct limits l;
    struct buf b;
    struct order p;
    s.scratches = t;
    s.scratch_count = 3;
    s.ephemeral_bytes = 1024 + 65536;
    limits_default(&l);
    buf_init(&b, ORDER_BYTES_MAX);
    CHECK_EQ(order_write(&s, &l, 0, &b, &e), 0);
    CHECK_EQ(order_parse(buf_at(&b), b.size, &p, &e), 0);
    CHECK(p.scratches[1].same == 1 && p.scratches[1].read_only && !p.scratches[0].read_only);
    CHECK(p.scratches[2].volume == 1 && p.scratches[2].read_only && p.scratches[0].size_bytes == 1024);
    CHECK_EQ(p.shared_bytes, 65536);
    order_done(&p);
    buf_done(&b);
    for (t[1].same = 2; t[1].same < 5; t[1].same++) /* itself, a later one, none */
        CHECK_EQ(write_it(&s, &e), -CODE_INVALID);
    t[1].same = 1;
    t[2].volume = 0;
    t[2].same = 2; /* which is none of its own */
    CHECK_EQ(write_it(&s, &e), -CODE_INVALID);
}

TEST_MAIN()
