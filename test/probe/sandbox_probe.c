/* sandbox_probe.c -- what the sandbox tests run inside: looks around, or tries to do harm.
 *
 * Static and plain, so that it runs anywhere. A hostile deed that works exits 0, one that is refused
 * exits 1 and says why; so the same deed run outside shows that the probe itself works. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int refused(const char *what)
{
    printf("refused %s: %s\n", what, strerror(errno));
    return 1;
}
static int done(const char *what, int r)
{
    if (r < 0)
        return refused(what);
    printf("did %s\n", what);
    return 0;
}

/* ---- looking around ---- */

static void say_file(const char *name, const char *path)
{
    char text[4096];
    int fd = open(path, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[n < 0 ? 0 : n] = '\0';
    text[strcspn(text, "\n")] = '\0';
    printf("%s=%s\n", name, n < 0 ? strerror(errno) : text);
}

static void say_rw(const char *path)
{
    int fd = open(path, O_RDWR | O_NONBLOCK);
    const char *tail = strrchr(path, '/') + 1;
    if (fd < 0 && strcmp(tail, "tty") == 0 && errno == ENXIO) /* there is none, rightly */
        printf("dev.%s=rw\n", tail);
    else
        printf("dev.%s=%s\n", tail, fd < 0 ? strerror(errno) : "rw");
    if (fd >= 0)
        close(fd);
}

static void say_status(void)
{
    char line[512];
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        char *value = strchr(line, ':');
        if (!value)
            continue;
        *value++ = '\0';
        static const char *const wanted[] = { "Umask",  "SigBlk", "SigIgn",    "CapInh",     "CapPrm", "CapEff",
                                              "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp" };
        for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
            if (strcmp(line, wanted[i]) == 0)
                printf("status.%s=%s\n", line, value + strspn(value, " \t"));
    }
    if (f)
        fclose(f);
}

static void say_mounts(void)
{
    char line[4096], dev[256], at[256], type[64], options[1024];
    FILE *f = fopen("/proc/mounts", "r");
    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, "%255s %255s %63s %1023s", dev, at, type, options) != 4)
            continue;
        /* everything that can be written to has to be in this short list */
        if (strncmp(options, "rw", 2) == 0)
            printf("writable=%s\n", at);
        if (strstr(options, "nosuid") == NULL)
            printf("suid=%s\n", at);
        if (strcmp(at, "/proc/sys") == 0)
            printf("procsys=%s %s %.2s\n", dev, type, options);
        if (strcmp(at, "/sys/fs/cgroup") == 0)
            printf("cgroupfs=%s %.2s\n", type, options);
    }
    if (f)
        fclose(f);
}

static void say_network(void)
{
    struct if_nameindex *all = if_nameindex();
    for (struct if_nameindex *i = all; i && i->if_name; i++)
        printf("interface=%s\n", i->if_name);
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(80) };
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int s = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0);
    int r = bind(s, (struct sockaddr *)&a, sizeof a) < 0 || listen(s, 1) < 0 ||
            connect(c, (struct sockaddr *)&a, sizeof a) < 0;
    printf("loopback80=%s\n", r ? strerror(errno) : "works");
    close(s);
    close(c);
}

