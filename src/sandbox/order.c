#include "sandbox/order.h"

#include <limits.h>
#include <stdlib.h>

#define ORDER_MAGIC 0x7264726fu

enum { BYTES_PER_FILE_MAX = 1024 * 1024 }; /* as large as a Kubernetes ConfigMap */

/* ---- checks ----------------------------------------------------------------------------- */

/* Components that are plain names: no empty one, no "." and no "..". */
static bool is_plain_path(const char *path)
{
    if (strlen(path) >= PATH_MAX || path[0] == '\0')
        return false;
    for (struct str rest = str_of(path); rest.size > 0;) {
        struct str part = str_cut(&rest, '/');
        if (part.size == 0 || part.size > NAME_MAX || str_is(part, ".") || str_is(part, ".."))
            return false;
    }
    return path[strlen(path) - 1] != '/';
}

/* Where something may be placed inside: not on what the sandbox itself provides. */
static bool is_target(const char *path)
{
    static const char *const reserved[] = { "proc", "sys", "dev" };
    if (path[0] != '/' || !is_plain_path(path + 1))
        return false;
    struct str rest = str_of(path + 1);
    struct str first = str_cut(&rest, '/');
    for (size_t i = 0; i < COUNT_OF(reserved); i++)
        if (str_is(first, reserved[i]))
            return false;
    return true;
}

static bool is_workdir(const char *path)
{
    return strcmp(path, "/") == 0 || (path[0] == '/' && is_plain_path(path + 1));
}

static bool is_id(const char *id)
{
    size_t n = strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return id[n] == '\0' && n > 0 && n <= 63 && id[0] != '-' && id[n - 1] != '-';
}

static bool is_assignment(const char *text) { return text[0] != '=' && strchr(text, '='); }

static int places_check(const struct order *p, struct err *e)
{
    const struct order_head *h = p->head;
    for (uint32_t i = 0; i < h->mount_count; i++) {
        if (!is_plain_path(p->mounts[i].source))
            return err_set(e, CODE_INVALID, "mount source '%.200s': not a plain relative path",
                           p->mounts[i].source);
        if (!is_target(p->mounts[i].target))
            return err_set(e, CODE_INVALID, "mount '%.200s': not a place for a mount",
                           p->mounts[i].target);
    }
    for (uint32_t i = 0; i < h->scratch_count; i++)
        if (!is_target(p->scratches[i].target))
            return err_set(e, CODE_INVALID, "scratch '%.200s': not a place for a mount",
                           p->scratches[i].target);
    for (uint32_t i = 0; i < h->folder_count; i++)
        if (!is_target(p->folders[i].target))
            return err_set(e, CODE_INVALID, "folder '%.200s': not a place for files",
                           p->folders[i].target);
    return 0;
}

static int folder_check(const struct sandbox_folder *f, struct err *e)
{
    if (f->alone && f->file_count != 1)
        return err_set(e, CODE_INVALID, "file '%.200s': %zu of them", f->target, f->file_count);
    for (size_t i = 0; i < f->file_count; i++) {
        const struct sandbox_file *file = &f->files[i];
        if (!is_plain_path(file->path) || (f->alone && strchr(file->path, '/')))
            return err_set(e, CODE_INVALID, "folder '%.200s': '%.200s' is not a path below it", f->target, file->path);
        if (file->mode > 0777)
            return err_set(e, CODE_INVALID, "file '%.200s/%.200s': mode %o", f->target, file->path, file->mode);
    }
    return 0;
}

