#include "os/fd.h"
#include "os/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

int fd_pair(int *ret_a, int *ret_b, struct err *e)
{
    int pair[2];
    if (fault_hit("socketpair") || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return err_sys(e, "socket pair");
    *ret_a = pair[0];
    *ret_b = pair[1];
    return 0;
}

int fd_pipe(int *ret_read, int *ret_write, struct err *e)
{
    int pair[2];
    if (fault_hit("pipe2") || pipe2(pair, O_CLOEXEC) < 0)
        return err_sys(e, "pipe");
    *ret_read = pair[0];
    *ret_write = pair[1];
    return 0;
}

int fd_nonblock(int fd, struct err *e)
{
    int flags = fcntl(fd, F_GETFL);
    if (fault_hit("fcntl") || flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return err_sys(e, "descriptor %d: set non-blocking", fd);
    return 0;
}

int fd_memory(const char *name, const void *at, size_t size, struct err *e)
{
    AUTO_CLOSE int fd = fault_hit("memfd") ? -1 : memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return err_sys(e, "memory file %s", name);
    for (size_t done = 0; done < size;) {
        ssize_t n = fault_hit("write") ? -1 : write(fd, (const char *)at + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(e, "memory file %s: write", name);
        done += (size_t)n;
    }
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
        return err_sys(e, "memory file %s: seal", name);
    return TAKE_FD(fd);
}

union control_room {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(FD_PACKET_MAX * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
};

int fd_packet_send(int sock, const struct fd_packet *p, struct err *e)
{
    union control_room room = { 0 };
    struct iovec part = { .iov_base = p->at, .iov_len = p->size };
    struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1 };

    ASSERT(p->fd_count <= FD_PACKET_MAX && p->size > 0);
    if (p->fd_count > 0) {
        m.msg_control = &room;
        m.msg_controllen = CMSG_SPACE(p->fd_count * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(p->fd_count * sizeof(int));
        memcpy(CMSG_DATA(c), p->fds, p->fd_count * sizeof(int));
    }
    for (;;) {
        if (fault_hit("sendmsg"))
            return err_sys(e, "send packet");
        if (sendmsg(sock, &m, MSG_NOSIGNAL) >= 0)
            return 0;
        if (errno == EAGAIN)
            return 1;
        if (errno != EINTR)
            return err_sys(e, "send packet of %zu bytes", p->size);
    }
}

static void control_take(struct msghdr *m, struct fd_packet *p)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET)
            continue;
        if (c->cmsg_type == SCM_RIGHTS) {
            size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            ASSERT(p->fd_count + count <= FD_PACKET_MAX); /* the room we gave holds no more */
            memcpy(p->fds + p->fd_count, CMSG_DATA(c), count * sizeof(int));
            p->fd_count += count;
        } else if (c->cmsg_type == SCM_CREDENTIALS) {
            struct ucred who;
            memcpy(&who, CMSG_DATA(c), sizeof who);
            p->pid = who.pid;
        }
    }
}

int fd_packet_recv(int sock, struct fd_packet *p, struct err *e)
{
    union control_room room;
    struct iovec part = { .iov_base = p->at, .iov_len = p->size };
    struct msghdr m = { .msg_iov = &part,
                        .msg_iovlen = 1,
                        .msg_control = &room,
                        .msg_controllen = CMSG_SPACE(FD_PACKET_MAX * sizeof(int)) };
    ssize_t n;

    p->fd_count = 0;
    p->pid = 0;
    do
        n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && (errno == EINTR || errno == ECONNRESET)); /* told once, ahead of what had come */
    if (n < 0 && errno == EAGAIN)
        return 2;
    if (n < 0 || fault_hit("recvmsg"))
        return err_sys(e, "receive packet");
    control_take(&m, p);
    if (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
        fd_packet_close(p);
        return err_set(e, CODE_INVALID, "receive packet: larger than agreed");
    }
    if (n == 0) { /* nobody of ours sends empty packets: it is the end */
        fd_packet_close(p);
        return 0;
    }
    p->size = (size_t)n;
    return 1;
}

void fd_packet_close(struct fd_packet *p)
{
    for (size_t i = 0; i < p->fd_count; i++)
        if (p->fds[i] >= 0)
            close(p->fds[i]);
    p->fd_count = 0;
}

int fd_text_write(int fd, const char *text, struct err *e)
{
    size_t size = strlen(text);
    ssize_t n;
    do
        n = write(fd, text, size);
    while (n < 0 && errno == EINTR);
    if (n < 0 || fault_hit("write"))
        return err_sys(e, "write '%.40s'", text);
    if ((size_t)n != size)
        return err_set(e, CODE_DATA_LOSS, "write '%.40s': cut short", text);
    return 0;
}

int fd_path_write(int dir_fd, const char *path, const char *text, struct err *e)
{
    AUTO_CLOSE int fd = openat(dir_fd, path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 || fault_hit("open"))
        return err_sys(e, "%s", path);
    if (fd_text_write(fd, text, e) < 0)
        return err_wrap(e, "%s", path);
    return 0;
}

void fd_path_try(int dir_fd, const char *path, const char *text)
{
    struct err e = { 0 };
    int r = fd_path_write(dir_fd, path, text, &e);
    (void)r;
}

int fd_text_read(int fd, char *into, size_t size, struct err *e)
{
    size_t have = 0;
    while (have + 1 < size) {
        ssize_t n = pread(fd, into + have, size - 1 - have, (off_t)have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(e, "read");
        if (n == 0)
            break;
        have += (size_t)n;
    }
    into[have] = '\0';
    return (int)have;
}

int fd_path_read(int dir_fd, const char *path, char *into, size_t size, struct err *e)
{
    AUTO_CLOSE int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 || fault_hit("open"))
        return err_sys(e, "%s", path);
    int r = fd_text_read(fd, into, size, e);
    return r < 0 ? err_wrap(e, "%s", path) : r;
}
