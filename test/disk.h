/* disk.h -- a SQLite VFS for tests that can be full, broken, slow to sync, or lose its power.
 *
 * Wraps the system's VFS (real files, real locks). Every operation that changes the disk is
 * counted; one can be made to fail, to be cut short, or to be the last one ever. What was written
 * and not yet synced is remembered by sector, and disk_power_cut() leaves a random part of it behind:
 * the difference between a process that died and a machine that did. Files that were deleted or
 * created are taken to be durable at once. */
#pragma once

#include "base/rng.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DISK_NODES = 16, DISK_SECTOR = 512 };
enum disk_fault { DISK_EIO, DISK_FULL, DISK_SHORT /* half is written, then EIO */, DISK_POWER,
                  DISK_LOST /* EIO; of a sync: and what it should have synced never will be, as Linux has it */ };

struct disk_write {
    struct disk_write *next;
    sqlite3_int64 offset;
    int size; /* -1: a truncation to offset */
    unsigned char bytes[];
};
struct disk_node {
    char path[512];
    unsigned char *durable;
    sqlite3_int64 durable_size;
    size_t durable_capacity;
    struct disk_write *writes, **writes_end;
};
static struct {
    pthread_mutex_t lock;
    sqlite3_vfs vfs, *real;
    sqlite3_vfs excl, *real_excl; /* the same over "unix-excl", under that name */
    struct disk_node nodes[DISK_NODES];
    int ops, syncs;
    int fail_at; /* the number of the operation that fails; 0: none */
    enum disk_fault fault;
    bool stays, dead, fired; /* stays: and every later one; dead: no power */
    bool corrupt_reads;      /* pages of *.db come back damaged */
    const char *only;        /* faults only where the path contains this; NULL: everywhere */
} disk = { .lock = PTHREAD_MUTEX_INITIALIZER };

struct disk_file {
    sqlite3_file base;
    struct disk_node *node;
    sqlite3_file *real;
};
static sqlite3_file *disk_real(sqlite3_file *f) { return ((struct disk_file *)(void *)f)->real; }
static struct disk_node *disk_node_of(sqlite3_file *f)
{
    return ((struct disk_file *)(void *)f)->node;
}

static struct disk_node *disk_node(const char *path)
{
    for (int i = 0; i < DISK_NODES; i++) {
        struct disk_node *n = &disk.nodes[i];
        if (!n->path[0]) {
            snprintf(n->path, sizeof n->path, "%s", path);
            n->writes_end = &n->writes;
        }
        if (strcmp(n->path, path) == 0)
            return n;
    }
    abort();
}

static void disk_remember(struct disk_node *n, const void *bytes, int size, sqlite3_int64 offset)
{
    struct disk_write *w = calloc(1, sizeof *w + (size > 0 ? (size_t)size : 0));
    w->offset = offset;
    w->size = size;
    if (size > 0)
        memcpy(w->bytes, bytes, (size_t)size);
    *n->writes_end = w;
    n->writes_end = &w->next;
}

static void disk_resize(struct disk_node *n, sqlite3_int64 size)
{
    size_t before = (size_t)n->durable_size, now = (size_t)size;
    if (now > n->durable_capacity) {
        n->durable_capacity = 2 * now;
        n->durable = realloc(n->durable, n->durable_capacity);
    }
    if (now > before)
        memset(n->durable + before, 0, now - before);
    n->durable_size = size;
}

/* Moves what was written into what lasts; with rng, only some sectors of it. */
static void disk_settle(struct disk_node *n, struct rng *rng)
{
    for (struct disk_write *w; (w = n->writes) != NULL;) {
        n->writes = w->next;
        if (w->size < 0 && (!rng || rng_chance(rng, 50)))
            disk_resize(n, w->offset);
        for (int at = 0; at < w->size;) {
            sqlite3_int64 from = w->offset + at;
            int size = (int)(DISK_SECTOR - from % DISK_SECTOR);
            size = size > w->size - at ? w->size - at : size;
            if (!rng || rng_chance(rng, 50)) {
                if (from + size > n->durable_size)
                    disk_resize(n, from + size);
                memcpy(n->durable + from, w->bytes + at, (size_t)size);
            }
            at += size;
        }
        free(w);
    }
    n->writes_end = &n->writes;
}

static void disk_forget(struct disk_node *n)
{
    for (struct disk_write *w; (w = n->writes) != NULL;) {
        n->writes = w->next;
        free(w);
    }
    n->writes_end = &n->writes;
}

/* The process dies, the machine does not: nothing more reaches the disk until disk_again(). */
static inline void disk_kill(void)
{
    pthread_mutex_lock(&disk.lock);
    disk.dead = true;
    pthread_mutex_unlock(&disk.lock);
}
static inline void disk_again(void)
{
    disk.dead = false;
    disk.fail_at = 0;
}

