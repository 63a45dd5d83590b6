#include "artifact/entry.h"

#include <stdio.h>
#include <stdlib.h>

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

void entry_go_on(struct entry *n)
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
