#include "os/cgroup.h"
#include "base/str.h"
#include "os/fault.h"
#include "os/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    HIERARCHIES_MAX = 16, /* version 1 has at most one per controller; the kernel knows 14 */
    WALK_DEPTH_MAX = 12,  /* of a sweep: systemd nests six, containers in containers ten */
    CPU_PERIOD_US = 100000,
};

struct hierarchy {
    int version;
    char mount[256]; /* where it is mounted */
    char own[256];   /* our own group in it, from the mount */
    uint32_t kinds;  /* BIT(CGROUP_…) that it controls */
    int fd;          /* <name>/ in it; -1 while not made */
    char path[700];  /* the same */
};

struct cgroup_tree {
    char name[64];
    struct hierarchy at[HIERARCHIES_MAX];
    size_t count;
};

struct cgroup {
    struct cgroup_tree *tree;
    char id[64];
    int fds[HIERARCHIES_MAX]; /* its directory in each hierarchy in use; -1 */
};

static const char *const kind_names[CGROUP_KINDS] = { "cpu", "cpuacct", "memory", "pids" };

/* The next process id in a list of lines; 0: no more, -1: something else. */
static int pid_next(struct str *rest)
{
    uint64_t n;
    if (rest->size == 0)
        return 0;
    return str_u64(str_cut(rest, '\n'), &n) && n > 0 && n <= INT_MAX ? (int)n : -1;
}

/* ---- what the host has ------------------------------------------------------------------ */

static uint32_t kinds_in(const char *list, const char *separators)
{
    uint32_t kinds = 0;
    while (*list) {
        struct str word = { list, strcspn(list, separators) };
        for (int k = 0; k < CGROUP_KINDS; k++)
            if (str_is(word, kind_names[k]))
                kinds |= (uint32_t)BIT(k);
        list += word.size + (list[word.size] != '\0');
    }
    return kinds;
}

/* "/proc/self/cgroup": lines of id:controllers:path. Our path in the hierarchy h. */
static void own_path_find(struct hierarchy *h)
{
    char text[4096], controllers[256];
    struct err e = { 0 };
    if (fd_path_read(AT_FDCWD, "/proc/self/cgroup", text, sizeof text, &e) < 0)
        return;
    for (struct str rest = str_of(text); rest.size > 0;) {
        struct str line = str_cut(&rest, '\n');
        (void)str_cut(&line, ':');
        struct str list = str_cut(&line, ':');
        snprintf(controllers, sizeof controllers, STR_FMT, STR_ARG(list));
        bool same = h->version == 2 ? list.size == 0 : (kinds_in(controllers, ",") & h->kinds) != 0;
        if (same && line.size < sizeof h->own)
            snprintf(h->own, sizeof h->own, STR_FMT, str_is(line, "/") ? 0 : (int)line.size, line.at);
    }
}

/* One line of /proc/self/mountinfo: "… root mountpoint options … - type source superoptions". */
static void mount_line(struct cgroup_tree *t, char *line)
{
    char root[256], at[256], type[32], super[256];
    char *tail = strstr(line, " - ");
    if (!tail || t->count == HIERARCHIES_MAX ||
        sscanf(line, "%*s %*s %*s %255s %255s", root, at) != 2 ||
        sscanf(tail + 3, "%31s %*s %255s", type, super) != 2)
        return;
    struct hierarchy h = { .fd = -1 };
    snprintf(h.mount, sizeof h.mount, "%s", at);
    if (strcmp(type, "cgroup2") == 0) {
        h.version = 2;
    } else if (strcmp(type, "cgroup") == 0) {
        h.version = 1;
        h.kinds = kinds_in(super, ",");
        if (h.kinds == 0) /* a controller that we do not use, or systemd's own tree */
            return;
    } else {
        return;
    }
    own_path_find(&h);
    /* A container that sees only its part: the mount's root is our own group. */
    if (strcmp(root, "/") != 0) {
        size_t n = strlen(root);
        bool inside = strncmp(h.own, root, n) == 0;
        memmove(h.own, inside ? h.own + n : "", inside ? strlen(h.own + n) + 1 : 1);
    }
    t->at[t->count++] = h;
}

