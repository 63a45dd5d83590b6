#include "os/landlock.h"
#include "os/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel's ABI, version 6. Written out because the distribution's headers know only version 2
 * while the kernels that hob meets know more. */
#define FS_EXECUTE    BIT(0)
#define FS_WRITE_FILE BIT(1)
#define FS_READ_FILE  BIT(2)
#define FS_READ_DIR   BIT(3)
#define FS_MAKE_CHAR  BIT(6)
#define FS_MAKE_BLOCK BIT(11)
#define FS_TRUNCATE   BIT(14)
#define FS_IOCTL_DEV  BIT(15)

#define SCOPE_ABSTRACT_UNIX BIT(0)
#define SCOPE_SIGNAL        BIT(1)

#define CREATE_VERSION 1u /* landlock_create_ruleset() only tells its version */
#define RULE_BENEATH   1

struct ruleset_attr {
    uint64_t fs, net, scoped;
};
struct __attribute__((packed)) beneath_attr {
    uint64_t allowed;
    int32_t parent_fd;
};

int landlock_version(void)
{
    long v = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_VERSION);
    return v < 0 ? 0 : (int)v;
}

static uint64_t fs_handled(int version)
{
    static const int bits_of_version[] = { 0, 13, 14, 15, 15, 16 };
    int known = (int)COUNT_OF(bits_of_version) - 1;
    return BIT(bits_of_version[version < known ? version : known]) - 1;
}

int landlock_open(struct err *e)
{
    int version = landlock_version();
    struct ruleset_attr a = { .fs = fs_handled(version) };
    size_t size = sizeof a.fs;
    if (version == 0)
        return err_set(e, CODE_UNIMPLEMENTED, "landlock: this kernel has none");
    if (version >= 4)
        size += sizeof a.net;
    if (version >= 6) {
        size += sizeof a.scoped;
        a.scoped = SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL;
    }
    long fd = fault_hit("landlock") ? -1 : syscall(SYS_landlock_create_ruleset, &a, size, 0);
    return fd < 0 ? err_sys(e, "landlock: rule set") : (int)fd;
}

static uint64_t rights_of(enum landlock_grant grant, bool is_dir)
{
    const uint64_t on_file = FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV;
    uint64_t rights = 0;
    switch (grant) {
    case LANDLOCK_GRANT_READ: rights = FS_EXECUTE | FS_READ_FILE | FS_READ_DIR; break;
    case LANDLOCK_GRANT_DEVICE:
        rights = FS_READ_FILE | FS_READ_DIR | FS_WRITE_FILE | FS_IOCTL_DEV | FS_TRUNCATE;
        break;
    case LANDLOCK_GRANT_ALL: rights = ~(FS_MAKE_CHAR | FS_MAKE_BLOCK); break;
    }
    return (is_dir ? rights : rights & on_file) & fs_handled(landlock_version());
}

int landlock_grant(int ruleset_fd, const char *path, enum landlock_grant grant, struct err *e)
{
    struct stat st;
    AUTO_CLOSE int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_sys(e, "landlock: %s", path);
    struct beneath_attr a = { .allowed = rights_of(grant, S_ISDIR(st.st_mode)), .parent_fd = fd };
    if (syscall(SYS_landlock_add_rule, ruleset_fd, RULE_BENEATH, &a, 0) < 0)
        return err_sys(e, "landlock: rule for %s", path);
    return 0;
}

int landlock_restrict(int ruleset_fd, struct err *e)
{
    if (syscall(SYS_landlock_restrict_self, ruleset_fd, 0) < 0)
        return err_sys(e, "landlock: restrict");
    return 0;
}
