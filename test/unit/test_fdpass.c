#include "os/fault.h"
#include "os/fdpass.h"
#include "tap.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

static int open_fds(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir && readdir(dir))
        count++;
    if (dir)
        closedir(dir);
    return count;
}

TEST(a_message_arrives_whole_with_its_descriptors)
{
    int pair[2], pipe_fds[2], got[FDPASS_MAX];
    size_t size = 0, count = 0;
    char text[16] = { 0 }, byte = 0;
    struct err e;
    CHECK_EQ(fdpass_pair(pair, &e), 0);
    CHECK(pipe2(pipe_fds, O_CLOEXEC) == 0);
    CHECK_EQ(fdpass_receive(pair[1], text, sizeof text, &size, got, 8, &count, &e), FDPASS_AGAIN);
    CHECK_EQ(fdpass_send(pair[0], "hello", 5, &pipe_fds[1], 1, false, &e), FDPASS_MESSAGE);
    CHECK_EQ(fdpass_send(pair[0], "x", 1, NULL, 0, false, &e), FDPASS_MESSAGE);
    CHECK_EQ(fdpass_receive(pair[1], text, sizeof text, &size, got, 8, &count, &e), FDPASS_MESSAGE);
    CHECK(size == 5 && count == 1 && memcmp(text, "hello", 5) == 0);
    CHECK(fcntl(got[0], F_GETFD) & FD_CLOEXEC);
    CHECK(write(got[0], "!", 1) == 1 && read(pipe_fds[0], &byte, 1) == 1 && byte == '!');
    close(got[0]);
    CHECK_EQ(fdpass_receive(pair[1], text, sizeof text, &size, got, 8, &count, &e), FDPASS_MESSAGE);
    CHECK(size == 1 && count == 0);
    close(pair[0]);
    CHECK_EQ(fdpass_receive(pair[1], text, sizeof text, &size, got, 8, &count, &e), FDPASS_CLOSED);
    CHECK_EQ(fdpass_send(pair[1], "x", 1, NULL, 0, true, &e), -CODE_UNAVAILABLE);
    close(pair[1]);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

TEST(a_message_that_does_not_fit_is_refused_and_leaves_no_descriptor)
{
    int pair[2], got[FDPASS_MAX], send[3] = { 0, 1, 2 };
    size_t size = 7, count = 7;
    char text[4];
    struct err e;
    CHECK_EQ(fdpass_pair(pair, &e), 0);
    int before = open_fds();
    CHECK_EQ(fdpass_send(pair[0], "hello", 5, send, 1, false, &e), FDPASS_MESSAGE);
    CHECK_EQ(fdpass_receive(pair[1], text, sizeof text, &size, got, 8, &count, &e), -CODE_INVALID);
    CHECK_EQ(fdpass_send(pair[0], "hi", 2, send, 3, false, &e), FDPASS_MESSAGE);
    CHECK_EQ(fdpass_receive(pair[1], text, sizeof text, &size, got, 2, &count, &e), -CODE_INVALID);
    CHECK(size == 7 && count == 7);
    CHECK_EQ(open_fds(), before);
    close(pair[0]);
    close(pair[1]);
}

TEST(a_full_socket_says_so_instead_of_waiting)
{
    int pair[2], r = FDPASS_MESSAGE;
    static char block[4096];
    struct err e;
    CHECK_EQ(fdpass_pair(pair, &e), 0);
    int sent = 0;
    while (sent < 10000 && (r = fdpass_send(pair[0], block, sizeof block, NULL, 0, false, &e)) == 1)
        sent++;
    CHECK(r == FDPASS_AGAIN && sent > 0);
    close(pair[0]);
    close(pair[1]);
}

TEST_MAIN()
