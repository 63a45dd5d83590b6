#include "artifact/artifact.h"
#include "artifact/fetch.h"
#include "artifact/verify.h"
#include "base/map.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

enum {
    DISK_THREADS = 2,
    DISK_WAITING_MAX = 4096, /* imports and removals that wait for a helper */
    VERIFY_THREADS_MAX = 4,  /* beyond that the disk is the bound */
};

struct artifact_store {
    struct loop *loop;
    const struct limits *limits;
    struct fetch_env env;
    struct rng rng;
    struct cas *cas;
    struct work_pool *fetch_pool, *disk_pool, *verify_pool;
    uint32_t verify_threads;
    struct map entries; /* by hex, or "?" and the reference while the digest is not known */
    struct list queue;  /* entries waiting for a download slot */
    uint32_t downloads; /* running */
    struct artifact_totals totals;
    bool closing;
};

/* One digest, or one reference whose digest is not known yet. Lives while anything refers to it.
 * Invariants (entry_check): queued or fetching only while not present; verifying only while present. */
struct entry {
    struct artifact_store *store;
    char key[REF_BYTES_MAX + 3];
    char hex[DIGEST_HEX]; /* empty: not known yet */
    enum artifact_kind kind;
    bool present, tree;
    bool checked; /* wholly verified in this process, or written by it */
    uint64_t bytes, part_bytes, origin_bytes;
    uint8_t *known; /* per leaf; see verify.h */
    uint32_t pins;
    struct list uses;
    struct list_node queue_node;
    struct fetch *fetch;
    bool counted; /* takes a download slot */
    struct verify *verify;
    int64_t last_used_ms;
    uint32_t resident_permille;
    char reference[REF_BYTES_MAX + 1], error[256];
};

enum use_state { USE_WAITING, USE_VERIFYING, USE_VERIFIED, USE_FAILED };
struct artifact_use {
    struct list_node node;
    struct entry *entry;
    struct artifact_request q;
    struct ref ref;
    enum use_state state;
    bool tell_present, told_present, told_end;
    struct loop_task task;
    struct artifact_facts facts;
    uint64_t begin_us;
    enum phase failed_at;
    bool retryable;
    struct err error;
    char path[CAS_NAME], digest[DIGEST_TEXT];
};

/* Removals: names under ingest/ that are erased on a helper. */
struct removal {
    struct work work;
    struct artifact_store *store;
    struct fetch *for_fetch; /* waits for the room; NULL: nobody */
    char (*names)[CAS_NAME];
    size_t count;
    uint64_t bytes;
};

static void entry_go_on(struct entry *n);

/* ---- entries ------------------------------------------------------------------------------ */

static void entry_check(const struct entry *n)
{
    ASSERT(!n->present || (!n->fetch && !list_node_linked(&n->queue_node) && n->hex[0]));
    ASSERT(!n->verify || n->present);
    ASSERT(!n->counted || n->fetch);
}

static struct entry *entry_find(const struct artifact_store *s, const char *key)
{
    return map_find(&s->entries, str_of(key));
}

static struct entry *entry_make(struct artifact_store *s, const char *key)
{
    struct entry *n = entry_find(s, key);
    if (n)
        return n;
    n = xcalloc(1, sizeof *n);
    n->store = s;
    snprintf(n->key, sizeof n->key, "%s", key);
    if (key[0] != '?')
        snprintf(n->hex, sizeof n->hex, "%s", key);
    list_init(&n->uses);
    map_put(&s->entries, str_of(n->key), n);
    return n;
}

static void entry_free(struct entry *n)
{
    free(n->known);
    free(n);
}

/* Forgets an entry that nothing refers to. */
static void entry_drop(struct entry *n)
{
    entry_check(n);
    if (n->present || n->uses.count > 0 || n->pins > 0 || n->fetch || n->part_bytes > 0)
        return;
    struct artifact_store *s = n->store;
    if (list_node_linked(&n->queue_node))
        list_remove(&s->queue, &n->queue_node);
    map_remove(&s->entries, str_of(n->key));
    entry_free(n);
}

static void entry_present(struct entry *n, bool tree, uint64_t bytes, uint64_t leaves, bool checked)
{
    free(n->known);
    n->known = xcalloc(leaves + 1, 1);
    memset(n->known, checked, leaves);
    n->present = true;
    n->tree = tree;
    n->bytes = bytes;
    n->part_bytes = 0;
    n->checked = checked;
    n->error[0] = '\0';
    entry_check(n);
}

