/* store_fixture.h -- a content store in a folder of its own, and what the artifact tests ask of it. */
#pragma once

#include "artifact/cas.h"
#include "os/fault.h"
#include "tap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture {
    char dir[64];
    struct limits limits;
    struct cas *cas;
    int found, found_trees;
    uint64_t found_bytes;
};

static inline int fixture_remove_one(const char *path, const struct stat *st, int type, struct FTW *w)
{
    (void)st;
    (void)type;
    (void)w;
    return remove(path);
}

static inline int fixture_chmod_one(const char *path, const struct stat *st, int type, struct FTW *w)
{
    (void)st;
    (void)w;
    return type == FTW_D ? chmod(path, 0700) : 0;
}

static inline void dir_remove(const char *dir)
{
    (void)nftw(dir, fixture_chmod_one, 16, FTW_PHYS);
    (void)nftw(dir, fixture_remove_one, 16, FTW_PHYS | FTW_DEPTH);
}

static inline void fixture_found(void *ctx, const struct cas_found *f)
{
    struct fixture *x = ctx;
    x->found += !f->part;
    x->found_trees += f->tree;
    x->found_bytes += f->part ? 0 : f->bytes;
}

static inline bool fixture_reopen(struct fixture *x)
{
    struct err e;
    cas_free(x->cas);
    x->cas = NULL;
    x->found = x->found_trees = 0;
    x->found_bytes = 0;
    return cas_open(x->dir, &x->limits, &x->cas, &e) == 0 &&
           cas_scan(x->cas, fixture_found, x, &e) == 0;
}

static inline bool fixture_open(struct fixture *x)
{
    *x = (struct fixture){ .dir = "/tmp/hob-store-XXXXXX" };
    limits_default(&x->limits);
    return mkdtemp(x->dir) && fixture_reopen(x);
}

static inline void fixture_close(struct fixture *x)
{
    cas_free(x->cas);
    dir_remove(x->dir);
}

/* How many names are in a folder of the store; -1: there is none. */
static inline int names_in(const struct fixture *x, const char *folder)
{
    char path[256];
    int count = 0;
    snprintf(path, sizeof path, "%s/%s", x->dir, folder);
    DIR *dir = opendir(path);
    if (!dir)
        return -1;
    for (struct dirent *d; (d = readdir(dir)) != NULL;)
        count += strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0;
    closedir(dir);
    return count;
}

static inline bool stored(const struct fixture *x, bool tree, const char *hex)
{
    char name[CAS_NAME], path[256];
    struct stat st;
    cas_path(tree, hex, name);
    snprintf(path, sizeof path, "%s/%s", x->dir, name);
    return lstat(path, &st) == 0;
}

static inline void fill(char *bytes, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++) {
        seed = seed * 1103515245 + 12345;
        bytes[i] = (char)(seed >> 16);
    }
}

static inline void hex_of(const void *bytes, size_t size, char hex[65])
{
    struct digest d = hasher_of(bytes, size);
    digest_hex(&d, hex);
}

static inline bool file_put(const char *dir, const char *name, const void *bytes, size_t size, mode_t mode)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool good = fd >= 0 && write(fd, bytes, size) == (ssize_t)size && fchmod(fd, mode) == 0;
    if (fd >= 0)
        close(fd);
    return good;
}
