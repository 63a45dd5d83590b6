/* hostile.c -- a function that tries to do harm, one deed per request, and says how far it got.
 *
 *   hostile serve                 HTTP on $PORT; GET /deed?arg&arg runs the deed in a child of its own
 *   hostile do deed arg arg       the same deed outside, so that a refusal inside means something
 *
 * The answer is {"deed":…,"worked":…,"errno":…,"number":…}. Every deed is bounded in count and time.
 * Static and plain, so that it runs anywhere. IGNORE_TERM=1: the server ignores SIGTERM. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
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
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ARGS_MAX = 4, HEAD_MAX = 8192 };

struct try {
    const char *args[ARGS_MAX]; /* "" where none was given */
    int client;                 /* the connection, or -1 outside */
    bool worked;
    int why; /* errno of a refusal */
    long long number;
};

static void settle(struct try *t, long r)
{
    t->worked = r >= 0;
    t->why = r >= 0 ? 0 : errno;
}

static long arg_number(const struct try *t, int i)
{
    return atol(t->args[i]);
}

static long long clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

/* ---- more than its share ------------------------------------------------------------------------- */

/* args: how many, then "keep" to leave them alive. Each child ends by itself after 20 s at the latest. */
static void deed_fork(struct try *t)
{
    long wanted = arg_number(t, 0), count = 0;
    static pid_t children[100000];
    pid_t pid = 0;
    for (; count < wanted && count < 100000; count++) {
        pid = fork();
        if (pid == 0) {
            alarm(20);
            for (;;)
                pause();
        }
        if (pid < 0)
            break;
        children[count] = pid;
    }
    settle(t, pid);
    t->number = count;
    for (long i = 0; i < count && strcmp(t->args[1], "keep") != 0; i++) {
        kill(children[i], SIGKILL);
        waitpid(children[i], NULL, 0);
    }
}

/* Four generations of every process forking again and again, for 1 s; says nothing until then. */
static void deed_bomb(struct try *t)
{
    long long until = clock_ms() + 1000;
    pid_t self = getpid();
    while (clock_ms() < until)
        if (fork() < 0)
            t->why = errno;
    if (getpid() != self)
        _exit(0);
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    t->worked = t->why == 0;
}

static void deed_memory(struct try *t)
{
    size_t size = (size_t)arg_number(t, 0) << 20;
    char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    settle(t, at == MAP_FAILED ? -1 : 0);
    for (size_t i = 0; t->worked && i < size; i += 4096)
        at[i] = 1;
    t->number = arg_number(t, 0);
}

/* args: folder, MiB. Writes until that much or a refusal; the file goes unless "keep". */
static void deed_fill(struct try *t)
{
    static char block[65536];
    char name[512];
    snprintf(name, sizeof name, "%s/filler-%d", t->args[0], (int)getpid());
    int fd = open(name, O_WRONLY | O_CREAT, 0600);
    long long wanted = (long long)arg_number(t, 1) << 20;
    ssize_t n = fd;
    while (n >= 0 && t->number < wanted && (n = write(fd, block, sizeof block)) > 0)
        t->number += n;
    settle(t, n);
    if (strcmp(t->args[2], "keep") != 0)
        unlink(name);
}

static void deed_inodes(struct try *t)
{
    char name[512];
    int fd = 0;
    for (; t->number < arg_number(t, 1); t->number++) {
        snprintf(name, sizeof name, "%s/i%lld", t->args[0], t->number);
        fd = open(name, O_WRONLY | O_CREAT, 0600);
        if (fd < 0)
            break;
        close(fd);
    }
    settle(t, fd);
    for (long long i = 0; i < t->number; i++) {
        snprintf(name, sizeof name, "%s/i%lld", t->args[0], i);
        unlink(name);
    }
}

