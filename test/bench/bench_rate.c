/* bench_rate.c -- requests at a rate that does not wait for the answers (an open loop).
 *
 *   bench_rate PORT HOST PATH DEADLINE_MS STEP...
 *
 * STEP is RATE:SECONDS (requests per second), or burst:COUNT (all at once; a %d in HOST is the number of the
 * request). DEADLINE_MS 0: no Hob-Deadline is sent. A line of standard output says {"begun": true} when the first
 * request goes out; the last is the result. Latencies of answers are counted from the moment at which a request
 * was due, not from when it could be sent: a server that makes the driver late does not get that for free.
 * Connections are kept and opened as needed; all of it to 127.0.0.1, in one thread.
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

enum { CONNECTIONS_MAX = 8192, ROOM = 4096, EVENTS = 256, SECONDS_MAX = 600, REQUESTS_MAX = 4000000, STEPS_MAX = 16 };
#define PATIENCE_NS UINT64_C(15000000000) /* after the last was sent; then what is left is lost */

struct connection {
    int fd;
    bool busy;
    uint64_t due_ns, sent_ns;
    size_t size, whole; /* of the answer; whole 0: its head is not complete */
    struct connection *next_free;
    char bytes[ROOM];
};
struct step {
    uint64_t count, gap_ns; /* gap 0: at once */
};
struct second {
    uint32_t ok, refused, failed;
};

static struct sockaddr_in address;
static const char *host_form, *path;
static long deadline_ms;
static int epoll_fd;
static struct connection *free_list;
static uint32_t connections, outstanding;
static uint64_t begin_ns, sent;
static uint32_t by_status[1000], broken, no_connection;
static float *ok_ms, *refused_ms;
static size_t ok_count, refused_count;
static struct second seconds[SECONDS_MAX];

static uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* By the second in which it was due, so that the seconds tell of what was asked in them. */
static struct second *second_of(uint64_t due_ns)
{
    uint64_t n = (due_ns - begin_ns) / 1000000000;
    return &seconds[n < SECONDS_MAX ? n : SECONDS_MAX - 1];
}

static void discard(struct connection *c)
{
    if (c->busy) {
        outstanding--;
        broken++;
        second_of(c->due_ns)->failed++;
    } else {
        for (struct connection **at = &free_list; *at; at = &(*at)->next_free)
            if (*at == c) {
                *at = c->next_free;
                break;
            }
    }
    close(c->fd);
    connections--;
    free(c);
}

static void answered(struct connection *c, int status, bool keep)
{
    uint64_t now = now_ns();
    by_status[status < 0 || status > 999 ? 0 : status]++;
    if (status == 200) {
        ok_ms[ok_count++] = (float)((double)(now - c->due_ns) / 1e6);
        second_of(c->due_ns)->ok++;
    } else {
        refused_ms[refused_count++] = (float)((double)(now - c->sent_ns) / 1e6);
        second_of(c->due_ns)->refused++;
    }
    outstanding--;
    c->busy = false;
    c->size = c->whole = 0;
    c->next_free = free_list;
    free_list = c;
    if (!keep)
        discard(c);
}

static void on_readable(struct connection *c)
{
    ssize_t n = recv(c->fd, c->bytes + c->size, ROOM - 1 - c->size, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0 || !c->busy) {
        discard(c);
        return;
    }
    c->size += (size_t)n;
    c->bytes[c->size] = '\0';
    char *end = c->whole ? NULL : strstr(c->bytes, "\r\n\r\n");
    if (end) {
        char *length = strcasestr(c->bytes, "\r\ncontent-length:");
        c->whole = (size_t)(end - c->bytes) + 4 + (length && length < end ? strtoul(length + 17, NULL, 10) : 0);
    }
    if (c->whole && c->size >= c->whole) {
        char *close_word = strcasestr(c->bytes, "\r\nconnection: close");
        answered(c, (int)strtol(c->bytes + 9, NULL, 10), !close_word);
    } else if (c->size == ROOM - 1) {
        discard(c);
    }
}

static struct connection *connection_open(void)
{
    const int one = 1;
    int fd = connections < CONNECTIONS_MAX ? socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
    if (fd < 0)
        return NULL;
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0) {
        close(fd);
        return NULL;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct connection *c = calloc(1, sizeof *c);
    if (!c)
        abort();
    c->fd = fd;
    struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev);
    connections++;
    return c;
}

static void request_send(uint64_t number, uint64_t due_ns)
{
    char text[1024], host[256], deadline[64] = "", digits[24];
    struct connection *c = free_list;
    sent++;
    if (c)
        free_list = c->next_free;
    else
        c = connection_open();
    if (!c) {
        no_connection++;
        second_of(due_ns)->failed++;
        return;
    }
    const char *mark = strstr(host_form, "%d");
    snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);
    snprintf(host, sizeof host, "%.*s%s%s", mark ? (int)(mark - host_form) : (int)strlen(host_form), host_form,
             mark ? digits : "", mark ? mark + 2 : "");
    if (deadline_ms > 0)
        snprintf(deadline, sizeof deadline, "Hob-Deadline: %ld\r\n", deadline_ms);
    int size = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", path, host, deadline);
    c->busy = true;
    c->due_ns = due_ns;
    c->sent_ns = now_ns();
    outstanding++;
    if (send(c->fd, text, (size_t)size, MSG_NOSIGNAL) != size)
        discard(c);
}