static int limits_check(struct order *p, struct err *e)
{
    const struct order_head *h = p->head;
    if (h->uid == UINT32_MAX || h->gid == UINT32_MAX)
        return err_set(e, CODE_INVALID, "user %u, group %u: no such ids", h->uid, h->gid);
    if (h->memory_bytes < MIB(1) || h->memory_bytes > (uint64_t)INT64_MAX)
        return err_set(e, CODE_INVALID, "memory of %llu bytes: too little to start in",
                       (unsigned long long)h->memory_bytes);
    if (h->cpu_milli == 0 || h->pids_max == 0 || h->fds_max < 4)
        return err_set(e, CODE_INVALID, "cpu, process or descriptor limit: too low to start with");
    p->shared_bytes = h->ephemeral_bytes;
    for (uint32_t i = 0; i < h->scratch_count; i++) {
        if (p->scratches[i].volume > ORDER_VOLUMES_MAX)
            return err_set(e, CODE_INVALID, "scratch '%.200s': volume %u is none of a pod", p->scratches[i].target,
                           p->scratches[i].volume);
        const uint32_t same = p->scratches[i].same;
        if (same > i || (same && (p->scratches[same - 1].same || p->scratches[same - 1].volume)))
            return err_set(e, CODE_INVALID, "scratch '%.200s': the same as number %u, which is not one before it",
                           p->scratches[i].target, same);
        if (p->scratches[i].volume || p->scratches[i].same)
            continue;
        if (p->scratches[i].size_bytes > p->shared_bytes)
            return err_set(e, CODE_INVALID,
                           "scratch '%.200s' of %llu bytes: more than is left of ephemeral storage",
                           p->scratches[i].target, (unsigned long long)p->scratches[i].size_bytes);
        p->shared_bytes -= p->scratches[i].size_bytes;
    }
    if (p->shared_bytes < ORDER_SCRATCH_MIN)
        return err_set(e, CODE_INVALID, "ephemeral storage: %llu bytes are left for /tmp, %d needed",
                       (unsigned long long)p->shared_bytes, ORDER_SCRATCH_MIN);
    return 0;
}

/* ---- reading ---------------------------------------------------------------------------- */

struct texts {
    char *at, *end;
};

/* The next NUL-terminated text; NULL: there is none, whole. */
static char *text_next(struct texts *t)
{
    char *start = t->at;
    char *nul = start < t->end ? memchr(start, '\0', (size_t)(t->end - start)) : NULL;
    if (!nul)
        return NULL;
    t->at = nul + 1;
    return start;
}

static bool texts_list(struct texts *t, uint32_t count, char ***ret)
{
    *ret = xcalloc((size_t)count + 1, sizeof **ret); /* count is below the message's size */
    for (uint32_t i = 0; i < count; i++)
        if (((*ret)[i] = text_next(t)) == NULL)
            return false;
    return true;
}

/* Any bytes of this length, and the NUL behind them. */
static const void *bytes_next(struct texts *t, size_t size)
{
    const char *start = t->at;
    if ((size_t)(t->end - start) <= size || start[size] != '\0')
        return NULL;
    t->at += size + 1;
    return start;
}

/* Each belongs to the folder of the one before, or to a later one. */
static bool files_take(struct texts *t, struct order *p)
{
    const struct order_file *of = (const struct order_file *)(const void *)(p->head + 1);
    const uint32_t count = p->head->file_count;
    p->files = count ? xcalloc(count, sizeof *p->files) : NULL;
    for (uint32_t i = 0; i < count; i++) {
        if (of[i].folder >= p->head->folder_count || (i > 0 && of[i].folder < of[i - 1].folder) || of[i].alone > 1)
            return false;
        struct sandbox_folder *folder = &p->folders[of[i].folder];
        struct sandbox_file *file = &p->files[i];
        if (!(file->path = text_next(t)) || !(file->data = bytes_next(t, of[i].size)))
            return false;
        file->size = of[i].size;
        file->mode = of[i].mode;
        p->file_bytes += file->size;
        if (folder->file_count++ == 0) {
            folder->files = file;
            folder->alone = of[i].alone == 1;
        } else if (folder->alone != (of[i].alone == 1)) {
            return false;
        }
    }
    return true;
}

static bool texts_take(struct texts *t, struct order *p)
{
    const struct order_head *h = p->head;
    if (!(p->id = text_next(t)) || !(p->workdir = text_next(t)) ||
        !texts_list(t, h->argc, &p->argv) || !texts_list(t, h->envc, &p->env))
        return false;
    for (uint32_t i = 0; i < h->mount_count; i++)
        if (!(p->mounts[i].source = text_next(t)) || !(p->mounts[i].target = text_next(t)))
            return false;
    for (uint32_t i = 0; i < h->scratch_count; i++) {
        const uint64_t n = h->scratch_bytes[i] & ~ORDER_READ_ONLY;
        p->scratches[i].read_only = h->scratch_bytes[i] & ORDER_READ_ONLY;
        if (n & ORDER_VOLUME)
            p->scratches[i].volume = (uint32_t)MIN(n & ~ORDER_VOLUME, (uint64_t)UINT32_MAX);
        else if (n & ORDER_SAME)
            p->scratches[i].same = (uint32_t)MIN(n & ~ORDER_SAME, (uint64_t)UINT32_MAX);
        else
            p->scratches[i].size_bytes = n;
        p->volume_count = MAX(p->volume_count, p->scratches[i].volume);
        if (!(p->scratches[i].target = text_next(t)))
            return false;
    }
    for (uint32_t i = 0; i < h->folder_count; i++)
        if (!(p->folders[i].target = text_next(t)))
            return false;
    return files_take(t, p) && t->at == t->end;
}

