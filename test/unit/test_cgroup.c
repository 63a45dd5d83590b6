#include "tap.h"

#include "os/cgroup.h"
#include "os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Memory files stand for control files, so that both versions are seen on every host. */
static struct cgroup_files fake_files(bool v1)
{
    struct cgroup_files f = { .memory_v1 = v1, .cpu_v1 = v1 };
    f.memory = memfd_create("memory", MFD_CLOEXEC);
    f.swap = memfd_create("swap", MFD_CLOEXEC);
    f.oom_group = v1 ? -1 : memfd_create("oom", MFD_CLOEXEC);
    f.cpu_quota = memfd_create("quota", MFD_CLOEXEC);
    f.cpu_period = v1 ? memfd_create("period", MFD_CLOEXEC) : -1;
    f.cpu_shares = memfd_create("shares", MFD_CLOEXEC);
    f.pids = memfd_create("pids", MFD_CLOEXEC);
    return f;
}

static const char *text_of(int fd)
{
    static char text[64];
    struct err e = { 0 };
    return fd_text_read(fd, text, sizeof text, &e) < 0 ? "?" : text;
}

TEST(limits_are_written_as_version_1_reads_them)
{
    struct cgroup_files f = fake_files(true);
    const struct cgroup_limits l = { .memory_bytes = 1 << 20, .cpu_milli = 250, .pids_max = 33 };
    struct err e = { 0 };
    CHECK_EQ(cgroup_limits_write(&f, &l, &e), 0);
    CHECK_STR(text_of(f.memory), "1048576");
    CHECK_STR(text_of(f.swap), "1048576"); /* memory and swap together */
    CHECK_STR(text_of(f.cpu_period), "100000");
    CHECK_STR(text_of(f.cpu_quota), "25000");
    CHECK_STR(text_of(f.cpu_shares), "256");
    CHECK_STR(text_of(f.pids), "33");
    cgroup_files_close(&f);
}

TEST(limits_are_written_as_version_2_reads_them)
{
    struct cgroup_files f = fake_files(false);
    const struct cgroup_limits l = { .memory_bytes = 1 << 20, .cpu_milli = 1000, .pids_max = 33 };
    struct err e = { 0 };
    CHECK_EQ(cgroup_limits_write(&f, &l, &e), 0);
    CHECK_STR(text_of(f.memory), "1048576");
    CHECK_STR(text_of(f.swap), "0"); /* swap alone */
    CHECK_STR(text_of(f.oom_group), "1");
    CHECK_STR(text_of(f.cpu_quota), "100000 100000");
    CHECK_STR(text_of(f.cpu_shares), "39"); /* as Kubernetes turns 1024 shares into weight */
    CHECK_STR(text_of(f.pids), "33");
    cgroup_files_close(&f);
}

TEST(the_least_and_the_most_cpu_stay_in_the_kernels_range)
{
    static const struct {
        uint32_t milli;
        const char *quota, *shares;
    } cases[] = { { 1, "1000", "2" }, { 10, "1000", "10" }, { 1024000, "102400000", "262144" } };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct cgroup_files f = fake_files(true);
        const struct cgroup_limits l = { .memory_bytes = 1, .cpu_milli = cases[i].milli, .pids_max = 1 };
        struct err e = { 0 };
        CHECK_EQ(cgroup_limits_write(&f, &l, &e), 0);
        CHECK_STR(text_of(f.cpu_quota), cases[i].quota);
        CHECK_STR(text_of(f.cpu_shares), cases[i].shares);
        cgroup_files_close(&f);
    }
}

TEST(what_the_host_lacks_is_left_out)
{
    struct cgroup_files f = { -1, -1, -1, -1, -1, -1, -1, false, false };
    const struct cgroup_limits l = { .memory_bytes = 1, .cpu_milli = 1, .pids_max = 1 };
    struct err e = { 0 };
    CHECK_EQ(cgroup_limits_write(&f, &l, &e), 0);
}

TEST(cpu_time_is_read_in_both_versions_words)
{
    CHECK_EQ(cgroup_cpu_parse("1234567\n"), 1234);
    CHECK_EQ(cgroup_cpu_parse("usage_usec 77\nuser_usec 50\nsystem_usec 27\n"), 77);
    CHECK_EQ(cgroup_cpu_parse("user_usec 50\nusage_usec 78\n"), 78);
    CHECK_EQ(cgroup_cpu_parse(""), 0);
}

/* On the real thing. */
TEST(a_sweep_kills_what_is_in_groups_of_its_name_and_nothing_else)
{
    struct cgroup_tree *t = NULL;
    struct cgroup *g = NULL;
    struct err e = { 0 };
    char name[48];
    int status = 0;
    snprintf(name, sizeof name, "hob-test-sweep-%d", (int)getpid());
    CHECK_EQ(cgroup_tree_open(name, &t, &e), 0);
    if (!cgroup_tree_has(t, CGROUP_PIDS) && !cgroup_tree_has(t, CGROUP_MEMORY)) {
        cgroup_tree_free(t);
        SKIP("no control group that we may use");
    }
    CHECK_EQ(cgroup_open(t, "1", &g, &e), 0);
    fflush(stdout);
    char byte = 0;
    AUTO_CLOSE int told = -1, tell = -1;
    CHECK_EQ(fd_pipe(&told, &tell, &e), 0);
    pid_t inside = fork(), outside = inside ? fork() : -1;
    if (inside == 0 || outside == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody */
    if (inside == 0 && (cgroup_enter(g, &e) < 0 || write(tell, "i", 1) != 1))
        _exit(1);
    if (inside == 0 || outside == 0) {
        close(tell);
        for (;;)
            pause();
    }
    close(TAKE_FD(tell));
    CHECK(read(told, &byte, 1) == 1 && byte == 'i');
    CHECK_EQ(cgroup_close(g, &e), 1); /* busy: not freed */
    CHECK(cgroup_sweep(name, &e) >= 1);
    CHECK_EQ(waitpid(inside, &status, 0), inside);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    CHECK_EQ(waitpid(outside, &status, WNOHANG), 0);
    kill(outside, SIGKILL);
    waitpid(outside, &status, 0);
    CHECK_EQ(cgroup_close(g, &e), 0); /* gone already, which is as good */
    cgroup_tree_free(t);
    CHECK_EQ(cgroup_sweep(name, &e), 0);
}

TEST_MAIN()
