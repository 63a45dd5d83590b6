#include "cli/archive.h"
#include "artifact/hasher.h"
#include "codec/json.h"
#include "os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DESCRIPTION "backup.json"
enum { FORMAT = 1, DESCRIPTION_MAX = 16384, PIECE = 1 << 20 };
static const char *const files[] = { BACKUP_DURABLE, BACKUP_OBJECTS };

int archive_begin(struct archive *a, const char *path, struct err *e)
{
    size_t size = strlen(path);
    while (size > 1 && path[size - 1] == '/')
        size--;
    if (size == 0)
        return err_set(e, CODE_INVALID, "the folder has no name");
    char *part = xasprintf("%.*s.part", (int)size, path);
    if (mkdir(part, 0700) < 0) {
        int r = errno == EEXIST ? err_set(e, CODE_EXISTS, "%s: another one is being made there, or was cut off: remove it", part)
                                : err_sys(e, "make %s", part);
        free(part);
        return r;
    }
    *a = (struct archive){ .path = xasprintf("%.*s", (int)size, path), .part = part };
    return 0;
}

void archive_auto(struct archive *a)
{
    static const char *const names[] = { BACKUP_OBJECTS, BACKUP_DURABLE, DESCRIPTION };
    static const char *const ends[] = { "", "-wal", "-shm", ".part", ".part-wal", ".part-journal" };
    for (size_t i = 0; a->part && i < COUNT_OF(names) * COUNT_OF(ends); i++) {
        AUTO_FREE char *path = xasprintf("%s/%s%s", a->part, names[i / COUNT_OF(ends)], ends[i % COUNT_OF(ends)]);
        (void)unlink(path);
    }
    if (a->part)
        (void)rmdir(a->part);
    free(a->part);
    free(a->path);
}

/* ---- files ---- */