static int look(void)
{
    struct rlimit l;
    struct stat st;
    char host[128] = "", cwd[256] = "", byte;
    gethostname(host, sizeof host);
    printf("pid=%d\nppid=%d\nsid=%d\n", getpid(), getppid(), getsid(0));
    printf("uid=%u\neuid=%u\ngid=%u\ngroups=%d\n", getuid(), geteuid(), getgid(), getgroups(0, NULL));
    printf("host=%s\ncwd=%s\n", host, getcwd(cwd, sizeof cwd));
    printf("stdin=%zd\ntty=%d\n", read(0, &byte, 1), isatty(0) | isatty(1) | isatty(2));
    printf("console=%s\n", stat("/dev/console", &st) < 0 ? strerror(errno) : "there");
    for (int fd = 0; fd < 1024; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            printf("fd=%d\n", fd);
    int tmp = stat("/tmp", &st);
    printf("tmp=%o\n", tmp < 0 ? 0 : st.st_mode & 07777);
    int resolv = lstat("/etc/resolv.conf", &st);
    printf("resolv=%d %o\n", resolv == 0 && S_ISREG(st.st_mode), st.st_mode & 0777);
    getrlimit(RLIMIT_NOFILE, &l);
    printf("nofile=%llu %llu\n", (unsigned long long)l.rlim_cur, (unsigned long long)l.rlim_max);
    getrlimit(RLIMIT_CORE, &l);
    printf("core=%llu\ndumpable=%d\n", (unsigned long long)l.rlim_max, prctl(PR_GET_DUMPABLE));
    static const char *const devices[] = { "/dev/null", "/dev/zero", "/dev/full", "/dev/random",
                                           "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev/stdin",
                                           "/dev/stdout", "/dev/stderr", "/dev/fd/0" };
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
        say_rw(devices[i]);
    say_status();
    say_mounts();
    say_network();
    say_file("memory", "/sys/fs/cgroup/memory/memory.limit_in_bytes");
    say_file("shares", "/sys/fs/cgroup/cpu/cpu.shares");
    say_file("quota", "/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
    say_file("pids", "/sys/fs/cgroup/pids/pids.max");
    say_file("hostname", "/etc/hostname");
    say_file("oom", "/proc/self/oom_score_adj");
    for (char **v = environ; *v; v++)
        printf("env=%s\n", *v);
    return 0;
}

/* The kernel stacks at most sixteen Landlock rule sets on a process: how many are on us already shows in
 * how many more it takes. */
static int landlock_layers(void)
{
    unsigned long long handled[1] = { 1 };
    long set = syscall(SYS_landlock_create_ruleset, handled, sizeof handled, 0);
    int taken = 0;
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    while (set >= 0 && taken < 64 && syscall(SYS_landlock_restrict_self, set, 0) == 0)
        taken++;
    printf("layers=%d\n", taken);
    return 0;
}

/* ---- harm ---- */

static int call(const char *number)
{
    long r = syscall(atol(number), -1L, -1L, -1L, -1L, -1L, -1L);
    printf("call %s: %s\n", number, r < 0 ? strerror(errno) : "worked");
    return r < 0 && errno == ENOSYS; /* 1: it did not reach the kernel */
}

static int dial(const char *port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return done("dial", connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&a, sizeof a));
}

static int dial_abstract(const char *name)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    snprintf(a.sun_path + 1, sizeof a.sun_path - 1, "%s", name);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
    return done("dial abstract", connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&a, size));
}

static int put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        return refused(path);
    printf("wrote %s\n", path);
    return 0;
}

static int forks(void)
{
    int count = 0;
    for (; count < 400; count++) {
        pid_t pid = fork();
        if (pid == 0) {
            pause();
            _exit(0);
        }
        if (pid < 0)
            break;
    }
    printf("forks=%d\n", count);
    return 0;
}

static int descriptors(void)
{
    int count = 0;
    while (count < 100000 && open("/dev/null", O_RDONLY) >= 0)
        count++;
    printf("descriptors=%d\n", count);
    return 0;
}

static int hog(const char *mib)
{
    size_t size = (size_t)atol(mib) << 20;
    char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return refused("memory");
    for (size_t i = 0; i < size; i += 4096)
        at[i] = 1;
    printf("touched=%s\n", mib);
    return 0;
}

/* In a child, so that the first process is not the one that the kernel picks. */
static int hog_child(const char *mib)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(hog(mib));
    waitpid(pid, NULL, 0);
    sleep(20); /* the rest of the sandbox must not outlive it */
    return 0;
}

static int fill(int count, char **paths)
{
    static char block[65536];
    long long total = 0;
    for (int i = 0; i < count; i++) {
        char name[512];
        snprintf(name, sizeof name, "%s/filler", paths[i]);
        int fd = open(name, O_WRONLY | O_CREAT, 0600);
        long long here = 0;
        if (fd < 0) {
            printf("%s: %s\n", paths[i], strerror(errno));
            continue;
        }
        for (ssize_t n; here < (64 << 20) && (n = write(fd, block, sizeof block)) > 0;)
            here += n;
        printf("filled %s=%lld %s\n", paths[i], here, strerror(errno));
        total += here;
    }
    printf("total=%lld\n", total);
    return 0;
}

static int inodes(void)
{
    int count = 0;
    for (char name[64]; count < 100000; count++) {
        snprintf(name, sizeof name, "/tmp/i%d", count);
        int fd = open(name, O_WRONLY | O_CREAT, 0600);
        if (fd < 0)
            break;
        close(fd);
    }
    printf("inodes=%d\n", count);
    return 0;
}

static int flood(const char *mib)
{
    static char line[1024];
    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\n';
    for (long i = 0; i < atol(mib) * 1024; i++)
        if (write(1, line, sizeof line) < 0)
            return 1;
    return 0;
}

static int clone_user(void)
{
    long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        _exit(0);
    return done("clone", (int)pid);
}