static void entry_used(struct entry *n)
{
    n->last_used_ms = loop_wall_ms();
    if (n->present)
        cas_touch(n->store->cas, n->tree, n->hex);
}

/* ---- removals ----------------------------------------------------------------------------- */

static void removal_run(struct work *w)
{
    struct removal *r = CONTAINER_OF(w, struct removal, work);
    for (size_t i = 0; i < r->count; i++)
        cas_erase(r->store->cas, r->names[i]);
    cas_room_give(r->store->cas, r->bytes);
}

static void on_removed(struct work *w)
{
    struct removal *r = CONTAINER_OF(w, struct removal, work);
    struct fetch *f = r->for_fetch;
    free(r->names);
    free(r);
    if (f)
        fetch_room_made(f);
}

/* What cannot be handed to a helper is under ingest/ and goes at the next start. */
static int removal_submit(struct removal *take_r, struct err *e)
{
    take_r->work = (struct work){ .run = removal_run, .on_done = on_removed };
    int r = work_submit(take_r->store->disk_pool, &take_r->work, e);
    if (r < 0) {
        cas_room_give(take_r->store->cas, take_r->bytes);
        free(take_r->names);
        free(take_r);
    }
    return r;
}

static struct removal *removal_new(struct artifact_store *s, size_t capacity)
{
    struct removal *r = xcalloc(1, sizeof *r);
    r->store = s;
    r->names = xcalloc(capacity, sizeof *r->names);
    return r;
}

/* Takes the entry's bytes out of sight at once; the disk's blocks follow when the removal runs. */
static int entry_detach(struct entry *n, struct removal *r, struct err *e)
{
    int result;
    if (n->present)
        result = cas_detach(n->store->cas, n->tree, n->hex, r->names[r->count], e);
    else
        result = cas_part_detach(n->store->cas, n->hex, r->names[r->count], e);
    if (result < 0)
        return result;
    r->count++;
    r->bytes += n->present ? n->bytes : n->part_bytes;
    n->present = n->checked = false;
    n->part_bytes = 0;
    return 0;
}

static bool entry_busy(const struct entry *n)
{
    return n->uses.count > 0 || n->pins > 0 || n->fetch || n->verify ||
           list_node_linked(&n->queue_node);
}

static size_t victims_list(struct artifact_store *s, struct plan_victim *into)
{
    const struct map_slot *slot;
    size_t count = 0;
    for (uint32_t i = 0; (slot = map_next(&s->entries, &i)) != NULL;) {
        struct entry *n = slot->value;
        into[count++] = (struct plan_victim){ .bytes = n->present ? n->bytes : n->part_bytes,
                                              .last_used_ms = n->present ? n->last_used_ms : 0,
                                              .in_use = entry_busy(n),
                                              .ctx = n };
    }
    return count;
}

static int make_room(struct fetch_env *env, struct fetch *f, uint64_t bytes, struct err *e)
{
    struct artifact_store *s = CONTAINER_OF(env, struct artifact_store, env);
    AUTO_FREE struct plan_victim *victims = xcalloc(s->entries.count + 1, sizeof *victims);
    size_t count = victims_list(s, victims);
    if (!plan_evict(victims, count, bytes))
        return err_set(e, CODE_EXHAUSTED,
                       "all that is stored is needed: delete revisions that nobody uses (hob models)");
    struct removal *r = removal_new(s, count + 1);
    r->for_fetch = f;
    for (size_t i = 0; i < count; i++) {
        struct err ignored;
        if (victims[i].chosen && entry_detach(victims[i].ctx, r, &ignored) == 0) {
            s->totals.evicted++;
            entry_drop(victims[i].ctx);
        }
    }
    return removal_submit(r, e);
}

/* ---- telling the users -------------------------------------------------------------------- */

static void use_tell(struct artifact_use *u) { loop_defer(u->entry->store->loop, &u->task); }

/* One callback per turn of this task: each may free the use. */
static void use_deliver(struct loop_task *t)
{
    struct artifact_use *u = CONTAINER_OF(t, struct artifact_use, task);
    if (u->state == USE_FAILED) {
        if (!u->told_end) {
            u->told_end = true;
            u->q.on_failed(u, u->failed_at, u->retryable, &u->error);
        }
        return;
    }
    if (u->tell_present && !u->told_present) {
        u->told_present = true;
        if (u->state == USE_VERIFIED)
            use_tell(u);
        u->q.on_present(u, u->path, u->digest);
        return;
    }
    if (u->state == USE_VERIFIED && !u->told_end) {
        u->told_end = true;
        u->q.on_verified(u);
    }
}

