#include "artifact/entry.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

enum {
    DISK_THREADS = 2,
    DISK_WAITING_MAX = 4096, /* imports and removals that wait for a helper */
    VERIFY_THREADS_MAX = 4,  /* beyond that the disk is the bound */
};

static bool digest_key(const char *digest, char ret_hex[DIGEST_HEX])
{
    struct digest d;
    struct err ignored;
    if (digest_parse(str_of(digest), &d, &ignored) < 0)
        return false;
    digest_hex(&d, ret_hex);
    return true;
}

void artifact_pin(struct artifact_store *s, const char *digest)
{
    char hex[DIGEST_HEX];
    bool good = digest_key(digest, hex);
    ASSERT(good);
    entry_make(s, hex)->pins++;
}

void artifact_unpin(struct artifact_store *s, const char *digest)
{
    char hex[DIGEST_HEX];
    bool good = digest_key(digest, hex);
    struct entry *n = good ? entry_find(s, hex) : NULL;
    ASSERT(n && n->pins > 0);
    n->pins--;
    entry_drop(n);
}

/* ---- looking ------------------------------------------------------------------------------ */

/* Blobs are looked at now; of folders, what the last verification saw. */
static uint32_t resident_now(const struct entry *n)
{
    char path[CAS_NAME];
    struct err ignored;
    uint64_t in = 0;
    if (n->tree || n->bytes == 0)
        return n->tree ? n->resident_permille : 1000;
    cas_path(false, n->hex, path);
    const struct cas_file f = { .path = path, .bytes = n->bytes };
    AUTO_CLOSE int fd = cas_content_open(n->store->cas, &f, &ignored);
    if (fd < 0 || verify_resident(fd, 0, n->bytes, &in, &ignored) < 0)
        return 0;
    return (uint32_t)((__uint128_t)in * 1000 / n->bytes);
}

static void info_fill(const struct entry *n, struct artifact_info *i)
{
    *i = (struct artifact_info){ .kind = n->kind, .size_bytes = n->bytes, .users = n->uses.count,
                                 .pins = n->pins, .last_used_wall_ms = n->last_used_ms,
                                 .origin_bytes = n->origin_bytes };
    if (n->hex[0])
        snprintf(i->digest, sizeof i->digest, "sha256:%s", n->hex);
    snprintf(i->reference, sizeof i->reference, "%s", n->reference);
    snprintf(i->error, sizeof i->error, "%s", n->error);
    if (n->present) {
        i->state = ARTIFACT_PRESENT;
        i->have_bytes = n->bytes;
        i->resident_permille = resident_now(n);
        return;
    }
    bool fetching = n->fetch || list_node_linked(&n->queue_node);
    i->state = fetching || n->error[0] == '\0' ? ARTIFACT_FETCHING : ARTIFACT_BROKEN;
    i->have_bytes = n->fetch ? fetch_held(n->fetch) : n->part_bytes;
    int64_t size = n->fetch ? fetch_size(n->fetch) : -1;
    i->size_bytes = size > 0 ? (uint64_t)size : 0;
}

void artifact_each(struct artifact_store *s, void (*on_info)(void *ctx, const struct artifact_info *i),
                   void *ctx)
{
    const struct map_slot *slot;
    struct artifact_info info;
    for (uint32_t i = 0; (slot = map_next(&s->entries, &i)) != NULL;) {
        const struct entry *n = slot->value;
        bool idle = !n->present && !n->fetch && !list_node_linked(&n->queue_node) && !n->error[0];
        if (idle && n->part_bytes == 0)
            continue; /* only pinned: nothing to show yet */
        info_fill(n, &info);
        on_info(ctx, &info);
    }
}

struct artifact_totals artifact_totals(const struct artifact_store *s)
{
    struct artifact_totals t = s->totals;
    const struct map_slot *slot;
    t.bytes = cas_bytes(s->cas);
    t.files = 0;
    for (uint32_t i = 0; (slot = map_next(&s->entries, &i)) != NULL;)
        t.files += ((const struct entry *)slot->value)->present;
    return t;
}

