#include "fds.h"
#include "os/fd.h"
#include "tap.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

static int send_text(int sock, const char *text, const int *fds, size_t count)
{
    struct err e;
    struct fd_packet p = { .at = (void *)(uintptr_t)text, .size = strlen(text), .fd_count = count };
    for (size_t i = 0; i < count; i++)
        p.fds[i] = fds[i];
    return fd_packet_send(sock, &p, &e);
}

TEST(a_packet_arrives_whole_with_its_descriptors)
{
    int a, b, r, w;
    char text[16] = { 0 }, byte = 0;
    struct err e;
    CHECK_EQ(fd_pair(&a, &b, &e), 0);
    CHECK_EQ(fd_pipe(&r, &w, &e), 0);
    CHECK_EQ(fd_nonblock(b, &e), 0);
    struct fd_packet p = { .at = text, .size = sizeof text };
    CHECK_EQ(fd_packet_recv(b, &p, &e), 2);
    CHECK_EQ(send_text(a, "hello", &w, 1), 0);
    CHECK_EQ(send_text(a, "x", NULL, 0), 0);
    CHECK_EQ(fd_packet_recv(b, &p, &e), 1);
    CHECK(p.size == 5 && p.fd_count == 1 && memcmp(text, "hello", 5) == 0);
    CHECK(fcntl(p.fds[0], F_GETFD) & FD_CLOEXEC);
    CHECK(write(p.fds[0], "!", 1) == 1 && read(r, &byte, 1) == 1 && byte == '!');
    fd_packet_close(&p);
    p.size = sizeof text;
    CHECK_EQ(fd_packet_recv(b, &p, &e), 1);
    CHECK(p.size == 1 && p.fd_count == 0);
    close(a);
    p.size = sizeof text;
    CHECK_EQ(fd_packet_recv(b, &p, &e), 0);
    CHECK_EQ(send_text(b, "x", NULL, 0), -CODE_UNAVAILABLE);
    close(b), close(r), close(w);
}

TEST(what_was_said_before_an_end_with_something_unread_still_arrives)
{
    struct err e;
    int a, b;
    char text[64];
    CHECK_EQ(fd_pair(&a, &b, &e), 0);
    CHECK_EQ(send_text(b, "unread", NULL, 0), 0);
    CHECK_EQ(send_text(a, "last words", NULL, 0), 0);
    close(a); /* the kernel tells b of a reset before it hands over what is there */
    struct fd_packet p = { .at = text, .size = sizeof text };
    CHECK_EQ(fd_packet_recv(b, &p, &e), 1);
    CHECK_EQ(p.size, strlen("last words"));
    p.size = sizeof text;
    CHECK_EQ(fd_packet_recv(b, &p, &e), 0);
    close(b);
}

TEST(a_packet_that_does_not_fit_is_refused_and_leaves_no_descriptor)
{
    int a, b, send[3] = { 0, 1, 2 };
    char text[4];
    struct err e;
    CHECK_EQ(fd_pair(&a, &b, &e), 0);
    int before = fds_open();
    struct fd_packet p = { .at = text, .size = sizeof text };
    CHECK_EQ(send_text(a, "hello", send, 3), 0);
    CHECK_EQ(fd_packet_recv(b, &p, &e), -CODE_INVALID);
    CHECK_EQ(fds_open(), before);
    close(a), close(b);
}

TEST(a_full_socket_says_so_instead_of_waiting)
{
    int a, b, r = 0, sent = 0;
    struct err e;
    CHECK_EQ(fd_pair(&a, &b, &e), 0);
    CHECK_EQ(fd_nonblock(a, &e), 0);
    while (sent < 100000 && (r = send_text(a, "0123456789012345678901234567890123456789", NULL, 0)) == 0)
        sent++;
    CHECK(r == 1 && sent > 0);
    close(a), close(b);
}

TEST_MAIN()