static void look(uint64_t until_ns)
{
    struct epoll_event events[EVENTS];
    uint64_t now = now_ns(), left = until_ns > now ? until_ns - now : 0;
    const struct timespec wait = { (time_t)(left / 1000000000), (long)(left % 1000000000) };
    int n = epoll_pwait2(epoll_fd, events, EVENTS, &wait, NULL);
    for (int i = 0; i < n; i++)
        on_readable(events[i].data.ptr);
}

static uint64_t step_run(const struct step *s, uint64_t from_ns)
{
    for (uint64_t i = 0; i < s->count; i++) {
        uint64_t due_ns = from_ns + i * s->gap_ns;
        while (s->gap_ns && now_ns() < due_ns)
            look(due_ns);
        request_send(i, due_ns);
        if (s->gap_ns && i % 32 == 31) /* late or not, answers are read */
            look(0);
    }
    return from_ns + s->count * s->gap_ns;
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void print_spread(const char *name, float *of, size_t count)
{
    static const struct {
        const char *name;
        double part;
    } parts[] = { { "min", 0 }, { "p50", 0.5 }, { "p95", 0.95 }, { "p99", 0.99 }, { "max", 1 } };
    qsort(of, count, sizeof *of, by_value);
    printf(", \"%s\": {\"count\": %zu", name, count);
    for (size_t i = 0; count && i < sizeof parts / sizeof *parts; i++) {
        size_t at = (size_t)(parts[i].part * (double)count);
        printf(", \"%s\": %.3f", parts[i].name, (double)of[at < count ? at : count - 1]);
    }
    printf("}");
}

static void print_all(uint32_t lost, uint64_t end_ns)
{
    bool first = true;
    printf("{\"sent\": %llu, \"seconds\": %.3f, \"lost\": %u, \"broken\": %u, \"no_connection\": %u, \"status\": {",
           (unsigned long long)sent, (double)(end_ns - begin_ns) / 1e9, lost, broken, no_connection);
    for (int i = 0; i < 1000; i++)
        if (by_status[i]) {
            printf("%s\"%d\": %u", first ? "" : ", ", i, by_status[i]);
            first = false;
        }
    printf("}");
    print_spread("ok_ms", ok_ms, ok_count);
    print_spread("refused_ms", refused_ms, refused_count);
    printf(", \"by_second\": [");
    for (uint64_t i = 0; i < (end_ns - begin_ns + 999999999) / 1000000000 && i < SECONDS_MAX; i++)
        printf("%s[%u, %u, %u]", i ? ", " : "", seconds[i].ok, seconds[i].refused, seconds[i].failed);
    printf("]}\n");
}

static bool step_parse(const char *text, struct step *ret)
{
    char *end;
    if (strncmp(text, "burst:", 6) == 0) {
        *ret = (struct step){ strtoull(text + 6, NULL, 10), 0 };
        return ret->count > 0;
    }
    double rate = strtod(text, &end), length = *end == ':' ? strtod(end + 1, NULL) : 0;
    if (rate <= 0 || length <= 0)
        return false;
    *ret = (struct step){ (uint64_t)(rate * length), (uint64_t)(1e9 / rate) };
    return true;
}

int main(int argc, char **argv)
{
    struct step steps[STEPS_MAX];
    uint64_t total = 0;
    int count = argc - 5;
    if (count < 1 || count > STEPS_MAX) {
        fprintf(stderr, "usage: bench_rate PORT HOST PATH DEADLINE_MS RATE:SECONDS|burst:COUNT...\n");
        return 2;
    }
    address = (struct sockaddr_in){ .sin_family = AF_INET,
                                    .sin_port = htons((unsigned short)strtoul(argv[1], NULL, 10)),
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    host_form = argv[2];
    path = argv[3];
    deadline_ms = strtol(argv[4], NULL, 10);
    for (int i = 0; i < count; i++) {
        if (!step_parse(argv[5 + i], &steps[i])) {
            fprintf(stderr, "bench_rate: %s: not RATE:SECONDS or burst:COUNT\n", argv[5 + i]);
            return 2;
        }
        total += steps[i].count;
    }
    ok_ms = calloc(total, sizeof *ok_ms);
    refused_ms = calloc(total, sizeof *refused_ms);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (total > REQUESTS_MAX || !ok_ms || !refused_ms || epoll_fd < 0) {
        fprintf(stderr, "bench_rate: too many requests\n");
        return 2;
    }
    printf("{\"begun\": true}\n");
    fflush(stdout);
    begin_ns = now_ns();
    uint64_t at_ns = begin_ns;
    for (int i = 0; i < count; i++)
        at_ns = step_run(&steps[i], at_ns);
    for (uint64_t end = now_ns() + PATIENCE_NS; outstanding > 0 && now_ns() < end;)
        look(end);
    print_all(outstanding, at_ns > begin_ns ? at_ns : begin_ns + 1);
    return 0;
}