int artifact_evict(struct artifact_store *s, const char *digest, struct err *e)
{
    char hex[DIGEST_HEX];
    struct entry *n = digest_key(digest, hex) ? entry_find(s, hex) : NULL;
    if (!n || (!n->present && n->part_bytes == 0))
        return err_set(e, CODE_NOT_FOUND, "artifact %.80s: not in the store", digest);
    if (entry_busy(n))
        return err_set(e, CODE_PRECONDITION, "artifact %.80s: in use (%u uses, %u revisions)", digest,
                       n->uses.count, n->pins);
    return entry_evict(n, e);
}

/* ---- opening and closing ------------------------------------------------------------------ */

static void on_found(void *ctx, const struct cas_found *f)
{
    struct artifact_store *s = ctx;
    struct entry *n = entry_make(s, f->hex);
    n->kind = f->tree ? ARTIFACT_BUNDLE : ARTIFACT_MODEL;
    n->last_used_ms = f->last_used_ms;
    if (f->part)
        n->part_bytes = n->present ? 0 : f->bytes;
    else
        entry_present(n, f->tree, f->bytes, f->leaves, false);
}

static int pools_open(struct artifact_store *s, struct err *e)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t downloads = (uint32_t)s->limits->fetch_concurrent_max;
    s->verify_threads = (uint32_t)MIN(MAX(cores, 2), (long)VERIFY_THREADS_MAX);
    int r = work_pool_open(s->loop, "hob-fetch", downloads, downloads + 1, &s->fetch_pool, e);
    if (r == 0)
        r = work_pool_open(s->loop, "hob-disk", DISK_THREADS, DISK_WAITING_MAX, &s->disk_pool, e);
    if (r == 0)
        r = work_pool_open(s->loop, "hob-verify", s->verify_threads, DISK_WAITING_MAX,
                           &s->verify_pool, e);
    return r;
}

int artifact_store_open(struct loop *l, const char *dir, const struct limits *limits,
                        struct artifact_transport *transport, struct artifact_store **ret,
                        struct err *e)
{
    AUTO(artifact_store) struct artifact_store *s = xcalloc(1, sizeof *s);
    uint64_t seeds[2];
    ssize_t n = getrandom(seeds, sizeof seeds, 0);
    ASSERT(n == (ssize_t)sizeof seeds);
    s->loop = l;
    s->limits = limits;
    s->rng.state = seeds[0];
    map_init(&s->entries, seeds[1]);
    list_init(&s->queue);
    int r = cas_open(dir, limits, &s->cas, e);
    if (r == 0)
        r = cas_scan(s->cas, on_found, s, e);
    if (r == 0)
        r = pools_open(s, e);
    if (r < 0)
        return r;
    s->env = (struct fetch_env){ .loop = l, .transport = transport, .fetch_pool = s->fetch_pool,
                                 .disk_pool = s->disk_pool, .cas = s->cas, .limits = limits,
                                 .rng = &s->rng, .make_room = entry_make_room };
    *ret = TAKE(s);
    return 0;
}

/* Everything that runs is asked to stop first, so that the pools have little to wait for. */
static void all_stop(struct artifact_store *s)
{
    const struct map_slot *slot;
    for (uint32_t i = 0; (slot = map_next(&s->entries, &i)) != NULL;) {
        struct entry *n = slot->value;
        ASSERT(n->uses.count == 0); /* a lease cannot outlive the store */
        n->pins++;                  /* keeps it in the map until the walk below */
        if (n->fetch)
            fetch_cancel(n->fetch);
        if (n->verify)
            verify_stop(n->verify);
    }
}

void artifact_store_free(struct artifact_store *s)
{
    const struct map_slot *slot;
    if (!s)
        return;
    s->closing = true;
    all_stop(s);
    /* A damaged copy is removed by the disk pool, and a download may wait for a removal: so in this
     * order, and the later pools find the earlier ones gone. */
    work_pool_free(s->verify_pool);
    work_pool_free(s->fetch_pool);
    s->env.fetch_pool = NULL;
    work_pool_free(s->disk_pool);
    for (uint32_t i = 0; (slot = map_next(&s->entries, &i)) != NULL;) {
        struct entry *n = slot->value;
        fetch_free(n->fetch);
        entry_free(n);
    }
    map_done(&s->entries);
    cas_free(s->cas);
    free(s);
}