static void deed_descriptors(struct try *t)
{
    int fd = 0;
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) == 0 && strcmp(t->args[1], "raise") == 0) {
        l.rlim_cur = l.rlim_max = (rlim_t)arg_number(t, 0) + 16;
        (void)setrlimit(RLIMIT_NOFILE, &l);
    }
    while (t->number < arg_number(t, 0) && (fd = open("/dev/null", O_RDONLY)) >= 0)
        t->number++;
    settle(t, fd);
    for (int i = 3; i < 70000 && t->number > 0; i++)
        if (i != t->client)
            close(i);
}

static void on_alarm(int signo)
{
    (void)signo;
}

/* args: ms. Log lines as fast as they are taken; number: bytes taken. */
static void deed_flood(struct try *t)
{
    static char line[4096];
    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\n';
    long ms = arg_number(t, 0);
    struct sigaction act = { .sa_handler = on_alarm }; /* no SA_RESTART: a blocked write ends */
    sigaction(SIGALRM, &act, NULL);
    struct itimerval every = { { 0, 50000 }, { 0, 50000 } };
    setitimer(ITIMER_REAL, &every, NULL);
    for (long long until = clock_ms() + ms; clock_ms() < until;) {
        ssize_t n = write(1, line, sizeof line);
        t->number += n > 0 ? n : 0;
    }
    setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL);
    t->worked = true;
}