static int written(int fd, const char *at, size_t size, const char *path, struct err *e)
{
    while (size > 0) {
        ssize_t n = write(fd, at, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(e, "write %s", path);
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

/* out_fd -1: only looked at. */
static int stream(int in_fd, int out_fd, const char *from, const char *to, char digest[80], struct err *e)
{
    AUTO(hasher) struct hasher *h = hasher_new();
    AUTO_FREE char *piece = xcalloc(1, PIECE);
    ssize_t n;
    while ((n = read(in_fd, piece, PIECE)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(e, "read %s", from);
        hasher_add(h, piece, (size_t)n);
        int r = out_fd < 0 ? 0 : written(out_fd, piece, (size_t)n, to, e);
        if (r < 0)
            return r;
    }
    struct digest d = hasher_end(h);
    digest_format(&d, digest);
    return out_fd >= 0 && fsync(out_fd) < 0 ? err_sys(e, "make %s durable", to) : 0;
}

static int source_open(const char *path, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == EACCES)
        return err_set(e, CODE_DENIED, "%s: this user may not read it; ask as root, or as the user who runs hob", path);
    if (fd < 0 && errno == ENOENT)
        return err_set(e, CODE_NOT_FOUND, "%s: there is no such file here", path);
    return fd < 0 ? err_sys(e, "open %s", path) : fd;
}

int archive_file(const struct archive *a, const char *folder, const char *name, char digest[80], struct err *e)
{
    AUTO_FREE char *from = xasprintf("%s/%s", folder, name), *to = xasprintf("%s/%s", a->part, name);
    AUTO_CLOSE int in_fd = source_open(from, e);
    if (in_fd < 0)
        return -(int)e->code;
    AUTO_CLOSE int out_fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return out_fd < 0 ? err_sys(e, "make %s", to) : stream(in_fd, out_fd, from, to, digest, e);
}

static int folder_sync(const char *path, struct err *e)
{
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? err_sys(e, "make %s durable", path) : 0;
}

int archive_finish(struct archive *a, bool over_empty, struct err *e)
{
    AUTO_FREE char *text = xstrdup(a->path);
    int r = folder_sync(a->part, e);
    if (r < 0)
        return r;
    int failed = over_empty ? rename(a->part, a->path) : renameat2(AT_FDCWD, a->part, AT_FDCWD, a->path, RENAME_NOREPLACE);
    if (failed && (errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR))
        return err_set(e, CODE_EXISTS, "%s: there is something already", a->path);
    if (failed)
        return err_sys(e, "give %s its name", a->path);
    free(TAKE(a->part));
    return folder_sync(dirname(text), e);
}

/* ---- what it says of itself ---- */

static json_t *file_json(const char *dir, const char *name, struct err *e)
{
    struct stat st;
    char digest[80];
    AUTO_FREE char *path = xasprintf("%s/%s", dir, name);
    AUTO_CLOSE int fd = source_open(path, e);
    if (fd < 0 || stream(fd, -1, path, NULL, digest, e) < 0)
        return NULL;
    if (fstat(fd, &st) < 0) {
        (void)err_sys(e, "look at %s", path);
        return NULL;
    }
    return json_pack("{s:s, s:I, s:s}", "name", name, "bytes", (json_int_t)st.st_size, "digest", digest);
}

int archive_describe(const struct archive *a, const struct backup_facts *facts, struct err *e)
{
    char when[32];
    struct tm tm;
    time_t now = time(NULL);
    struct buf text;
    AUTO_JSON json_t *list = json_array();
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        json_t *one = file_json(a->part, files[i], e);
        if (!one)
            return -(int)e->code;
        (void)json_array_append_new(list, one);
    }
    (void)strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
    AUTO_JSON json_t *j = json_pack("{s:i, s:s, s:s, s:I, s:I, s:O}", "format", FORMAT, "hob", HOB_VERSION, "made", when,
                                    "objects", (json_int_t)facts->objects, "entities", (json_int_t)facts->entities, "files",
                                    list);
    AUTO_FREE char *path = xasprintf("%s/" DESCRIPTION, a->part);
    AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_sys(e, "make %s", path);
    buf_init(&text, DESCRIPTION_MAX);
    json_write_pretty(j, &text);
    buf_text(&text, "\n");
    int r = written(fd, buf_at(&text), text.size, path, e);
    buf_done(&text);
    return r == 0 && fsync(fd) < 0 ? err_sys(e, "make %s durable", path) : r;
}

static int description_read(const char *from, const struct limits *limits, json_t **ret, struct err *e)
{
    char text[DESCRIPTION_MAX];
    AUTO_FREE char *path = xasprintf("%s/" DESCRIPTION, from);
    AUTO_JSON json_t *j = NULL;
    AUTO_CLOSE int fd = source_open(path, e);
    if (fd < 0)
        return e->code == CODE_NOT_FOUND
                   ? err_set(e, CODE_NOT_FOUND, "%s: this is no backup, or not a whole one: there is no " DESCRIPTION, from)
                   : -(int)e->code;
    int r = fd_text_read(fd, text, sizeof text, e);
    if (r >= 0)
        r = json_read(str_of(text), limits, &j, e);
    if (r < 0)
        return err_wrap(e, "%s", path);
    if (json_int_at(j, "format", 0) != FORMAT)
        return err_set(e, CODE_PRECONDITION, "%s: format %lld; this hob knows %d", path, (long long)json_int_at(j, "format", 0),
                       FORMAT);
    *ret = TAKE(j);
    return 0;
}

static const char *digest_said(const json_t *j, const char *name)
{
    json_t *one;
    size_t i;
    json_array_foreach(json_at(j, "files"), i, one) {
        const char *has = json_text_at(one, "name");
        if (has && strcmp(has, name) == 0)
            return json_text_at(one, "digest");
    }
    return NULL;
}

int archive_take(const struct archive *a, const char *from, const struct limits *limits, struct err *e)
{
    AUTO_JSON json_t *j = NULL;
    int r = description_read(from, limits, &j, e);
    for (size_t i = 0; r == 0 && i < COUNT_OF(files); i++) {
        char digest[80];
        const char *said = digest_said(j, files[i]);
        r = archive_file(a, from, files[i], digest, e);
        if (r == 0 && (!said || strcmp(said, digest) != 0))
            r = err_set(e, CODE_DATA_LOSS, "%s/%s: it is not what was backed up: its digest is not the one in " DESCRIPTION, from,
                        files[i]);
    }
    return r;
}
