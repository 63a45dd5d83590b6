#include "tap.h"

#include "fds.h"
#include "os/ns.h"
#include "sandbox/doctor.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

struct findings {
    int count, fails, warns, incomplete;
    char names[64][32];
    enum doctor_state states[64];
};

static void on_finding(void *ctx, const struct doctor_finding *f)
{
    struct findings *all = ctx;
    if (all->count == 64)
        return;
    snprintf(all->names[all->count], sizeof all->names[0], "%s", f->name);
    all->states[all->count++] = f->state;
    all->fails += f->state == DOCTOR_FAIL;
    all->warns += f->state == DOCTOR_WARN;
    /* whatever is not well says what it costs; nothing is said twice */
    all->incomplete += !f->detail[0] || (f->state != DOCTOR_OK) != (f->cost[0] != '\0');
    if (f->state != DOCTOR_OK)
        printf("# %s: %s; %s\n", f->name, f->detail, f->cost);
}

static enum doctor_state state_of(const struct findings *all, const char *name)
{
    for (int i = 0; i < all->count; i++)
        if (strcmp(all->names[i], name) == 0)
            return all->states[i];
    return (enum doctor_state)99;
}

TEST(every_finding_is_complete_and_nothing_stays)
{
    struct findings all = { 0 };
    int before = fds_open();
    doctor_run(on_finding, &all);
    CHECK(all.count >= 12);
    CHECK_EQ(all.incomplete, 0);
    CHECK_EQ(fds_open(), before);
    CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
    CHECK(access("/sys/fs/cgroup/memory/hob-doctor", F_OK) != 0);
    if (ns_privileged(&(struct err){ 0 }) == 1)
        CHECK_EQ(state_of(&all, "privilege"), DOCTOR_OK);
}

/* What a user without user namespaces would read: the limit is lowered in a namespace of ours. */
TEST(without_user_namespaces_it_says_so)
{
    struct err e = { 0 };
    int status = -1, pidfd = -1;
    fflush(stdout);
    int pid = ns_clone(0, &pidfd, &e);
    if (pid == 0) {
        struct findings all = { 0 };
        if (ns_privileged(&(struct err){ 0 }) != 1 || geteuid() != 0)
            _exit(77);
        /* no more namespaces beneath this one */
        if (ns_become_root(&e) < 0)
            _exit(77);
        FILE *f = fopen("/proc/sys/user/max_user_namespaces", "w");
        if (!f || fputs("0", f) < 0 || fclose(f) != 0)
            _exit(77);
        doctor_run(on_finding, &all);
        _exit(state_of(&all, "user-namespaces") == DOCTOR_FAIL &&
                      state_of(&all, "privilege") == DOCTOR_WARN && all.incomplete == 0
                  ? 0
                  : 1);
    }
    close(pidfd);
    waitpid(pid, &status, 0);
    if (WEXITSTATUS(status) == 77)
        SKIP("needs root, and a user namespace to take away");
    CHECK_EQ(status, 0);
}

TEST_MAIN()