static int hierarchies_find(struct cgroup_tree *t, struct err *e)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    char *line = NULL;
    size_t room = 0;
    if (!f)
        return err_sys(e, "/proc/self/mountinfo");
    while (getline(&line, &room, f) > 0)
        mount_line(t, line);
    free(line);
    (void)fclose(f);
    return 0;
}

/* ---- making our part of a hierarchy ----------------------------------------------------- */

static int dir_make(int at_fd, const char *path, struct err *e)
{
    if (fault_hit("mkdir") || (mkdirat(at_fd, path, 0755) < 0 && errno != EEXIST))
        return err_sys(e, "make control group %s", path);
    int fd = openat(at_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? err_sys(e, "control group %s", path) : fd;
}

static uint32_t controllers_of(int fd, const char *file)
{
    char text[512];
    struct err e = { 0 };
    return fd_path_read(fd, file, text, sizeof text, &e) < 0 ? 0 : kinds_in(text, " \n");
}

static void controllers_enable(int fd)
{
    static const char *const words[] = { "+cpu", "+memory", "+pids" };
    for (size_t i = 0; i < COUNT_OF(words); i++) /* each for itself: one refused keeps the others */
        fd_path_try(fd, "cgroup.subtree_control", words[i]);
}

/* Moves every process of the group `fd` into its child `leaf`, so that it may hand down
 * controllers. Only where the group is all ours to arrange. */
static void processes_move(int fd, const char *leaf)
{
    char text[4096], one[16];
    struct err e = { 0 };
    AUTO_CLOSE int child = dir_make(fd, leaf, &e);
    if (child < 0 || fd_path_read(fd, "cgroup.procs", text, sizeof text, &e) < 0)
        return;
    struct str rest = str_of(text);
    for (int pid; (pid = pid_next(&rest)) != 0;) {
        snprintf(one, sizeof one, "%d", pid);
        fd_path_try(child, "cgroup.procs", one);
    }
}

static bool only_process_is_us(int fd)
{
    char text[256];
    struct err e = { 0 };
    if (fd_path_read(fd, "cgroup.procs", text, sizeof text, &e) < 0)
        return false;
    struct str rest = str_of(text);
    return pid_next(&rest) == (int)getpid() && rest.size == 0;
}

/* Version 2: from our own group upwards, the first one that hands down what it has itself. */
static int unified_place(struct hierarchy *h, const char *name, struct err *e)
{
    const uint32_t wanted = (uint32_t)(BIT(CGROUP_CPU) | BIT(CGROUP_MEMORY) | BIT(CGROUP_PIDS));
    char path[600], leaf[80];
    snprintf(path, sizeof path, "%s%s", h->mount, h->own);
    snprintf(leaf, sizeof leaf, "%s.self", name);
    for (;;) {
        AUTO_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        uint32_t here = fd < 0 ? 0 : controllers_of(fd, "cgroup.controllers") & wanted;
        if (fd >= 0 && here) {
            controllers_enable(fd);
            if ((controllers_of(fd, "cgroup.subtree_control") & here) != here &&
                (only_process_is_us(fd) || strcmp(path, h->mount) == 0)) {
                processes_move(fd, leaf);
                controllers_enable(fd);
            }
            uint32_t down = controllers_of(fd, "cgroup.subtree_control") & wanted;
            if (down) {
                h->fd = dir_make(fd, name, e);
                snprintf(h->path, sizeof h->path, "%s/%s", path, name);
                if (h->fd >= 0) {
                    controllers_enable(h->fd);
                    h->kinds = controllers_of(h->fd, "cgroup.subtree_control") & wanted;
                    if (h->kinds & BIT(CGROUP_CPU))
                        h->kinds |= (uint32_t)BIT(CGROUP_CPUACCT); /* cpu.stat tells */
                    return 0;
                }
            }
        }
        char *slash = strrchr(path, '/');
        if (strcmp(path, h->mount) == 0 || !slash || slash == path)
            return 1;
        *slash = '\0';
    }
}

static int classic_place(struct hierarchy *h, const char *name, struct err *e)
{
    char path[600];
    snprintf(path, sizeof path, "%s%s", h->mount, h->own);
    AUTO_CLOSE int own = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (own < 0)
        return 1;
    h->fd = dir_make(own, name, e);
    snprintf(h->path, sizeof h->path, "%s/%s", path, name);
    return h->fd < 0 ? 1 : 0;
}

/* On a host that mixes versions a controller is in one hierarchy only, so no two can claim one;
 * where the same hierarchy is mounted twice the first is used. */
static void claims_settle(struct cgroup_tree *t)
{
    uint32_t taken = 0;
    for (size_t i = 0; i < t->count; i++) {
        t->at[i].kinds &= ~taken;
        taken |= t->at[i].kinds;
    }
}

int cgroup_tree_open(const char *name, struct cgroup_tree **ret, struct err *e)
{
    AUTO(cgroup_tree) struct cgroup_tree *t = xcalloc(1, sizeof *t);
    ASSERT(strlen(name) < sizeof t->name);
    snprintf(t->name, sizeof t->name, "%s", name);
    int r = hierarchies_find(t, e);
    if (r < 0)
        return r;
    for (size_t i = 0; i < t->count; i++) {
        struct hierarchy *h = &t->at[i];
        struct err why = { 0 };
        r = h->version == 2 ? unified_place(h, name, &why) : classic_place(h, name, &why);
        if (r != 0)
            h->kinds = 0; /* not allowed to: an ordinary user without delegation */
    }
    claims_settle(t);
    *ret = TAKE(t);
    return 0;
}

void cgroup_tree_free(struct cgroup_tree *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->count; i++) {
        struct hierarchy *h = &t->at[i];
        if (h->fd < 0)
            continue;
        AUTO_CLOSE int up = openat(h->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        close(h->fd);
        if (up >= 0)
            (void)unlinkat(up, t->name, AT_REMOVEDIR);
    }
    free(t);
}

static const struct hierarchy *hierarchy_of(const struct cgroup_tree *t, enum cgroup_kind kind)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->at[i].kinds & BIT(kind))
            return &t->at[i];
    return NULL;
}