/* 0, or the SQLite code of the failure that is due. */
static int disk_op(const char *path, int eio)
{
    if (disk.dead)
        return eio;
    if (disk.only && !strstr(path, disk.only))
        return SQLITE_OK;
    disk.ops++;
    if (disk.fail_at == 0 || !(disk.ops == disk.fail_at || (disk.stays && disk.ops > disk.fail_at)))
        return SQLITE_OK;
    disk.fired = true;
    disk.dead = disk.fault == DISK_POWER;
    return disk.fault == DISK_FULL ? SQLITE_FULL : eio;
}

static int disk_write(sqlite3_file *f, const void *bytes, int size, sqlite3_int64 offset)
{
    struct disk_node *n = disk_node_of(f);
    pthread_mutex_lock(&disk.lock);
    bool was_dead = disk.dead;
    int failed = disk_op(n->path, SQLITE_IOERR_WRITE);
    int wrote = failed ? 0 : size;
    if (failed && !was_dead && (disk.fault == DISK_SHORT || disk.fault == DISK_POWER))
        wrote = size / 2;
    int rc = SQLITE_OK;
    if (wrote > 0) {
        rc = disk_real(f)->pMethods->xWrite(disk_real(f), bytes, wrote, offset);
        disk_remember(n, bytes, wrote, offset);
    }
    pthread_mutex_unlock(&disk.lock);
    return failed ? failed : rc;
}

static int disk_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    struct disk_node *n = disk_node_of(f);
    pthread_mutex_lock(&disk.lock);
    int rc = disk_op(n->path, SQLITE_IOERR_TRUNCATE);
    if (rc == SQLITE_OK) {
        rc = disk_real(f)->pMethods->xTruncate(disk_real(f), size);
        disk_remember(n, NULL, -1, size);
    }
    pthread_mutex_unlock(&disk.lock);
    return rc;
}

static int disk_sync(sqlite3_file *f, int flags)
{
    struct disk_node *n = disk_node_of(f);
    (void)flags;
    pthread_mutex_lock(&disk.lock);
    int rc = disk_op(n->path, SQLITE_IOERR_FSYNC);
    if (rc == SQLITE_OK) {
        disk.syncs++;
        disk_settle(n, NULL);
    } else if (disk.fault == DISK_LOST && !disk.dead) {
        disk_forget(n);
    }
    pthread_mutex_unlock(&disk.lock);
    return rc;
}

static int disk_read(sqlite3_file *f, void *into, int size, sqlite3_int64 offset)
{
    struct disk_node *n = disk_node_of(f);
    pthread_mutex_lock(&disk.lock);
    bool corrupt = disk.corrupt_reads, dead = disk.dead;
    pthread_mutex_unlock(&disk.lock);
    if (dead)
        return SQLITE_IOERR_READ;
    int rc = disk_real(f)->pMethods->xRead(disk_real(f), into, size, offset);
    size_t length = strlen(n->path);
    if (corrupt && size >= 512 && offset > 0 && strcmp(n->path + length - 3, ".db") == 0)
        memset(into, 0x5a, 64); /* what says which kind of page it is */
    return rc;
}

// clang-format off
static int disk_close(sqlite3_file *f) { int rc = disk_real(f)->pMethods->xClose(disk_real(f)); free(disk_real(f)); return rc; }
static int disk_size(sqlite3_file *f, sqlite3_int64 *ret) { return disk_real(f)->pMethods->xFileSize(disk_real(f), ret); }
static int disk_lock(sqlite3_file *f, int how) { return disk_real(f)->pMethods->xLock(disk_real(f), how); }
static int disk_unlock(sqlite3_file *f, int how) { return disk_real(f)->pMethods->xUnlock(disk_real(f), how); }
static int disk_reserved(sqlite3_file *f, int *ret) { return disk_real(f)->pMethods->xCheckReservedLock(disk_real(f), ret); }
static int disk_control(sqlite3_file *f, int op, void *arg) { return disk_real(f)->pMethods->xFileControl(disk_real(f), op, arg); }
static int disk_sector(sqlite3_file *f) { return disk_real(f)->pMethods->xSectorSize(disk_real(f)); }
static int disk_traits(sqlite3_file *f) { return disk_real(f)->pMethods->xDeviceCharacteristics(disk_real(f)); }
static int disk_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **ret) { return disk_real(f)->pMethods->xShmMap(disk_real(f), page, size, extend, ret); }
static int disk_shm_lock(sqlite3_file *f, int at, int n, int how) { return disk_real(f)->pMethods->xShmLock(disk_real(f), at, n, how); }
static void disk_shm_barrier(sqlite3_file *f) { disk_real(f)->pMethods->xShmBarrier(disk_real(f)); }
static int disk_shm_unmap(sqlite3_file *f, int remove) { return disk_real(f)->pMethods->xShmUnmap(disk_real(f), remove); }
static const sqlite3_io_methods disk_methods = {
    2, disk_close, disk_read, disk_write, disk_truncate, disk_sync, disk_size, disk_lock, disk_unlock,
    disk_reserved, disk_control, disk_sector, disk_traits, disk_shm_map, disk_shm_lock,
    disk_shm_barrier, disk_shm_unmap, NULL, NULL,
};
// clang-format on