static int order_check(struct order *p, struct err *e)
{
    if (!is_id(p->id))
        return err_set(e, CODE_INVALID, "id '%.80s': not a DNS label", p->id);
    if (!is_workdir(p->workdir))
        return err_set(e, CODE_INVALID, "working directory '%.200s': not an absolute plain path",
                       p->workdir);
    if (p->head->argc == 0 || p->argv[0][0] == '\0')
        return err_set(e, CODE_INVALID, "command: empty");
    for (uint32_t i = 0; i < p->head->envc; i++)
        if (!is_assignment(p->env[i]))
            return err_set(e, CODE_INVALID, "environment: '%.80s' is not NAME=value", p->env[i]);
    int r = places_check(p, e);
    for (uint32_t i = 0; r == 0 && i < p->head->folder_count; i++)
        r = folder_check(&p->folders[i], e);
    return r < 0 ? r : limits_check(p, e);
}

int order_parse(char *bytes, size_t size, struct order *ret, struct err *e)
{
    struct order p = { .head = (const struct order_head *)(void *)bytes };
    ASSERT((uintptr_t)bytes % _Alignof(struct order_head) == 0);
    if (size < sizeof *p.head || size > ORDER_BYTES_MAX || p.head->magic != ORDER_MAGIC ||
        p.head->size != size)
        return err_set(e, CODE_INVALID, "order: %zu bytes are none", size);
    /* Each text takes at least its NUL, so no count can exceed the bytes that came. */
    if (p.head->argc > size || p.head->envc > size || p.head->mount_count > ORDER_MOUNTS_MAX ||
        p.head->scratch_count > ORDER_MOUNTS_MAX || p.head->folder_count > ORDER_MOUNTS_MAX ||
        p.head->file_count > ORDER_FILES_MAX ||
        p.head->file_count * sizeof(struct order_file) > size - sizeof *p.head)
        return err_set(e, CODE_INVALID, "order: counts out of range");
    struct texts t = { bytes + sizeof *p.head + p.head->file_count * sizeof(struct order_file), bytes + size };
    int r = texts_take(&t, &p) ? order_check(&p, e)
                               : err_set(e, CODE_INVALID, "order: texts are cut or left over");
    if (r < 0) {
        order_done(&p);
        return r;
    }
    *ret = p;
    return 0;
}

void order_done(struct order *p)
{
    free(p->argv);
    free(p->env);
    free(p->files);
    p->argv = p->env = NULL;
    p->files = NULL;
}

/* ---- writing ---------------------------------------------------------------------------- */

static void text_put(struct buf *b, const char *text) { buf_append(b, text, strlen(text) + 1); }

static uint32_t list_put(struct buf *b, const char *const *list)
{
    uint32_t count = 0;
    for (; list && list[count]; count++)
        text_put(b, list[count]);
    return count;
}

static size_t files_of(const struct sandbox_spec *s)
{
    size_t count = 0;
    for (size_t i = 0; i < s->folder_count; i++)
        count += s->folders[i].file_count;
    return count;
}

static void file_heads_put(struct buf *b, const struct sandbox_spec *s)
{
    for (size_t i = 0; i < s->folder_count; i++)
        for (size_t k = 0; k < s->folders[i].file_count; k++) {
            const struct sandbox_file *f = &s->folders[i].files[k];
            const struct order_file head = { (uint32_t)i, f->mode, (uint32_t)f->size, s->folders[i].alone };
            buf_append(b, &head, sizeof head);
        }
}

