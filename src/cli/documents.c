#include "cli/documents.h"

#include "os/fault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct documents *documents_new(void) { return xcalloc(1, sizeof(struct documents)); }

void documents_free(struct documents *d)
{
    for (size_t i = 0; d && i < d->count; i++)
        json_decref(d->at[i]);
    free(d);
}

static int document_add(struct documents *d, json_t *take_j, const char *from, struct err *e)
{
    AUTO_JSON json_t *j = take_j;
    json_t *items = json_at(j, "items"), *one;
    size_t i;
    if (json_is_array(items) &&
        strcmp(json_text_at(j, "kind") ? json_text_at(j, "kind") : "", "List") == 0) {
        int r = 0;
        json_array_foreach(items, i, one)
            if (r == 0)
                r = document_add(d, json_incref(one), from, e);
        return r;
    }
    if (d->count == DOCUMENTS_MAX)
        return err_set(e, CODE_EXHAUSTED, "%s: more than %d objects", from, DOCUMENTS_MAX);
    d->at[d->count++] = TAKE(j);
    return 0;
}

static int read_all(int fd, const char *from, struct buf *into, struct err *e)
{
    for (;;) {
        size_t room;
        char *at = buf_reserve(into, KIB(64), &room);
        if (room == 0)
            return err_set(e, CODE_EXHAUSTED,
                           "%s: longer than %zu bytes (limit api_body_bytes_max)", from, into->max);
        ssize_t got = fault_hit("read") ? -1 : read(fd, at, room);
        if (got == 0)
            return 0;
        if (got < 0 && errno != EINTR)
            return err_sys(e, "%s", from);
        buf_commit(into, (size_t)MAX(got, 0));
    }
}

static int read_fd(const struct limits *l, int fd, const char *from, struct documents *d, struct err *e)
{
    json_t *docs[DOCUMENTS_MAX];
    struct buf text;
    size_t count = 0;
    buf_init(&text, l->api_body_bytes_max);
    int r = read_all(fd, from, &text, e);
    if (r == 0) {
        r = yaml_read(buf_str(&text), l, docs, DOCUMENTS_MAX, &count, e);
        if (r < 0)
            r = err_wrap(e, "%s", from);
    }
    for (size_t i = 0; i < count; i++)
        if (r < 0)
            json_decref(docs[i]);
        else
            r = document_add(d, docs[i], from, e);
    buf_done(&text);
    return MIN(r, 0);
}

static int manifest_only(const struct dirent *d)
{
    struct str name = str_of(d->d_name);
    return d->d_name[0] != '.' && (str_ends(name, STR(".yaml")) || str_ends(name, STR(".yml")) ||
                                   str_ends(name, STR(".json")));
}

static int read_path(const struct limits *l, const char *path, struct documents *d, struct err *e);

static int read_folder(const struct limits *l, const char *path, struct documents *d, struct err *e)
{
    struct dirent **names = NULL;
    int count = fault_hit("scandir") ? -1 : scandir(path, &names, manifest_only, alphasort), r = 0;
    if (count < 0)
        return err_sys(e, "%s", path);
    if (count == 0)
        r = err_set(e, CODE_NOT_FOUND, "%s: no .yaml, .yml or .json file in it", path);
    for (int i = 0; i < count; i++) {
        AUTO_FREE char *file = xasprintf("%s/%s", path, names[i]->d_name);
        struct stat st;
        if (r == 0 && stat(file, &st) == 0 && S_ISREG(st.st_mode)) /* one level, no folders below */
            r = read_path(l, file, d, e);
        free(names[i]);
    }
    free(names);
    return r;
}

static int read_path(const struct limits *l, const char *path, struct documents *d, struct err *e)
{
    struct stat st;
    if (strcmp(path, "-") == 0)
        return read_fd(l, STDIN_FILENO, "stdin", d, e);
    AUTO_CLOSE int fd = fault_hit("open") ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_sys(e, "%s", path);
    if (S_ISDIR(st.st_mode))
        return read_folder(l, path, d, e);
    return read_fd(l, fd, path, d, e);
}

int documents_read(struct documents *d, const struct opt_list *files, const struct limits *l, struct err *e)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < files->count; i++)
        r = read_path(l, files->at[i], d, e);
    if (r == 0 && d->count == 0)
        r = err_set(e, CODE_INVALID, "%s: no object in it", files->count ? files->at[0] : "no file");
    return r;
}
