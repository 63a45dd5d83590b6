#include "node/token.h"
#include "os/fault.h"
#include "os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define PART_FILE TOKEN_FILE ".part"

static int token_read(int fd, char into[TOKEN_TEXT], struct err *e)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_sys(e, "look at " TOKEN_FILE);
    if (st.st_mode & 077)
        return err_set(e, CODE_PRECONDITION,
                       TOKEN_FILE ": others may read it (mode %03o): chmod 600, or remove it and get a new one",
                       st.st_mode & 0777);
    ssize_t n = fault_hit("read") ? -1 : read(fd, into, TOKEN_TEXT - 1);
    if (n < 0)
        return err_sys(e, "read " TOKEN_FILE);
    into[n] = '\0';
    into[strcspn(into, "\n")] = '\0';
    return 0;
}

static int token_write(int dir, const char *text, struct err *e)
{
    size_t size = strlen(text);
    AUTO_CLOSE int fd = fault_hit("openat") ? -1
                                            : openat(dir, PART_FILE,
                                                     O_CREAT | O_TRUNC | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_sys(e, "make " TOKEN_FILE);
    if (fault_hit("write") || write(fd, text, size) != (ssize_t)size || fsync(fd) < 0)
        return err_sys(e, "write " TOKEN_FILE);
    if (fault_hit("renameat") || renameat(dir, PART_FILE, dir, TOKEN_FILE) < 0 || fsync(dir) < 0)
        return err_sys(e, "put " TOKEN_FILE " into its place");
    return 0;
}

static int token_make(int dir, char into[TOKEN_TEXT], struct err *e)
{
    uint8_t random[32];
    char line[2 * sizeof random + 2];
    if (fault_hit("getrandom") || getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return err_sys(e, "randomness");
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(line + 2 * i, 3, "%02x", random[i]);
    snprintf(into, TOKEN_TEXT, "%s", line);
    snprintf(line + 2 * sizeof random, 2, "\n");
    return token_write(dir, line, e);
}

int token_load(const char *folder, char into[TOKEN_TEXT], struct err *e)
{
    AUTO_CLOSE int dir = fault_hit("open") ? -1 : open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return err_sys(e, "open %s", folder);
    AUTO_CLOSE int fd = fault_hit("openat") ? -1 : openat(dir, TOKEN_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0)
        return token_read(fd, into, e);
    if (errno != ENOENT)
        return err_sys(e, "open " TOKEN_FILE);
    return token_make(dir, into, e);
}