static void files_put(struct buf *b, const struct sandbox_spec *s)
{
    for (size_t i = 0; i < s->folder_count; i++)
        text_put(b, s->folders[i].target);
    for (size_t i = 0; i < s->folder_count; i++)
        for (size_t k = 0; k < s->folders[i].file_count; k++) {
            const struct sandbox_file *f = &s->folders[i].files[k];
            text_put(b, f->path);
            buf_append(b, f->data, f->size);
            buf_append(b, "", 1);
        }
}

static int spec_check(const struct sandbox_spec *s, const struct limits *l, struct err *e)
{
    size_t volumes = MAX(s->mount_count, MAX(s->scratch_count, s->folder_count)), files = files_of(s);
    if (volumes > l->sandbox_mounts_max)
        return err_set(e, CODE_EXHAUSTED, "volumes: %zu, more than sandbox_mounts_max (%llu)", volumes,
                       (unsigned long long)l->sandbox_mounts_max);
    if (files > l->config_files_max)
        return err_set(e, CODE_EXHAUSTED, "files: %zu, more than config_files_max (%llu)", files,
                       (unsigned long long)l->config_files_max);
    for (size_t i = 0; i < s->folder_count; i++)
        for (size_t k = 0; k < s->folders[i].file_count; k++)
            if (s->folders[i].files[k].size > BYTES_PER_FILE_MAX)
                return err_set(e, CODE_EXHAUSTED, "file '%.200s/%.200s': larger than %d bytes", s->folders[i].target,
                               s->folders[i].files[k].path, BYTES_PER_FILE_MAX);
    return 0;
}

static void head_put(const struct sandbox_spec *s, uint32_t flags, struct buf *into)
{
    struct order_head h = { .magic = ORDER_MAGIC,
                           .flags = flags,
                           .mount_count = (uint32_t)s->mount_count,
                           .scratch_count = (uint32_t)s->scratch_count,
                           .folder_count = (uint32_t)s->folder_count,
                           .file_count = (uint32_t)files_of(s),
                           .uid = s->uid,
                           .gid = s->gid,
                           .cpu_milli = s->cpu_milli,
                           .pids_max = s->pids_max,
                           .fds_max = s->fds_max,
                           .memory_bytes = s->memory_bytes,
                           .ephemeral_bytes = s->ephemeral_bytes };
    for (size_t i = 0; i < s->scratch_count; i++)
        h.scratch_bytes[i] = (s->scratches[i].volume ? ORDER_VOLUME | s->scratches[i].volume
                              : s->scratches[i].same ? ORDER_SAME | s->scratches[i].same
                                                     : s->scratches[i].size_bytes) |
                             (s->scratches[i].read_only ? ORDER_READ_ONLY : 0);
    buf_append(into, &h, sizeof h);
    file_heads_put(into, s);
}

int order_write(const struct sandbox_spec *s, const struct limits *l, uint32_t flags,
               struct buf *into, struct err *e)
{
    struct order check;
    int r = spec_check(s, l, e);
    if (r < 0)
        return r;
    ASSERT(into->size == 0);
    head_put(s, flags, into);
    text_put(into, s->id);
    text_put(into, s->workdir);
    size_t before = into->size;
    uint32_t argc = list_put(into, s->argv), envc = list_put(into, s->env);
    if (into->overflow || into->size - before > l->sandbox_args_bytes_max)
        return err_set(e, CODE_EXHAUSTED,
                       "arguments and environment: more than sandbox_args_bytes_max (%llu)",
                       (unsigned long long)l->sandbox_args_bytes_max);
    for (size_t i = 0; i < s->mount_count; i++) {
        text_put(into, s->mounts[i].source);
        text_put(into, s->mounts[i].target);
    }
    for (size_t i = 0; i < s->scratch_count; i++)
        text_put(into, s->scratches[i].target);
    files_put(into, s);
    if (into->overflow)
        return err_set(e, CODE_EXHAUSTED, "order: larger than %d bytes", ORDER_BYTES_MAX);
    struct order_head *h = (struct order_head *)(void *)buf_at(into);
    h->argc = argc;
    h->envc = envc;
    h->size = (uint32_t)into->size;
    r = order_parse(buf_at(into), into->size, &check, e);
    if (r == 0)
        order_done(&check);
    return r;
}
