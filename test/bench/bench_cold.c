/* bench_cold.c -- one cold start at a time, from the caller's side: microseconds from the first thing
 * done to the first byte of the answer.
 *
 *   bench_cold process PORT ARGV...      fork and exec ARGV, connect to 127.0.0.1:PORT until it
 *                                        accepts, one request, its first byte; then the process is ended
 *   bench_cold request PORT HOST PATH    connect, one request, first byte (the function may be at zero)
 *
 * Prints one number per line of standard input, so that a driver can interleave two of them.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static int try_connect(unsigned short port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    const int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0) {
        close(fd);
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static int first_byte(int fd, const char *host, const char *path)
{
    char text[1024];
    int size = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
                        path, host);
    if (send(fd, text, (size_t)size, MSG_NOSIGNAL) != size)
        return -1;
    ssize_t n = recv(fd, text, sizeof text - 1, 0);
    if (n < 12)
        return -1;
    text[n] = '\0';
    return (int)strtol(text + 9, NULL, 10);
}

/* What the process made may have left its group and lost its parent: it became our child then. */
static void end_all(pid_t pid)
{
    kill(-pid, SIGKILL);
    kill(pid, SIGKILL);
    for (;;) {
        long child = 0;
        FILE *f = fopen("/proc/thread-self/children", "re");
        if (f) {
            if (fscanf(f, "%ld", &child) != 1)
                child = 0;
            fclose(f);
        }
        if (child == 0)
            return;
        kill((pid_t)child, SIGKILL);
        waitpid((pid_t)child, NULL, 0);
    }
}

static int64_t start_process(unsigned short port, char **argv)
{
    uint64_t begin = now_us();
    pid_t pid = fork();
    if (pid == 0) {
        char text[16];
        setpgid(0, 0);
        snprintf(text, sizeof text, "%u", port);
        setenv("PORT", text, 1);
        execvp(argv[0], argv);
        _exit(127);
    }
    int fd = -1, status = -1;
    while (fd < 0 && now_us() - begin < 10000000) {
        fd = try_connect(port);
        if (fd < 0) {
            if (waitpid(pid, NULL, WNOHANG) == pid)
                return -1;
            nanosleep(&(struct timespec){ 0, 50000 }, NULL);
        }
    }
    if (fd >= 0)
        status = first_byte(fd, "localhost", "/");
    uint64_t end = now_us();
    if (fd >= 0)
        close(fd);
    end_all(pid);
    return status == 200 ? (int64_t)(end - begin) : -1;
}

static int64_t request(unsigned short port, const char *host, const char *path)
{
    uint64_t begin = now_us();
    int fd = try_connect(port);
    int status = fd >= 0 ? first_byte(fd, host, path) : -1;
    uint64_t end = now_us();
    if (fd >= 0)
        close(fd);
    return status == 200 ? (int64_t)(end - begin) : -1;
}

int main(int argc, char **argv)
{
    char line[64];
    if (argc < 4)
        return 2;
    unsigned short port = (unsigned short)strtoul(argv[2], NULL, 10);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (fgets(line, sizeof line, stdin)) {
        int64_t took = strcmp(argv[1], "process") == 0 ? start_process(port, argv + 3)
                                                       : request(port, argv[3], argc > 4 ? argv[4] : "/");
        printf("%lld\n", (long long)took);
    }
    return 0;
}