static void use_fail(struct artifact_use *u, enum phase at, bool retryable, const struct err *e)
{
    u->state = USE_FAILED;
    u->failed_at = at;
    u->retryable = retryable;
    u->error = *e;
    use_tell(u);
}

static void use_verified(struct artifact_use *u)
{
    u->state = USE_VERIFIED;
    u->tell_present = true;
    use_tell(u);
}

/* ---- verifying ---------------------------------------------------------------------------- */

static enum phase verify_phase(const struct artifact_use *u)
{
    return u->q.kind == ARTIFACT_MODEL ? PHASE_MODEL_VERIFY : PHASE_IMAGE_UNPACK;
}

/* The copy on disk is not what its name says: out of sight, so that the next use fetches it anew. */
static void entry_break(struct entry *n, const struct err *why)
{
    struct removal *r = removal_new(n->store, 1);
    struct err ignored;
    n->store->totals.verify_failures++;
    snprintf(n->error, sizeof n->error, "%.255s", why->text);
    if (entry_detach(n, r, &ignored) < 0) { /* not even that: at least nobody is given it again */
        n->present = n->checked = false;
        r->bytes += n->bytes;
    }
    int submitted = removal_submit(r, &ignored);
    (void)submitted;
}

static void use_verify_facts(struct artifact_use *u, const struct verify_result *r)
{
    u->facts.resident_permille = r->resident_permille;
    u->facts.verified_bytes = r->hashed_bytes;
    if (r->begin_us > 0) {
        u->facts.verify_begin_us = MAX(r->begin_us, u->begin_us);
        u->facts.verify_end_us = MAX(r->end_us, u->begin_us);
    }
}

static void on_verify(void *ctx, struct verify *v, const struct verify_result *r, const struct err *e)
{
    struct entry *n = ctx;
    struct err why = { 0 };
    (void)v;
    n->verify = NULL;
    n->resident_permille = r->resident_permille;
    bool broken = e && (e->code == CODE_DATA_LOSS || e->code == CODE_NOT_FOUND);
    if (e)
        why = *e;
    if (broken) {
        entry_break(n, e);
        err_wrap(&why, "stored copy is removed, the next start fetches it again");
    }
    n->checked = n->checked || !e;
    LIST_EACH(&n->uses, node, next) {
        struct artifact_use *u = CONTAINER_OF(node, struct artifact_use, node);
        if (u->state != USE_VERIFYING)
            continue;
        use_verify_facts(u, r);
        if (e)
            use_fail(u, verify_phase(u), true, &why);
        else
            use_verified(u);
    }
    entry_drop(n);
}

static void entry_verify(struct entry *n)
{
    struct artifact_store *s = n->store;
    struct err e;
    if (n->verify)
        return;
    const struct verify_request q = { .loop = s->loop, .pool = s->verify_pool,
                                      .threads = s->verify_threads, .cas = s->cas, .tree = n->tree,
                                      .hex = n->hex, .bytes = n->bytes, .known = n->known,
                                      .on_done = on_verify, .ctx = n };
    if (verify_start(&q, &n->verify, &e) == 0)
        return;
    LIST_EACH(&n->uses, node, next) {
        struct artifact_use *u = CONTAINER_OF(node, struct artifact_use, node);
        if (u->state == USE_VERIFYING)
            use_fail(u, verify_phase(u), true, &e);
    }
}

/* The entry is there. A bundle that this process has checked is taken at its word, so that a cold
 * start costs no visit to the disk; a model's residency is looked at each time. */
static void use_present(struct artifact_use *u)
{
    struct entry *n = u->entry;
    struct err e;
    cas_path(n->tree, n->hex, u->path);
    snprintf(u->digest, sizeof u->digest, "sha256:%s", n->hex);
    u->facts.size_bytes = n->bytes;
    entry_used(n);
    if (u->q.kind == ARTIFACT_BUNDLE && !n->tree) {
        err_set(&e, CODE_INVALID, "bundle %.160s: the digest is that of a file, not of a folder",
                u->ref.origin);
        use_fail(u, PHASE_IMAGE_PULL, false, &e);
        return;
    }
    if (u->q.kind == ARTIFACT_BUNDLE && n->checked) {
        u->facts.resident_permille = 1000;
        use_verified(u);
        return;
    }
    u->state = USE_VERIFYING;
    if (u->q.kind == ARTIFACT_MODEL) {
        u->tell_present = true;
        use_tell(u);
    }
    entry_verify(n);
}

