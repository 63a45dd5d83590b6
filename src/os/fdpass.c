#include "os/fdpass.h"
#include "os/fault.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control {
    char room[CMSG_SPACE(FDPASS_MAX * sizeof(int))];
    struct cmsghdr align;
};

int fdpass_pair(int ret_fds[2], struct err *e)
{
    if (fault_hit("socketpair") || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_fds) < 0)
        return err_sys(e, "socketpair");
    return 0;
}

int fdpass_send(int socket_fd, const void *data, size_t size, const int *fds, size_t fd_count,
                bool wait, struct err *e)
{
    ASSERT(size > 0 && fd_count <= FDPASS_MAX);
    union control control = { 0 };
    struct iovec iov = { (void *)(uintptr_t)data, size };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    if (fd_count > 0) {
        msg.msg_control = control.room;
        msg.msg_controllen = CMSG_SPACE(fd_count * sizeof *fds);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        *c = (struct cmsghdr){ CMSG_LEN(fd_count * sizeof *fds), SOL_SOCKET, SCM_RIGHTS };
        memcpy(CMSG_DATA(c), fds, fd_count * sizeof *fds);
    }
    ssize_t n;
    do
        n = fault_hit("sendmsg") ? -1 : sendmsg(socket_fd, &msg, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return FDPASS_AGAIN;
    if (n < 0 && (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN))
        return err_set(e, CODE_UNAVAILABLE, "send message: %s", strerror(errno));
    if (n < 0)
        return err_sys(e, "send message");
    return FDPASS_MESSAGE;
}

/* All descriptors a message brought, so that a refused message leaves none open. */
static size_t fds_collect(struct msghdr *msg, int into[FDPASS_MAX])
{
    size_t count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        ASSERT(count + n <= FDPASS_MAX); /* the control buffer has no room for more */
        memcpy(into + count, CMSG_DATA(c), n * sizeof(int));
        count += n;
    }
    return count;
}

int fdpass_receive(int socket_fd, void *into, size_t room, size_t *ret_size, int *ret_fds,
                   size_t fd_room, size_t *ret_fd_count, struct err *e)
{
    union control control;
    struct iovec iov = { into, room };
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = control.room,
                          .msg_controllen = sizeof control.room };
    ssize_t n;
    do
        n = recvmsg(socket_fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return FDPASS_AGAIN;
    if (n == 0 || (n < 0 && errno == ECONNRESET))
        return FDPASS_CLOSED;
    if (n < 0)
        return err_sys(e, "receive message");

    int fds[FDPASS_MAX];
    size_t count = fds_collect(&msg, fds);
    if ((msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || count > fd_room) {
        for (size_t i = 0; i < count; i++)
            (void)close(fds[i]);
        return err_set(e, CODE_INVALID, "message of %zd bytes with %zu descriptors: not one of ours",
                       n, count);
    }
    if (count > 0)
        memcpy(ret_fds, fds, count * sizeof *fds);
    if (ret_fd_count)
        *ret_fd_count = count;
    *ret_size = (size_t)n;
    return FDPASS_MESSAGE;
}
