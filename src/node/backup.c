#include "node/backup.h"
#include "base/log.h"
#include "store/backup.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct backup {
    struct journal *from;
    struct store *store;
    char *folder, *shown, *durable_path, *objects_path;
    struct journal_backup journal;
    struct store_backup objects;
    enum { BACKUP_NONE, BACKUP_COPYING, BACKUP_DONE, BACKUP_FAILED } state;
    uint64_t durable_bytes, object_bytes;
    struct err why;
};

/* As far as it is there. */
static int folder_remove(const struct backup *b, struct err *e)
{
    static const char *const ends[] = { "", ".part", "-wal", "-shm", ".part-wal", ".part-shm", ".part-journal" };
    const char *const files[] = { b->durable_path, b->objects_path };
    for (size_t i = 0; i < COUNT_OF(files); i++)
        for (size_t k = 0; k < COUNT_OF(ends); k++) {
            AUTO_FREE char *path = xasprintf("%s%s", files[i], ends[k]);
            (void)unlink(path);
        }
    return rmdir(b->folder) < 0 && errno != ENOENT ? err_sys(e, "remove %s", b->shown) : 0;
}

static void end(struct backup *b, int r, const struct err *e)
{
    struct err ignored;
    b->state = r < 0 ? BACKUP_FAILED : BACKUP_DONE;
    if (r == 0) {
        log_event(LOG_INFO, "backup.made", "folder=\"%s\" bytes=%llu", LOG_QUOTED(b->shown),
                  (unsigned long long)(b->durable_bytes + b->object_bytes));
        return;
    }
    b->why = *e;
    (void)folder_remove(b, &ignored);
    log_event(LOG_ERROR, "backup.failed", "error=\"%s\"", LOG_QUOTED(e->text));
}

static void on_objects(struct store_backup *s, int r, uint64_t bytes, const struct err *e)
{
    struct backup *b = CONTAINER_OF(s, struct backup, objects);
    b->object_bytes = bytes;
    end(b, r, e);
}

static void on_durable(struct journal_backup *j, int r, uint64_t bytes, const struct err *e)
{
    struct backup *b = CONTAINER_OF(j, struct backup, journal);
    struct err why = *e;
    b->durable_bytes = bytes;
    if (r == 0)
        r = store_backup(b->store, &b->objects, &why);
    if (r < 0)
        end(b, r, &why);
}

int backup_begin(struct backup *b, struct err *e)
{
    if (b->state == BACKUP_COPYING)
        return err_set(e, CODE_EXHAUSTED, "a backup is being made: wait until it is done");
    int r = folder_remove(b, e);
    if (r < 0)
        return r;
    if (mkdir(b->folder, 0700) < 0)
        return err_sys(e, "make %s", b->shown);
    r = journal_backup(b->from, &b->journal, e);
    if (r < 0) {
        (void)rmdir(b->folder);
        return r;
    }
    b->state = BACKUP_COPYING;
    return 0;
}

int backup_remove(struct backup *b, struct err *e)
{
    if (b->state == BACKUP_COPYING)
        return err_set(e, CODE_EXHAUSTED, "a backup is being made: wait until it is done");
    b->state = BACKUP_NONE;
    return folder_remove(b, e);
}

json_t *backup_look(const struct backup *b)
{
    static const char *const states[] = { "none", "copying", "done", "failed" };
    json_t *j = json_pack("{s:s}", "state", states[b->state]);
    if (b->state == BACKUP_FAILED)
        (void)json_object_set_new(j, "error", json_string(b->why.text));
    if (b->state != BACKUP_DONE)
        return j;
    (void)json_object_set_new(j, "folder", json_string(b->shown));
    (void)json_object_set_new(j, "durableBytes", json_integer((json_int_t)b->durable_bytes));
    (void)json_object_set_new(j, "objectBytes", json_integer((json_int_t)b->object_bytes));
    return j;
}

struct backup *backup_new(struct journal *j, struct store *s, const char *data_dir, const char *shown_dir)
{
    struct err e;
    struct backup *b = xcalloc(1, sizeof *b);
    b->from = j;
    b->store = s;
    b->folder = xasprintf("%s/backup", data_dir);
    b->shown = xasprintf("%s/backup", shown_dir);
    b->durable_path = xasprintf("%s/" BACKUP_DURABLE, b->folder);
    b->objects_path = xasprintf("%s/" BACKUP_OBJECTS, b->folder);
    b->journal = (struct journal_backup){ .path = b->durable_path, .on_done = on_durable };
    b->objects = (struct store_backup){ .path = b->objects_path, .on_done = on_objects };
    (void)folder_remove(b, &e); /* a backup is taken anew if it cannot be removed, too: that is told then */
    return b;
}

void backup_free(struct backup *b)
{
    struct err e;
    if (!b)
        return;
    (void)folder_remove(b, &e);
    free(b->folder);
    free(b->shown);
    free(b->durable_path);
    free(b->objects_path);
    free(b);
}