bool cgroup_tree_has(const struct cgroup_tree *t, enum cgroup_kind kind)
{
    return hierarchy_of(t, kind) != NULL;
}
int cgroup_tree_version(const struct cgroup_tree *t, enum cgroup_kind kind)
{
    const struct hierarchy *h = hierarchy_of(t, kind);
    return h ? h->version : 0;
}
const char *cgroup_tree_path(const struct cgroup_tree *t, enum cgroup_kind kind)
{
    const struct hierarchy *h = hierarchy_of(t, kind);
    return h ? h->path : NULL;
}
bool cgroup_tree_is_unified(const struct cgroup_tree *t)
{
    bool any = false;
    for (int k = 0; k < CGROUP_KINDS; k++) {
        int version = cgroup_tree_version(t, (enum cgroup_kind)k);
        if (version == 1)
            return false;
        any |= version == 2;
    }
    return any;
}

/* ---- sweeping --------------------------------------------------------------------------- */

/* Kills what is in the group `fd` and in those beneath, then removes them. */
static void group_end(int parent_fd, const char *name, int depth)
{
    AUTO_CLOSE int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    char text[8192];
    struct err e = { 0 };
    if (fd < 0 || depth > WALK_DEPTH_MAX)
        return;
    int own_fd = dup(fd);
    DIR *dir = own_fd < 0 ? NULL : fdopendir(own_fd);
    for (struct dirent *d; dir && (d = readdir(dir)) != NULL;)
        if (d->d_type == DT_DIR && d->d_name[0] != '.')
            group_end(fd, d->d_name, depth + 1);
    if (dir)
        (void)closedir(dir);
    /* A few rounds: a fork bomb makes new ones while we read, and the dead need a moment to leave. */
    for (int round = 0; round < 200; round++) {
        if (unlinkat(parent_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
            return;
        fd_path_try(fd, "cgroup.kill", "1"); /* version 2 only */
        if (fd_path_read(fd, "cgroup.procs", text, sizeof text, &e) < 0)
            continue;
        struct str rest = str_of(text);
        for (int pid; (pid = pid_next(&rest)) != 0;)
            if (pid > 1 && pid != (int)getpid())
                (void)kill(pid, SIGKILL);
        (void)nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
    }
}

static int walk(int parent_fd, const char *path, const char *name, int depth)
{
    int found = 0;
    int fd = openat(parent_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return 0;
    int list_fd = dup(fd);
    DIR *dir = list_fd < 0 || depth > WALK_DEPTH_MAX ? NULL : fdopendir(list_fd);
    if (!dir && list_fd >= 0)
        close(list_fd);
    for (struct dirent *d; dir && (d = readdir(dir)) != NULL;) {
        if (d->d_type != DT_DIR || d->d_name[0] == '.')
            continue;
        if (strcmp(d->d_name, name) == 0) {
            group_end(fd, name, 0);
            found++;
        } else {
            found += walk(fd, d->d_name, name, depth + 1);
        }
    }
    if (dir)
        (void)closedir(dir);
    close(fd);
    return found;
}

int cgroup_sweep(const char *name, struct err *e)
{
    struct cgroup_tree t = { 0 };
    int found = 0;
    ASSERT(strncmp(name, "hob-", 4) == 0); /* what carries this name is ours to kill */
    int r = hierarchies_find(&t, e);
    if (r < 0)
        return r;
    for (size_t i = 0; i < t.count; i++)
        found += walk(AT_FDCWD, t.at[i].mount, name, 0);
    return found;
}

/* ---- one group -------------------------------------------------------------------------- */

int cgroup_open(struct cgroup_tree *t, const char *id, struct cgroup **ret, struct err *e)
{
    AUTO(cgroup) struct cgroup *g = xcalloc(1, sizeof *g);
    ASSERT(strlen(id) < sizeof g->id);
    snprintf(g->id, sizeof g->id, "%s", id);
    g->tree = t;
    memset(g->fds, -1, sizeof g->fds);
    for (size_t i = 0; i < t->count; i++) {
        if (t->at[i].kinds == 0)
            continue;
        int fd = dir_make(t->at[i].fd, id, e);
        if (fd < 0)
            return fd;
        g->fds[i] = fd;
    }
    *ret = TAKE(g);
    return 0;
}

/* A single thread that moves itself cannot be in the middle of an exec or an exit, so the kernel takes no lock against
 * those (cgroup_procs_write_start()); for another's pid, or all threads of a process, it does. */
int cgroup_enter(const struct cgroup *g, struct err *e)
{
    for (size_t i = 0; i < g->tree->count; i++) {
        const char *file = g->tree->at[i].version == 1 ? "tasks" : "cgroup.procs";
        if (g->fds[i] >= 0 && fd_path_write(g->fds[i], file, "0", e) < 0)
            return err_wrap(e, "control group %s", g->id);
    }
    return 0;
}

/* The group's directory for `kind`, and the version it follows; -1: none. */
static int group_fd(const struct cgroup *g, enum cgroup_kind kind, int *ret_version)
{
    for (size_t i = 0; i < g->tree->count; i++) {
        if (g->fds[i] >= 0 && (g->tree->at[i].kinds & BIT(kind))) {
            *ret_version = g->tree->at[i].version;
            return g->fds[i];
        }
    }
    *ret_version = 0;
    return -1;
}

static int control_open(int fd, const char *name, bool optional, int *ret, struct err *e)
{
    *ret = fault_hit("open") ? -1 : openat(fd, name, O_WRONLY | O_CLOEXEC);
    if (*ret < 0 && !(optional && errno == ENOENT))
        return err_sys(e, "%s", name);
    return 0;
}

static int memory_files_open(const struct cgroup *g, struct cgroup_files *f, struct err *e)
{
    int version, fd = group_fd(g, CGROUP_MEMORY, &version);
    if (fd < 0)
        return 0;
    f->memory_v1 = version == 1;
    int r = control_open(fd, version == 1 ? "memory.limit_in_bytes" : "memory.max", false, &f->memory, e);
    /* Without swap accounting there is nothing to write to; doctor warns if the host swaps. */
    if (r == 0)
        r = control_open(fd, version == 1 ? "memory.memsw.limit_in_bytes" : "memory.swap.max", true,
                         &f->swap, e);
    if (r == 0 && version == 2)
        r = control_open(fd, "memory.oom.group", true, &f->oom_group, e);
    return r;
}

static int cpu_files_open(const struct cgroup *g, struct cgroup_files *f, struct err *e)
{
    int version, fd = group_fd(g, CGROUP_CPU, &version);
    if (fd < 0)
        return 0;
    f->cpu_v1 = version == 1;
    if (version == 2) {
        int r = control_open(fd, "cpu.max", false, &f->cpu_quota, e);
        return r < 0 ? r : control_open(fd, "cpu.weight", false, &f->cpu_shares, e);
    }
    int r = control_open(fd, "cpu.cfs_quota_us", true, &f->cpu_quota, e);
    if (r == 0)
        r = control_open(fd, "cpu.cfs_period_us", true, &f->cpu_period, e);
    return r < 0 ? r : control_open(fd, "cpu.shares", false, &f->cpu_shares, e);
}

int cgroup_files_open(const struct cgroup *g, struct cgroup_files *ret, struct err *e)
{
    struct cgroup_files f = { -1, -1, -1, -1, -1, -1, -1, false, false };
    int version, r = memory_files_open(g, &f, e);
    if (r == 0)
        r = cpu_files_open(g, &f, e);
    int pids = group_fd(g, CGROUP_PIDS, &version);
    if (r == 0 && pids >= 0)
        r = control_open(pids, "pids.max", false, &f.pids, e);
    if (r < 0) {
        cgroup_files_close(&f);
        return err_wrap(e, "control group %s", g->id);
    }
    *ret = f;
    return 0;
}

void cgroup_files_close(struct cgroup_files *f)
{
    int *const all[] = { &f->memory,     &f->swap,       &f->oom_group, &f->cpu_quota,
                         &f->cpu_period, &f->cpu_shares, &f->pids };
    for (size_t i = 0; i < COUNT_OF(all); i++)
        fd_auto(all[i]);
    for (size_t i = 0; i < COUNT_OF(all); i++)
        *all[i] = -1;
}

static int number_write(int fd, uint64_t n, const char *what, struct err *e)
{
    char text[32];
    if (fd < 0)
        return 0;
    snprintf(text, sizeof text, "%llu", (unsigned long long)n);
    return fd_text_write(fd, text, e) < 0 ? err_wrap(e, "%s", what) : 0;
}

static int memory_write(const struct cgroup_files *f, uint64_t bytes, struct err *e)
{
    int r = number_write(f->memory, bytes, "memory limit", e);
    if (r == 0) /* version 1 counts memory and swap together, version 2 swap alone */
        r = number_write(f->swap, f->memory_v1 ? bytes : 0, "swap limit", e);
    return r < 0 ? r : number_write(f->oom_group, 1, "group kill", e);
}

static int cpu_write(const struct cgroup_files *f, uint32_t milli, struct err *e)
{
    uint64_t quota_us = MAX((uint64_t)milli * CPU_PERIOD_US / 1000, UINT64_C(1000));
    uint64_t shares = MIN(MAX((uint64_t)milli * 1024 / 1000, UINT64_C(2)), UINT64_C(262144));
    if (f->cpu_v1) {
        int r = number_write(f->cpu_period, CPU_PERIOD_US, "cpu period", e);
        if (r == 0)
            r = number_write(f->cpu_quota, quota_us, "cpu quota", e);
        return r < 0 ? r : number_write(f->cpu_shares, shares, "cpu shares", e);
    }
    if (f->cpu_quota >= 0) {
        char text[64];
        snprintf(text, sizeof text, "%llu %d", (unsigned long long)quota_us, CPU_PERIOD_US);
        if (fd_text_write(f->cpu_quota, text, e) < 0)
            return err_wrap(e, "cpu quota");
    }
    /* as Kubernetes turns shares into weight */
    return number_write(f->cpu_shares, 1 + (shares - 2) * 9999 / 262142, "cpu weight", e);
}

int cgroup_limits_write(const struct cgroup_files *f, const struct cgroup_limits *l, struct err *e)
{
    int r = memory_write(f, l->memory_bytes, e);
    if (r == 0)
        r = cpu_write(f, l->cpu_milli, e);
    return r < 0 ? r : number_write(f->pids, l->pids_max, "process limit", e);
}

static uint64_t number_read(int dir_fd, const char *file)
{
    char text[64];
    struct err e = { 0 };
    if (dir_fd < 0 || fd_path_read(dir_fd, file, text, sizeof text, &e) < 0)
        return 0;
    return strtoull(text, NULL, 10);
}

/* "key N" in a file of such lines. */
static uint64_t keyed_parse(const char *text, const char *key)
{
    struct str rest = str_of(text), wanted = str_of(key);
    while (rest.size > 0) {
        struct str line = str_cut(&rest, '\n');
        struct str word = str_cut(&line, ' ');
        uint64_t n;
        if (str_eq(word, wanted) && str_u64(line, &n))
            return n;
    }
    return 0;
}

uint64_t cgroup_cpu_parse(const char *text)
{
    if (text[0] >= '0' && text[0] <= '9')
        return strtoull(text, NULL, 10) / 1000;
    return keyed_parse(text, "usage_usec");
}

void cgroup_usage(const struct cgroup *g, struct cgroup_usage *ret)
{
    char text[2048];
    struct err e = { 0 };
    int version, cpu = group_fd(g, CGROUP_CPUACCT, &version);
    *ret = (struct cgroup_usage){ 0 };
    if (cpu >= 0 && fd_path_read(cpu, version == 1 ? "cpuacct.usage" : "cpu.stat", text, sizeof text,
                                 &e) > 0)
        ret->cpu_us = cgroup_cpu_parse(text);
    int memory = group_fd(g, CGROUP_MEMORY, &version);
    if (memory < 0)
        return;
    ret->memory_bytes = number_read(memory, version == 1 ? "memory.usage_in_bytes" : "memory.current");
    ret->memory_peak_bytes =
        number_read(memory, version == 1 ? "memory.max_usage_in_bytes" : "memory.peak");
    if (fd_path_read(memory, version == 1 ? "memory.oom_control" : "memory.events", text, sizeof text,
                     &e) > 0)
        ret->oom_kills = keyed_parse(text, "oom_kill");
}

void cgroup_usage_open(const struct cgroup *g, int *ret_cpu_fd, int *ret_memory_fd)
{
    int version, fd = group_fd(g, CGROUP_CPUACCT, &version);
    *ret_cpu_fd = fd < 0 ? -1
                         : openat(fd, version == 1 ? "cpuacct.usage" : "cpu.stat",
                                  O_RDONLY | O_CLOEXEC);
    fd = group_fd(g, CGROUP_MEMORY, &version);
    *ret_memory_fd = fd < 0 ? -1
                            : openat(fd, version == 1 ? "memory.usage_in_bytes" : "memory.current",
                                     O_RDONLY | O_CLOEXEC);
}

int cgroup_oom_notice(const struct cgroup *g)
{
    char text[64];
    struct err e = { 0 };
    int version, fd = group_fd(g, CGROUP_MEMORY, &version);
    if (fd < 0 || version != 1)
        return -1;
    AUTO_CLOSE int control = openat(fd, "memory.oom_control", O_RDONLY | O_CLOEXEC);
    AUTO_CLOSE int notice = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (control < 0 || notice < 0)
        return -1;
    snprintf(text, sizeof text, "%d %d", notice, control);
    if (fd_path_write(fd, "cgroup.event_control", text, &e) < 0)
        return -1;
    return TAKE_FD(notice);
}

static int remove_all(struct cgroup *g, struct err *e)
{
    int r = 0;
    for (size_t i = 0; i < g->tree->count; i++) {
        if (g->fds[i] < 0)
            continue;
        if (unlinkat(g->tree->at[i].fd, g->id, AT_REMOVEDIR) < 0 && errno != ENOENT) {
            if (errno != EBUSY)
                return err_sys(e, "remove control group %s", g->id);
            r = 1;
            continue;
        }
        close(g->fds[i]);
        g->fds[i] = -1;
    }
    return r;
}

int cgroup_close(struct cgroup *g, struct err *e)
{
    int r = remove_all(g, e);
    if (r == 0)
        cgroup_free(g);
    return r;
}

void cgroup_free(struct cgroup *g)
{
    struct err e = { 0 };
    if (!g)
        return;
    (void)remove_all(g, &e);
    for (size_t i = 0; i < COUNT_OF(g->fds); i++)
        if (g->fds[i] >= 0)
            close(g->fds[i]);
    free(g);
}
