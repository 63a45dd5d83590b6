#include "node/jail.h"
#include "os/fault.h"
#include "os/mnt.h"
#include "os/ns.h"
#include "os/sysfilter.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define STAGE "/tmp" /* exists on every machine; covered in our own mount namespace only */

static const char *const devices[] = { "null", "zero", "urandom", "random" };
static const char *const links[] = { "bin", "lib", "lib32", "lib64", "libx32", "sbin" };
static const char *const network_paths[] = { "resolv.conf", "hosts", "nsswitch.conf", "ssl",
                                             "host.conf", "gai.conf", "ca-certificates" };

static int make_dir(const char *path, struct err *e)
{
    return (fault_hit("mkdir") || mkdir(path, 0755) < 0) && errno != EEXIST ? err_sys(e, "make %s", path) : 0;
}

/* The place takes the kind of what is shown there: a folder or a file. */
static int show(const char *from, const char *to, uint64_t attrs, bool recursive, struct err *e)
{
    struct stat st;
    if (stat(from, &st) < 0)
        return err_sys(e, "look at %s", from);
    if (S_ISDIR(st.st_mode)) {
        int r = make_dir(to, e);
        if (r < 0)
            return r;
    } else {
        AUTO_CLOSE int fd = open(to, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
        if (fd < 0)
            return err_sys(e, "make %s", to);
    }
    return mnt_bind(AT_FDCWD, from, AT_FDCWD, to, attrs, recursive, e);
}

static int show_devices(struct err *e)
{
    char from[64], to[64];
    int r = make_dir(STAGE "/dev", e);
    for (size_t i = 0; r == 0 && i < COUNT_OF(devices); i++) {
        snprintf(from, sizeof from, "/dev/%s", devices[i]);
        snprintf(to, sizeof to, STAGE "/dev/%s", devices[i]);
        r = show(from, to, 0, false, e);
    }
    return r;
}

/* A merged /usr has links at the top; an old layout has folders. Whatever it is, it looks the same. */
static int show_system(struct err *e)
{
    char from[64], to[64], target[256];
    int r = show("/usr", STAGE "/usr", MNT_RO_SAFE, true, e);
    for (size_t i = 0; r == 0 && i < COUNT_OF(links); i++) {
        snprintf(from, sizeof from, "/%s", links[i]);
        snprintf(to, sizeof to, STAGE "/%s", links[i]);
        ssize_t n = readlink(from, target, sizeof target - 1);
        if (n > 0) {
            target[n] = '\0';
            if (symlink(target, to) < 0)
                return err_sys(e, "link %s", to);
        } else if (access(from, F_OK) == 0) {
            r = show(from, to, MNT_RO_SAFE, true, e);
        }
    }
    return r;
}

static int show_network_files(struct err *e)
{
    char from[64], to[64];
    int r = 0;
    for (size_t i = 0; r == 0 && i < COUNT_OF(network_paths); i++) {
        snprintf(from, sizeof from, "/etc/%s", network_paths[i]);
        snprintf(to, sizeof to, STAGE "/etc/%s", network_paths[i]);
        if (access(from, R_OK) == 0)
            r = show(from, to, MNT_RO_SAFE, true, e);
    }
    return r;
}

/* The role sees itself: other processes' command lines hold what people type, and the rest of /proc is about
 * the host. An ordinary user may not mount a /proc of the host's processes: there it is the host's. */
static int show_processes(struct err *e)
{
    int r = make_dir(STAGE "/proc", e);
    if (r == 0 && mnt_new("proc", STAGE "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC,
                          "hidepid=invisible,subset=pid", 0, e) < 0)
        r = show("/proc", STAGE "/proc", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, true, e);
    return r;
}

static int root_build(const struct jail_spec *spec, int data_fd, struct err *e)
{
    int r = mnt_new("tmpfs", STAGE, MS_NOSUID | MS_NODEV, "mode=755,size=1m", 0, e);
    if (r == 0)
        r = show_system(e);
    if (r == 0)
        r = show_devices(e);
    if (r == 0)
        r = make_dir(STAGE "/etc", e);
    if (r == 0)
        r = show_processes(e);
    if (r == 0 && access("/etc/ld.so.cache", R_OK) == 0)
        r = show("/etc/ld.so.cache", STAGE "/etc/ld.so.cache", MNT_RO_SAFE, false, e);
    if (r == 0 && spec->network_files)
        r = show_network_files(e);
    if (r == 0 && data_fd >= 0) {
        r = make_dir(STAGE "/data", e);
        if (r == 0)
            r = mnt_place(data_fd, AT_FDCWD, STAGE "/data", 0, e);
    }
    return r;
}

static int privileges_drop(const struct jail_spec *spec, struct err *e)
{
    int r = ns_bounding_drop(e);
    if (r < 0)
        return r;
    if (spec->privileged) {
        gid_t gid = (gid_t)spec->uid;
        if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 ||
            setresuid(spec->uid, spec->uid, spec->uid) < 0)
            return err_sys(e, "become uid %u", spec->uid);
    }
    r = ns_capabilities_drop(e);
    if (r < 0)
        return r;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_sys(e, "no_new_privs");
    return 0;
}

/* Who parses bytes from outside has no use for new namespaces, io_uring, bpf or a debugger: an attacker in
 * here would. */
static int calls_reduce(struct err *e)
{
    AUTO(sysfilter) struct sysfilter *f = NULL;
    int r = sysfilter_role_open(&f, e);
    return r < 0 ? r : sysfilter_install(f, e);
}

int jail_enter(const struct jail_spec *spec, struct err *e)
{
    AUTO_CLOSE int data_fd = -1, root_fd = -1;
    if (fault_hit("unshare") || unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS) < 0)
        return err_sys(e, "jail: own namespaces");
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return err_sys(e, "jail: private mounts");
    if (spec->data_dir) { /* before the stage covers /tmp: the folder may lie there */
        data_fd = mnt_clone(AT_FDCWD, spec->data_dir, false, 0, e);
        if (data_fd < 0)
            return err_wrap(e, "jail: data folder");
    }
    int r = root_build(spec, data_fd, e);
    if (r < 0)
        return err_wrap(e, "jail");
    root_fd = fault_hit("open") ? -1 : open(STAGE, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root_fd < 0)
        return err_sys(e, "jail: open root");
    r = mnt_pivot(root_fd, e);
    if (r < 0)
        return err_wrap(e, "jail");
    r = mnt_attrs(AT_FDCWD, "/", MOUNT_ATTR_RDONLY, false, 0, e);
    if (r < 0)
        return err_wrap(e, "jail");
    if (chdir(spec->data_dir ? "/data" : "/") < 0)
        return err_sys(e, "jail: change folder");
    r = privileges_drop(spec, e);
    if (r == 0)
        r = calls_reduce(e);
    return r < 0 ? err_wrap(e, "jail") : 0;
}