/* args: ms, processes. number: ms of CPU that they got together. */
static void deed_burn(struct try *t)
{
    long long until = clock_ms() + arg_number(t, 0);
    for (long i = 0; i < arg_number(t, 1); i++)
        if (fork() == 0) {
            while (clock_ms() < until)
                ;
            _exit(0);
        }
    while (wait(NULL) > 0)
        ;
    struct rusage u;
    getrusage(RUSAGE_CHILDREN, &u);
    t->number = (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000LL +
                (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1000;
    t->worked = true;
}

/* ---- more than its rights ------------------------------------------------------------------------ */

static void deed_setuid(struct try *t)
{
    settle(t, setuid(0));
}
static void deed_euid(struct try *t)
{
    t->worked = geteuid() == 0;
}
/* args: a set-uid copy of this program. */
static void deed_suid(struct try *t)
{
    int status = 0;
    if (fork() == 0) {
        close(1);
        execl(t->args[0], t->args[0], "do", "euid", NULL);
        _exit(3);
    }
    wait(&status);
    t->worked = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    t->number = WEXITSTATUS(status);
}
/* Whether set-uid files on args: path would give their owner's rights. */
static void deed_suidmount(struct try *t)
{
    struct statvfs st;
    settle(t, statvfs(t->args[0], &st));
    t->worked = t->worked && !(st.f_flag & ST_NOSUID);
}
static void deed_mount(struct try *t)
{
    settle(t, mount("tmpfs", t->args[0], "tmpfs", 0, NULL));
    if (t->worked)
        umount(t->args[0]);
}
static void deed_chroot(struct try *t)
{
    settle(t, chroot("/tmp"));
}
static void deed_ptrace(struct try *t)
{
    pid_t pid = (pid_t)arg_number(t, 0);
    settle(t, ptrace(PTRACE_SEIZE, pid, NULL, NULL));
}
/* args: pid; without one, a child reads in us. */
static void deed_vmread(struct try *t)
{
    static char into[16], from[16] = "secret";
    struct iovec here = { into, sizeof into }, there = { from, sizeof from };
    int status = 0;
    if (t->args[0][0]) {
        settle(t, process_vm_readv((pid_t)arg_number(t, 0), &here, 1, &there, 1, 0));
        return;
    }
    if (fork() == 0)
        _exit(process_vm_readv(getppid(), &here, 1, &there, 1, 0) < 0);
    wait(&status);
    t->worked = WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
static void deed_kill(struct try *t)
{
    settle(t, kill((pid_t)arg_number(t, 0), (int)arg_number(t, 1)));
}
/* A witness is started; "everybody" is killed; worked: the witness died of it. */
static void deed_killall(struct try *t)
{
    pid_t witness = fork();
    if (witness == 0) {
        alarm(20);
        for (;;)
            pause();
    }
    settle(t, kill(-1, SIGKILL));
    int status = 0;
    if (t->worked)
        waitpid(witness, &status, 0);
    t->worked = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}
static void deed_open(struct try *t)
{
    char byte;
    int fd = open(t->args[0], O_RDONLY);
    settle(t, fd < 0 ? fd : read(fd, &byte, 1));
}
/* For writing only: nothing is written, so that the control outside harms nobody. */
static void deed_openw(struct try *t)
{
    settle(t, open(t->args[0], O_WRONLY));
}
static void deed_list(struct try *t)
{
    settle(t, open(t->args[0], O_RDONLY | O_DIRECTORY));
}
static void deed_mkdir(struct try *t)
{
    settle(t, mkdir(t->args[0], 0700));
    if (t->worked)
        rmdir(t->args[0]);
}
static void deed_mknod(struct try *t)
{
    char path[512];
    snprintf(path, sizeof path, "%s/node-%d", t->args[0], (int)getpid());
    settle(t, mknod(path, S_IFCHR | 0600, makedev(1, 3)));
    unlink(path);
}
static void deed_unshare(struct try *t)
{
    settle(t, unshare((int)arg_number(t, 0)));
}
static void deed_clone(struct try *t)
{
    long pid = syscall(SYS_clone, (unsigned long)arg_number(t, 0) | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        _exit(0);
    settle(t, pid);
}
static void deed_clone3(struct try *t)
{
    unsigned long long args[8] = { (unsigned long long)arg_number(t, 0), 0, 0, 0, SIGCHLD };
    long pid = syscall(SYS_clone3, args, 64);
    if (pid == 0)
        _exit(0);
    settle(t, pid);
}
static void deed_setns(struct try *t)
{
    int fd = open("/proc/self/ns/net", O_RDONLY);
    settle(t, fd < 0 ? fd : syscall(SYS_setns, fd, CLONE_NEWNET));
}
static void deed_keyctl(struct try *t)
{
    settle(t, syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 1));
}
static void deed_bpf(struct try *t)
{
    union bpf_attr a = { .map_type = BPF_MAP_TYPE_ARRAY };
    a.key_size = a.value_size = 4;
    a.max_entries = 1;
    settle(t, syscall(SYS_bpf, BPF_MAP_CREATE, &a, sizeof a));
}
static void deed_iouring(struct try *t)
{
    struct io_uring_params p = { 0 };
    settle(t, syscall(SYS_io_uring_setup, 1, &p));
}
static void deed_userfault(struct try *t)
{
    settle(t, syscall(SYS_userfaultfd, O_CLOEXEC));
}
/* Through a handle, past every path that was hidden. */
static void deed_handle(struct try *t)
{
    char room[sizeof(struct file_handle) + 128];
    struct file_handle *h = (struct file_handle *)(void *)room;
    int mount_id = 0;
    h->handle_bytes = 128;
    int fd = open(t->args[0], O_RDONLY | O_DIRECTORY);
    long r = fd < 0 ? fd : name_to_handle_at(fd, "", h, &mount_id, AT_EMPTY_PATH);
    settle(t, r < 0 ? r : open_by_handle_at(fd, h, O_RDONLY));
}

/* ---- the way out --------------------------------------------------------------------------------- */

static struct sockaddr_in loopback(const struct try *t)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)arg_number(t, 0)) };
    inet_pton(AF_INET, t->args[1][0] ? t->args[1] : "127.0.0.1", &a.sin_addr);
    return a;
}
static void deed_dial(struct try *t)
{
    struct sockaddr_in a = loopback(t);
    settle(t, connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&a, sizeof a));
}
static void deed_udp(struct try *t)
{
    struct sockaddr_in a = loopback(t);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    settle(t, sendto(fd, t->args[2], strlen(t->args[2]), 0, (struct sockaddr *)&a, sizeof a));
}
static void deed_abstract(struct try *t)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    snprintf(a.sun_path + 1, sizeof a.sun_path - 1, "%s", t->args[0]);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(t->args[0]));
    settle(t, connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&a, size));
}
static void deed_socket(struct try *t)
{
    settle(t, socket((int)arg_number(t, 0), (int)arg_number(t, 1), (int)arg_number(t, 2)));
}