static int device(void)
{
    char path[64];
    snprintf(path, sizeof path, "/tmp/disk-%d", (int)getpid());
    int r = mknod(path, S_IFBLK | 0600, (dev_t)(254 << 8));
    int why = errno;
    unlink(path);
    errno = why;
    return done("mknod", r);
}

static int serve(const char *port)
{
    const int on = 1;
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
    int s = socket(AF_INET, SOCK_STREAM, 0);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(s, (struct sockaddr *)&a, sizeof a) < 0 || listen(s, 64) < 0)
        return refused("serve");
    printf("serving\n");
    fflush(stdout);
    for (;;) {
        static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
        char request[4096];
        int c = accept(s, NULL, NULL);
        if (c >= 0 && read(c, request, sizeof request) > 0 && write(c, answer, sizeof answer - 1) < 0)
            return 1;
        close(c);
    }
}

static void on_term(int signo)
{
    static const char text[] = "caught\n";
    (void)signo;
    if (write(1, text, sizeof text - 1) > 0)
        _exit(5);
}

static _Noreturn void wait_term(void)
{
    signal(SIGTERM, on_term);
    printf("waiting\n");
    fflush(stdout);
    for (;;)
        pause();
}

/* Orphans are init's to reap, and "kill -1" is not to reach beyond. */
static int orphans(void)
{
    if (fork() == 0) {
        if (fork() == 0)
            _exit(0); /* its parent is gone: init reaps */
        _exit(0);
    }
    wait(NULL);
    struct timespec ms = { 0, 1000000 };
    for (int i = 0; i < 2000; i++) {
        if (kill(-1, 0) < 0 && errno == ESRCH)
            return printf("alone\n") < 0;
        nanosleep(&ms, NULL);
    }
    printf("somebody is left\n");
    return 1;
}

static int deed(const char *what, int count, char **more)
{
    const char *arg = count > 0 ? more[0] : "";
#define IS(name) (strcmp(what, name) == 0)
    if (IS("look"))
        return look();
    if (IS("layers"))
        return landlock_layers();
    if (IS("call"))
        return call(arg);
    if (IS("exit"))
        return atoi(arg);
    if (IS("die"))
        return raise(atoi(arg));
    if (IS("open"))
        return done(arg, open(arg, O_RDONLY));
    if (IS("stat")) {
        struct stat st;
        return done(arg, stat(arg, &st));
    }
    if (IS("put"))
        return put(arg, count > 1 ? more[1] : "");
    if (IS("mount"))
        return done("mount", mount("tmpfs", "/tmp", "tmpfs", 0, NULL));
    if (IS("setuid"))
        return done("setuid", setuid(0));
    if (IS("euid"))
        return printf("euid=%u\n", geteuid()) < 0;
    if (IS("trace"))
        return done("ptrace", (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL));
    if (IS("unshare"))
        return done("unshare", unshare(CLONE_NEWUSER));
    if (IS("clone"))
        return clone_user();
    if (IS("chroot"))
        return done("chroot", chroot("/tmp"));
    if (IS("mknod"))
        return device();
    if (IS("socket"))
        return done("socket", socket(atoi(arg), count > 1 ? atoi(more[1]) : SOCK_STREAM,
                                     count > 2 ? atoi(more[2]) : 0));
    if (IS("dial"))
        return dial(arg);
    if (IS("abstract"))
        return dial_abstract(arg);
    if (IS("kill"))
        return done("kill", kill(atoi(arg), count > 1 ? atoi(more[1]) : SIGKILL));
    if (IS("nice"))
        return done("nice", setpriority(PRIO_PROCESS, 0, -5));
    if (IS("hostname"))
        return done("hostname", sethostname("evil", 4));
    if (IS("forks"))
        return forks();
    if (IS("descriptors"))
        return descriptors();
    if (IS("hog"))
        return hog(arg);
    if (IS("hog-child"))
        return hog_child(arg);
    if (IS("fill"))
        return fill(count, more);
    if (IS("inodes"))
        return inodes();
    if (IS("flood"))
        return flood(arg);
    if (IS("serve"))
        return serve(arg);
    if (IS("wait"))
        wait_term();
    if (IS("orphans"))
        return orphans();
    if (IS("phases"))
        return write(3, "model_load begin\n", 17) != 17;
    printf("no such deed: %s\n", what);
    return 99;
}

int main(int argc, char **argv)
{
    int r = deed(argc > 1 ? argv[1] : "look", argc - 2, argv + 2);
    fflush(stdout);
    return r;
}