/* ---- fetching ----------------------------------------------------------------------------- */

static void use_fetch_facts(struct artifact_use *u, const struct fetch_result *r)
{
    u->facts.fetch_begin_us = MAX(r->begin_us, u->begin_us);
    u->facts.fetch_end_us = MAX(r->end_us, u->begin_us);
    u->facts.fetched_bytes = r->received_bytes;
    if (u->q.kind == ARTIFACT_BUNDLE && r->unpack_begin_us > 0) {
        u->facts.unpack_begin_us = MAX(r->unpack_begin_us, u->begin_us);
        u->facts.unpack_end_us = MAX(r->unpack_end_us, u->begin_us);
        u->facts.fetch_end_us = u->facts.unpack_begin_us;
    }
}

static void fetched_uses(struct entry *from, struct entry *to, const struct fetch_result *r)
{
    LIST_EACH(&from->uses, node, next) {
        struct artifact_use *u = CONTAINER_OF(node, struct artifact_use, node);
        if (u->state != USE_WAITING)
            continue;
        if (from != to) {
            list_remove(&from->uses, node);
            list_push(&to->uses, node);
            u->entry = to;
        }
        use_fetch_facts(u, r);
        use_present(u);
    }
}

static void entry_fetched(struct entry *n, const struct fetch_result *r)
{
    struct entry *to = n->hex[0] ? n : entry_make(n->store, r->in.hex);
    to->kind = n->kind;
    memcpy(to->reference, n->reference, sizeof to->reference);
    if (to != n)
        to->origin_bytes += r->received_bytes;
    if (!to->present && !to->fetch) {
        if (list_node_linked(&to->queue_node))
            list_remove(&n->store->queue, &to->queue_node);
        entry_present(to, r->in.tree, r->in.bytes, r->in.leaves, true);
        fetched_uses(to, to, r);
    } else if (to->fetch) { /* the same digest comes over the network, too: its uses wait for that */
        LIST_EACH(&n->uses, node, next) {
            struct artifact_use *u = CONTAINER_OF(node, struct artifact_use, node);
            list_remove(&n->uses, node);
            list_push(&to->uses, node);
            u->entry = to;
        }
        return;
    }
    if (to != n)
        fetched_uses(n, to, r);
}

/* Those who asked by the reference that failed are told so; others get their own try. */
static void entry_fetch_failed(struct entry *n, const char *reference, const struct fetch_result *r)
{
    n->part_bytes = r->part_bytes;
    if (r->error->code == CODE_CANCELLED && !n->store->closing)
        return; /* whoever waits now came after the one that gave up */
    snprintf(n->error, sizeof n->error, "%.255s", r->error->text);
    LIST_EACH(&n->uses, node, next) {
        struct artifact_use *u = CONTAINER_OF(node, struct artifact_use, node);
        if (u->state == USE_WAITING && (n->store->closing || strcmp(u->ref.text, reference) == 0)) {
            use_fetch_facts(u, r);
            use_fail(u, r->at, r->retryable, r->error);
        }
    }
}

static void totals_add(struct artifact_store *s, const struct fetch_result *r)
{
    s->totals.origin_bytes += r->received_bytes;
    s->totals.resumes += r->resumes;
    s->totals.disk_refusals += r->room_refused;
    s->totals.fetches += r->error == NULL;
    s->totals.fetch_failures += r->error != NULL && r->error->code != CODE_CANCELLED;
}

static void queue_run(struct artifact_store *s)
{
    struct list_node *node;
    while (s->downloads < s->limits->fetch_concurrent_max && (node = list_first(&s->queue)) != NULL) {
        struct entry *n = CONTAINER_OF(node, struct entry, queue_node);
        list_remove(&s->queue, node);
        entry_go_on(n);
    }
}

static void on_fetch(void *ctx, struct fetch *f, const struct fetch_result *r)
{
    struct entry *n = ctx;
    struct artifact_store *s = n->store;
    char reference[REF_BYTES_MAX + 1];
    ASSERT(n->fetch == f);
    snprintf(reference, sizeof reference, "%s", fetch_reference(f));
    n->fetch = NULL;
    s->downloads -= n->counted;
    n->counted = false;
    n->origin_bytes += r->received_bytes;
    totals_add(s, r);
    if (r->error)
        entry_fetch_failed(n, reference, r);
    else
        entry_fetched(n, r);
    entry_go_on(n);
    queue_run(s);
}

