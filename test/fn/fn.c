/* fn.c -- the function that benchmarks and tests run: a static HTTP/1.1 server that answers at once.
 *
 * Keep-alive, many connections, one thread. Listens on 0.0.0.0:$PORT (or argv[1]). Paths:
 *   /            "ok\n"              /echo    the request's body (Content-Length only)
 *   /sleep/MS    "ok\n" after MS ms, one at a time, as a busy function would
 *   /wait/MS     "ok\n" after MS ms, any number at a time, as a function would that waits for another
 *   /exit/CODE   ends the process before an answer
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 4096, ROOM = 65536, EVENTS = 64 };

struct connection {
    int fd;
    struct connection *next, **link; /* waiting ones; link: what points here, NULL: not waiting */
    uint64_t due_ns;
    size_t size;
    char bytes[ROOM];
};

static int epoll_fd;
static struct connection *waiting; /* the first is due first */

static uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void wait_begin(struct connection *c, long ms)
{
    struct connection **at = &waiting;
    c->due_ns = now_ns() + (uint64_t)ms * 1000000;
    while (*at && (*at)->due_ns <= c->due_ns)
        at = &(*at)->next;
    c->next = *at;
    c->link = at;
    if (c->next)
        c->next->link = &c->next;
    *at = c;
}

static void wait_end(struct connection *c)
{
    if (!c->link)
        return;
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    c->link = NULL;
}

static void drop(struct connection *c)
{
    wait_end(c);
    close(c->fd);
    free(c);
}

static bool send_all(int fd, const char *at, size_t size)
{
    while (size > 0) {
        ssize_t n = send(fd, at, size, MSG_NOSIGNAL);
        if (n < 0)
            return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

static bool answer(struct connection *c, const char *path, const char *body, size_t body_size)
{
    char text[512];
    const char *content = "ok\n";
    size_t content_size = 3;
    if (strncmp(path, "/wait/", 6) == 0 && !c->due_ns) {
        wait_begin(c, strtol(path + 6, NULL, 10));
        return true;
    }
    c->due_ns = 0;
    if (strncmp(path, "/sleep/", 7) == 0) {
        long ms = strtol(path + 7, NULL, 10);
        nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
    } else if (strncmp(path, "/exit/", 6) == 0) {
        _exit((int)strtol(path + 6, NULL, 10));
    } else if (strncmp(path, "/echo", 5) == 0) {
        content = body;
        content_size = body_size;
    }
    int size = snprintf(text, sizeof text,
                        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n",
                        content_size);
    if (content_size <= sizeof text - (size_t)size) { /* one packet for the usual answer */
        memcpy(text + size, content, content_size);
        return send_all(c->fd, text, (size_t)size + content_size);
    }
    return send_all(c->fd, text, (size_t)size) && send_all(c->fd, content, content_size);
}

/* One whole request off the front; false: not yet, or never. */
static bool serve_one(struct connection *c, bool *ret_broken)
{
    char *end = memmem(c->bytes, c->size, "\r\n\r\n", 4);
    if (!end) {
        *ret_broken = c->size == ROOM;
        return false;
    }
    size_t head = (size_t)(end - c->bytes) + 4, body = 0;
    *end = '\0';
    char *length = strcasestr(c->bytes, "\r\ncontent-length:");
    if (length)
        body = strtoul(length + 17, NULL, 10);
    if (head + body > c->size) {
        *end = '\r';
        *ret_broken = head + body > ROOM;
        return false;
    }
    char *path = strchr(c->bytes, ' ');
    *ret_broken = !path || !answer(c, path + 1, c->bytes + head, body);
    if (c->link) { /* answered when it is due */
        *end = '\r';
        return false;
    }
    memmove(c->bytes, c->bytes + head + body, c->size - head - body);
    c->size -= head + body;
    return !*ret_broken;
}

static void on_readable(struct connection *c)
{
    bool broken = false;
    ssize_t n = recv(c->fd, c->bytes + c->size, ROOM - c->size, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        drop(c);
        return;
    }
    c->size += (size_t)n;
    while (!c->link && serve_one(c, &broken))
        ;
    if (broken)
        drop(c);
}

static void on_due(struct connection *c)
{
    bool broken = false;
    wait_end(c);
    while (!c->link && serve_one(c, &broken))
        ;
    if (broken)
        drop(c);
}

/* How long nobody is due; NULL: for ever. */
static struct timespec *patience(struct timespec *into)
{
    uint64_t now = now_ns(), left = waiting && waiting->due_ns > now ? waiting->due_ns - now : 0;
    *into = (struct timespec){ (time_t)(left / 1000000000), (long)(left % 1000000000) };
    return waiting ? into : NULL;
}

static void on_connection(int listen_fd)
{
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
    const int one = 1;
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct connection *c = malloc(sizeof *c);
    if (!c)
        _exit(70);
    c->fd = fd;
    c->size = 0;
    c->link = NULL;
    c->due_ns = 0;
    struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev);
}

int main(int argc, char **argv)
{
    const char *port = argc > 1 ? argv[1] : getenv("PORT");
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons((unsigned short)strtoul(port ? port : "8080", NULL, 10)) };
    const int one = 1;
    int listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listen_fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(listen_fd, 1024) < 0) {
        perror("listen");
        return 1;
    }
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event ev = { .events = EPOLLIN }, events[EVENTS];
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &ev);
    for (;;) {
        struct timespec wait;
        int n = epoll_pwait2(epoll_fd, events, EVENTS, patience(&wait), NULL);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr)
                on_readable(events[i].data.ptr);
            else
                on_connection(listen_fd);
        }
        while (waiting && waiting->due_ns <= now_ns())
            on_due(waiting);
    }
}
