/* Property: what a stem accepts, a node could have written. The spec that an accepted order holds,
 * written again, parses to the same texts and numbers; and no accepted path leads anywhere but down. */
#include "sandbox/order.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(const char *a, const char *b) { ASSERT(strcmp(a, b) == 0); }

static void same_lists(char **a, char **b)
{
    size_t i = 0;
    for (; a[i] && b[i]; i++)
        same(a[i], b[i]);
    ASSERT(!a[i] && !b[i]);
}

static void downward(const char *path, bool absolute)
{
    ASSERT((path[0] == '/') == absolute);
    for (struct str rest = str_of(path + absolute); rest.size > 0;) {
        struct str part = str_cut(&rest, '/');
        ASSERT(part.size > 0 && !str_is(part, ".") && !str_is(part, ".."));
    }
}

static void same_orders(const struct order *a, const struct order *b)
{
    same(a->id, b->id);
    same(a->workdir, b->workdir);
    same_lists(a->argv, b->argv);
    same_lists(a->env, b->env);
    ASSERT(a->shared_bytes == b->shared_bytes && a->shared_bytes <= a->head->ephemeral_bytes);
    ASSERT(a->head->uid == b->head->uid && a->head->pids_max == b->head->pids_max);
    for (uint32_t i = 0; i < a->head->mount_count; i++) {
        same(a->mounts[i].source, b->mounts[i].source);
        same(a->mounts[i].target, b->mounts[i].target);
        downward(a->mounts[i].source, false);
        downward(a->mounts[i].target, true);
    }
    ASSERT(a->file_bytes == b->file_bytes);
    for (uint32_t i = 0; i < a->head->scratch_count; i++)
        ASSERT(a->scratches[i].same == b->scratches[i].same && a->scratches[i].same <= i &&
               a->scratches[i].read_only == b->scratches[i].read_only && a->scratches[i].volume == b->scratches[i].volume);
    for (uint32_t i = 0; i < a->head->folder_count; i++) {
        const struct sandbox_folder *of = &a->folders[i], *to = &b->folders[i];
        same(of->target, to->target);
        downward(of->target, true);
        ASSERT(of->file_count == to->file_count && of->alone == to->alone && (!of->alone || of->file_count == 1));
        for (size_t k = 0; k < of->file_count; k++) {
            same(of->files[k].path, to->files[k].path);
            downward(of->files[k].path, false);
            ASSERT(of->files[k].size == to->files[k].size && of->files[k].mode == to->files[k].mode);
            ASSERT(of->files[k].mode <= 0777 && memcmp(of->files[k].data, to->files[k].data, of->files[k].size) == 0);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct limits l;
    struct order p, again;
    struct err e = { 0 };
    struct buf b;
    if (size > 65536)
        return 0;
    char *bytes = malloc(size + 1); /* aligned, and exact for the sanitizer */
    if (!bytes)
        return 0;
    memcpy(bytes, data, size);
    limits_default(&l);
    l.sandbox_mounts_max = ORDER_MOUNTS_MAX;
    l.sandbox_args_bytes_max = ORDER_BYTES_MAX;
    l.config_files_max = ORDER_FILES_MAX;
    buf_init(&b, ORDER_BYTES_MAX);
    if (order_parse(bytes, size, &p, &e) == 0) {
        const struct sandbox_spec s = { .id = p.id,
                                        .argv = (const char *const *)p.argv,
                                        .env = (const char *const *)p.env,
                                        .workdir = p.workdir,
                                        .uid = p.head->uid,
                                        .gid = p.head->gid,
                                        .memory_bytes = p.head->memory_bytes,
                                        .ephemeral_bytes = p.head->ephemeral_bytes,
                                        .cpu_milli = p.head->cpu_milli,
                                        .pids_max = p.head->pids_max,
                                        .fds_max = p.head->fds_max,
                                        .mounts = p.mounts,
                                        .mount_count = p.head->mount_count,
                                        .scratches = p.scratches,
                                        .scratch_count = p.head->scratch_count,
                                        .folders = p.folders,
                                        .folder_count = p.head->folder_count };
        ASSERT(order_write(&s, &l, p.head->flags, &b, &e) == 0);
        ASSERT(order_parse(buf_at(&b), b.size, &again, &e) == 0);
        same_orders(&p, &again);
        order_done(&again);
        order_done(&p);
    } else {
        ASSERT(e.code == CODE_INVALID && e.text[0]);
    }
    buf_done(&b);
    free(bytes);
    return 0;
}