static struct artifact_use *waiting_first(struct entry *n)
{
    LIST_EACH(&n->uses, node, next) {
        struct artifact_use *u = CONTAINER_OF(node, struct artifact_use, node);
        if (u->state == USE_WAITING)
            return u;
    }
    return NULL;
}

/* Fetches for the first that waits; forgets the entry where nothing is left to do. The only place
 * that starts a fetch, so there is never more than one for a digest. */
static void entry_go_on(struct entry *n)
{
    struct artifact_store *s = n->store;
    struct artifact_use *u = n->present || n->fetch ? NULL : waiting_first(n);
    if (!u || s->closing) {
        entry_drop(n);
        return;
    }
    if (list_node_linked(&n->queue_node))
        return;
    bool local = u->ref.scheme == REF_FILE;
    if (!local && s->downloads >= s->limits->fetch_concurrent_max) {
        list_push(&s->queue, &n->queue_node);
        return;
    }
    n->counted = !local;
    s->downloads += n->counted;
    n->kind = u->q.kind;
    snprintf(n->reference, sizeof n->reference, "%s", u->ref.text);
    const struct fetch_request q = { .kind = u->q.kind, .ref = &u->ref, .on_done = on_fetch, .ctx = n };
    n->fetch = fetch_start(&s->env, &q);
    entry_check(n);
}

/* ---- uses --------------------------------------------------------------------------------- */

static void use_enter(struct artifact_use *u, struct entry *n)
{
    u->entry = n;
    list_push(&n->uses, &u->node);
    u->facts.was_present = n->present;
    u->facts.size_bytes = n->present ? n->bytes : 0;
    if (n->present) {
        snprintf(n->reference, sizeof n->reference, "%s", u->ref.text);
        use_present(u);
    } else {
        entry_go_on(n);
    }
}

int artifact_use_start(struct artifact_store *s, const struct artifact_request *q,
                       struct artifact_use **ret, struct err *e)
{
    struct ref ref;
    char key[REF_BYTES_MAX + 3];
    ASSERT(q->on_present && q->on_verified && q->on_failed);
    int r = ref_parse(q->kind, q->reference, &ref, e);
    if (r == 0 && q->digest && *q->digest)
        r = ref_pin(&ref, q->digest, e);
    if (r < 0)
        return r;
    if (ref.hex[0])
        snprintf(key, sizeof key, "%s", ref.hex);
    else
        snprintf(key, sizeof key, "?%c%s", q->kind == ARTIFACT_MODEL ? 'm' : 'b', ref.text);
    struct entry *n = entry_find(s, key);
    if (n && n->uses.count >= s->limits->fetch_waiters_max)
        return err_set(e, CODE_EXHAUSTED, "%.160s: %u uses already (limit fetch_waiters_max)",
                       ref.origin, n->uses.count);
    struct artifact_use *u = xcalloc(1, sizeof *u);
    u->q = *q;
    u->q.reference = u->q.digest = NULL; /* borrowed for the call only */
    u->ref = ref;
    u->task.run = use_deliver;
    u->begin_us = loop_clock_us(s->loop);
    use_enter(u, n ? n : entry_make(s, key));
    *ret = u;
    return 0;
}

void artifact_use_free(struct artifact_use *u)
{
    if (!u)
        return;
    struct entry *n = u->entry;
    loop_undefer(n->store->loop, &u->task);
    list_remove(&n->uses, &u->node);
    free(u);
    if (n->present)
        entry_used(n);
    if (n->fetch && !waiting_first(n))
        fetch_cancel(n->fetch);
    entry_drop(n);
}

void *artifact_use_ctx(const struct artifact_use *u) { return u->q.ctx; }
const struct artifact_facts *artifact_use_facts(const struct artifact_use *u) { return &u->facts; }

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
    struct removal *r = removal_new(s, 1);
    int result = entry_detach(n, r, e);
    if (result < 0) {
        free(r->names);
        free(r);
        return result;
    }
    s->totals.evicted++;
    entry_drop(n);
    return removal_submit(r, e);
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
                                 .rng = &s->rng, .make_room = make_room };
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
