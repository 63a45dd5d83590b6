#include "artifact/entry.h"

#include <stdio.h>
#include <stdlib.h>

/* Removals: names under ingest/ that are erased on a helper. */
struct removal {
    struct work work;
    struct artifact_store *store;
    struct fetch *for_fetch; /* waits for the room; NULL: nobody */
    char (*names)[CAS_NAME];
    size_t count;
    uint64_t bytes;
};

void entry_check(const struct entry *n)
{
    ASSERT(!n->present || (!n->fetch && !list_node_linked(&n->queue_node) && n->hex[0]));
    ASSERT(!n->verify || n->present);
    ASSERT(!n->counted || n->fetch);
}

struct entry *entry_find(const struct artifact_store *s, const char *key)
{
    return map_find(&s->entries, str_of(key));
}

struct entry *entry_make(struct artifact_store *s, const char *key)
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

void entry_free(struct entry *n)
{
    free(n->known);
    free(n);
}

void entry_drop(struct entry *n)
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

void entry_present(struct entry *n, bool tree, uint64_t bytes, uint64_t leaves, bool checked)
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

void entry_used(struct entry *n)
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

bool entry_busy(const struct entry *n)
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

int entry_make_room(struct fetch_env *env, struct fetch *f, uint64_t bytes, struct err *e)
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

int entry_evict(struct entry *n, struct err *e)
{
    struct artifact_store *s = n->store;
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

void entry_break(struct entry *n, const struct err *why)
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