/* ---- bad manners --------------------------------------------------------------------------------- */

static void say(int fd, const char *text, size_t size)
{
    for (ssize_t n; size > 0 && (n = send(fd, text, size, MSG_NOSIGNAL)) > 0; text += n)
        size -= (size_t)n;
}
#define SAY(fd, text) say(fd, text, sizeof text - 1)

static const char head_begin[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n";

/* args: bytes of header fields, in fields of 1000. */
static void deed_bighead(struct try *t)
{
    char line[1001];
    memset(line, 'a', 1000);
    memcpy(line, "x-big: ", 7);
    memcpy(line + 998, "\r\n", 3);
    SAY(t->client, head_begin);
    for (long sent = 0; sent < arg_number(t, 0); sent += 1000)
        say(t->client, line, 1000);
    SAY(t->client, "\r\nok");
    _exit(0);
}
/* args: ms. A head that grows a byte in 20 ms, as long as that; then its end. */
static void deed_driphead(struct try *t)
{
    SAY(t->client, head_begin);
    SAY(t->client, "x: ");
    for (long long until = clock_ms() + arg_number(t, 0); clock_ms() < until; pause_ms(20))
        SAY(t->client, "a");
    SAY(t->client, "\r\n\r\nok");
    _exit(0);
}
/* args: a name. A process that got away from its parent, its group and its session. */
static void deed_daemon(struct try *t)
{
    if (fork() == 0) {
        setsid();
        signal(SIGTERM, SIG_IGN);
        signal(SIGHUP, SIG_IGN);
        if (fork() == 0) {
            prctl(PR_SET_NAME, t->args[0]);
            for (int fd = 0; fd < 64; fd++)
                close(fd);
            alarm(60);
            for (;;)
                pause();
        }
        _exit(0);
    }
    wait(NULL);
    t->worked = true;
}
/* args: a file. number: its Adler-32, so that a half of it is told from the whole. */
static void deed_sum(struct try *t)
{
    static unsigned char room[65536];
    unsigned low = 1, high = 0;
    int fd = open(t->args[0], O_RDONLY);
    ssize_t n = fd;
    while (n >= 0 && (n = read(fd, room, sizeof room)) > 0)
        for (ssize_t i = 0; i < n; i++) {
            low = (low + room[i]) % 65521;
            high = (high + low) % 65521;
        }
    settle(t, n);
    t->number = (long long)high << 16 | low;
}
/* args: MS. The answer comes that late. */
static void deed_wait(struct try *t)
{
    pause_ms(arg_number(t, 0));
    t->worked = true;
}

static const struct deed {
    const char *name;
    void (*run)(struct try *t);
} deeds[] = {
    { "fork", deed_fork },              { "bomb", deed_bomb },              { "memory", deed_memory },
    { "fill", deed_fill },              { "inodes", deed_inodes },          { "descriptors", deed_descriptors },
    { "flood", deed_flood },            { "burn", deed_burn },              { "setuid", deed_setuid },
    { "euid", deed_euid },              { "suid", deed_suid },              { "suidmount", deed_suidmount },
    { "mount", deed_mount },            { "chroot", deed_chroot },          { "ptrace", deed_ptrace },
    { "vmread", deed_vmread },          { "kill", deed_kill },              { "killall", deed_killall },
    { "open", deed_open },              { "openw", deed_openw },            { "list", deed_list },
    { "mkdir", deed_mkdir },            { "mknod", deed_mknod },            { "unshare", deed_unshare },
    { "clone", deed_clone },            { "clone3", deed_clone3 },          { "setns", deed_setns },
    { "keyctl", deed_keyctl },          { "bpf", deed_bpf },                { "iouring", deed_iouring },
    { "userfault", deed_userfault },    { "handle", deed_handle },          { "dial", deed_dial },
    { "udp", deed_udp },                { "abstract", deed_abstract },      { "socket", deed_socket },
    { "bighead", deed_bighead },        { "driphead", deed_driphead },      { "sum", deed_sum },
    { "daemon", deed_daemon },          { "wait", deed_wait },
};

static int deed_run(const char *name, struct try *t, char *into, size_t room)
{
    for (size_t i = 0; i < sizeof deeds / sizeof *deeds; i++)
        if (strcmp(name, deeds[i].name) == 0) {
            deeds[i].run(t);
            return snprintf(into, room, "{\"deed\":\"%s\",\"worked\":%s,\"errno\":\"%s\",\"number\":%lld}\n",
                            name, t->worked ? "true" : "false", t->why ? strerrorname_np(t->why) : "",
                            t->number);
        }
    return -1;
}

/* ---- the server ---------------------------------------------------------------------------------- */

static void answer(int client)
{
    char head[HEAD_MAX], body[512], line[256];
    size_t size = 0;
    while (!memmem(head, size, "\r\n\r\n", 4)) {
        ssize_t n = recv(client, head + size, sizeof head - 1 - size, 0);
        if (n <= 0)
            return;
        size += (size_t)n;
    }
    head[size] = '\0';
    char *name = strchr(head, '/');
    if (!name)
        return;
    name++;
    name[strcspn(name, " ")] = '\0';
    struct try t = { .args = { "", "", "", "" }, .client = client };
    char *rest = strchr(name, '?');
    if (rest)
        *rest++ = '\0';
    for (int i = 0; rest && i < ARGS_MAX; i++)
        t.args[i] = strsep(&rest, "&");
    int length = deed_run(name, &t, body, sizeof body);
    if (length < 0)
        length = snprintf(body, sizeof body, "{\"deed\":\"none\"}\n");
    int n = snprintf(line, sizeof line,
                     "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
                     "Connection: close\r\n\r\n",
                     length);
    say(client, line, (size_t)n);
    say(client, body, (size_t)length);
}

static int serve(void)
{
    const int one = 1;
    const char *port = getenv("PORT"), *ignore = getenv("IGNORE_TERM"), *silent = getenv("CLOSE_OUTPUT");
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port ? port : "8080")) };
    int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (ignore)
        signal(SIGTERM, SIG_IGN);
    for (int fd = 0; silent && fd < 3; fd++)
        close(fd);
    if (bind(s, (struct sockaddr *)&a, sizeof a) < 0 || listen(s, 128) < 0)
        return 1;
    struct sigaction reap = { .sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT };
    sigaction(SIGCHLD, &reap, NULL);
    for (;;) {
        int client = accept(s, NULL, NULL);
        pid_t pid = client < 0 ? 0 : fork();
        if (client >= 0 && pid == 0) {
            signal(SIGCHLD, SIG_DFL);
            answer(client);
            shutdown(client, SHUT_WR);
            _exit(0);
        }
        if (client >= 0)
            close(client);
    }
}

int main(int argc, char **argv)
{
    char text[512];
    struct try t = { .args = { "", "", "", "" }, .client = -1 };
    if (argc > 1 && strcmp(argv[1], "serve") == 0)
        return serve();
    for (int i = 3; i < argc && i < 3 + ARGS_MAX; i++)
        t.args[i - 3] = argv[i];
    if (argc < 3 || deed_run(argv[2], &t, text, sizeof text) < 0)
        return 99;
    fputs(text, stdout);
    return t.worked ? 0 : 1;
}