static int disk_open(sqlite3_vfs *v, sqlite3_filename name, sqlite3_file *f, int flags,
                     int *ret_flags)
{
    struct disk_file *file = (struct disk_file *)(void *)f;
    sqlite3_vfs *real = v == &disk.excl ? disk.real_excl : disk.real;
    pthread_mutex_lock(&disk.lock);
    int rc = disk_op(name ? name : "", SQLITE_CANTOPEN);
    file->node = name ? disk_node(name) : NULL;
    pthread_mutex_unlock(&disk.lock);
    file->base.pMethods = NULL;
    if (rc != SQLITE_OK)
        return rc;
    file->real = calloc(1, (size_t)real->szOsFile);
    rc = real->xOpen(real, name, file->real, flags, ret_flags);
    if (rc == SQLITE_OK && file->node)
        file->base.pMethods = &disk_methods;
    else
        free(file->real);
    return rc;
}

static int disk_delete(sqlite3_vfs *v, const char *path, int sync_dir)
{
    (void)v;
    pthread_mutex_lock(&disk.lock);
    int rc = disk_op(path, SQLITE_IOERR_DELETE);
    if (rc == SQLITE_OK) {
        rc = disk.real->xDelete(disk.real, path, sync_dir);
        struct disk_node *n = disk_node(path);
        disk_settle(n, NULL);
        disk_resize(n, 0);
    }
    pthread_mutex_unlock(&disk.lock);
    return rc;
}

/* From now on every database that is opened lies on this disk. */
static void disk_install(void)
{
    if (disk.real)
        return;
    disk.real = sqlite3_vfs_find(NULL);
    disk.vfs = *disk.real;
    disk.vfs.zName = "disk";
    disk.vfs.szOsFile = sizeof(struct disk_file);
    disk.vfs.xOpen = disk_open;
    disk.vfs.xDelete = disk_delete;
    disk.real_excl = sqlite3_vfs_find("unix-excl");
    disk.excl = *disk.real_excl;
    disk.excl.szOsFile = sizeof(struct disk_file);
    disk.excl.xOpen = disk_open;
    disk.excl.xDelete = disk_delete;
    sqlite3_vfs_register(&disk.vfs, 1);
    sqlite3_vfs_register(&disk.excl, 0); /* found before the one whose name it has */
}

/* A disk without faults, files or memories. */
static void disk_reset(void)
{
    for (int i = 0; i < DISK_NODES; i++) {
        disk_settle(&disk.nodes[i], NULL);
        free(disk.nodes[i].durable);
        disk.nodes[i] = (struct disk_node){ 0 };
    }
    disk.ops = disk.syncs = disk.fail_at = 0;
    disk.stays = disk.dead = disk.fired = disk.corrupt_reads = false;
    disk.only = NULL;
}

/* Under the lock: the writer may be at work. */
static inline void disk_break(int nth, enum disk_fault fault, bool stays)
{
    pthread_mutex_lock(&disk.lock);
    disk.fail_at = nth ? disk.ops + nth : 0;
    disk.fault = fault;
    disk.stays = stays;
    disk.fired = false;
    pthread_mutex_unlock(&disk.lock);
}

/* All users have closed. Rewrites the files as a machine would find them after the cut. */
static inline void disk_power_cut(struct rng *rng)
{
    for (int i = 0; i < DISK_NODES && disk.nodes[i].path[0]; i++) {
        struct disk_node *n = &disk.nodes[i];
        size_t length = strlen(n->path);
        disk_settle(n, rng);
        (void)unlink(n->path);
        if (n->durable_size == 0 || (length > 4 && strcmp(n->path + length - 4, "-shm") == 0))
            continue;
        FILE *f = fopen(n->path, "wbe");
        if (!f || fwrite(n->durable, 1, (size_t)n->durable_size, f) != (size_t)n->durable_size)
            abort();
        fclose(f);
        char shm[600];
        snprintf(shm, sizeof shm, "%s-shm", n->path);
        (void)unlink(shm);
    }
    disk.dead = false;
    disk.fail_at = 0;
}
