#include "serving/catalog_impl.h"

#include "serving/asked.h"

#include <stdio.h>
#include <stdlib.h>

static struct str key_of(char into[KEY_SIZE], const char *ns, const char *name)
{
    int size = snprintf(into, KEY_SIZE, "%s/%s", ns, name);
    ASSERT(size > 0 && size < KEY_SIZE);
    return (struct str){ into, (size_t)size };
}

const char *catalog_store_kind(const struct service *s) { return s->bare ? "configurations" : "services"; }

struct service *catalog_service(const struct catalog *c, const char *ns, const char *name)
{
    char key[KEY_SIZE];
    return map_find(&c->services, key_of(key, ns, name));
}

struct rev *catalog_rev(const struct catalog *c, const char *ns, const char *name)
{
    char key[KEY_SIZE];
    return map_find(&c->revisions, key_of(key, ns, name));
}

char *catalog_text(const json_t *object)
{
    struct buf b;
    buf_init(&b, SIZE_MAX / 4);
    json_write(object, &b);
    return buf_take_text(&b);
}

/* What we wrote ourselves; a row somebody else changed is the store's CODE_DATA_LOSS, not ours. */
json_t *catalog_tree(const char *text)
{
    return text ? json_loads(text, 0, NULL) : NULL;
}

json_t *catalog_stored(const struct packed *text)
{
    AUTO_FREE char *plain = packed_text(text);
    return catalog_tree(plain);
}

struct packed *catalog_pack(const struct catalog *c, const char *kind, json_t *object, int64_t version)
{
    object_version_set(object, version);
    AUTO_FREE char *text = catalog_text(object);
    return packed_new(watchlog_packer(c->log), kind, str_of(text));
}

/* ---- the sorted index ---- */

static int service_order(const struct service *a, const char *ns, const char *name)
{
    int order = strcmp(a->ns, ns);
    return order ? order : strcmp(a->name, name);
}

uint32_t catalog_place(const struct catalog *c, const char *ns, const char *name)
{
    uint32_t low = 0, high = c->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (service_order(c->sorted[middle], ns, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void catalog_sorted_add(struct catalog *c, struct service *s)
{
    uint32_t at = catalog_place(c, s->ns, s->name);
    if (c->count == c->capacity) {
        c->capacity = c->capacity ? c->capacity * 2 : 16;
        c->sorted = xrealloc(c->sorted, c->capacity, sizeof *c->sorted);
    }
    memmove(c->sorted + at + 1, c->sorted + at, (c->count - at) * sizeof *c->sorted);
    c->sorted[at] = s;
    c->count++;
    c->bare += s->bare;
}

void catalog_sorted_remove(struct catalog *c, const struct service *s)
{
    uint32_t at = catalog_place(c, s->ns, s->name);
    ASSERT(at < c->count && c->sorted[at] == s);
    c->count--;
    c->bare -= s->bare;
    memmove(c->sorted + at, c->sorted + at + 1, (c->count - at) * sizeof *c->sorted);
}

/* ---- life of the entries ---- */

struct service *catalog_service_new(struct catalog *c, const char *ns, const char *name)
{
    char key[KEY_SIZE];
    struct service *s = xcalloc(1, sizeof *s);
    copy_name(s->ns, sizeof s->ns, ns);
    copy_name(s->name, sizeof s->name, name);
    s->catalog = c;
    s->roll.on_due = catalog_on_roll;
    for (enum part_kind k = 0; k < PARTS; k++)
        s->parts[k].owner = s;
    list_init(&s->revisions);
    list_init(&s->waiting);
    map_put(&c->services, key_of(key, ns, name), s);
    return s;
}

struct rev *catalog_rev_new(struct catalog *c, struct service *owner, const char *name, int64_t number)
{
    char key[KEY_SIZE];
    struct rev *v = xcalloc(1, sizeof *v);
    v->catalog = c;
    v->owner = owner;
    v->number = number;
    v->facts.f.exit_status = -1;
    v->deadline.on_due = catalog_on_deadline;
    copy_name(v->ns, sizeof v->ns, owner->ns);
    copy_name(v->name, sizeof v->name, name);
    list_push(&owner->revisions, &v->node);
    map_put(&c->revisions, key_of(key, owner->ns, name), v);
    return v;
}

/* Out of sight at once; the memory stays as long as a change of it is with the store. */
void catalog_rev_drop(struct rev *v)
{
    char key[KEY_SIZE];
    if (v->owner) {
        list_remove(&v->owner->revisions, &v->node);
        (void)map_remove(&v->catalog->revisions, key_of(key, v->ns, v->name));
        loop_cancel(v->catalog->loop, &v->deadline);
        catalog_needs_end(v);
        v->owner = NULL;
    }
    if (v->busy)
        return;
    json_decref(v->pending);
    catalog_facts_done(&v->facts);
    packed_free(v->text);
    free(v);
}

void catalog_part_init(struct service *s, enum part_kind k)
{
    struct object_stamp stamp;
    asked_stamp(&stamp, "");
    memcpy(s->parts[k].uid, stamp.uid, sizeof stamp.uid);
    s->parts[k].dirty = true;
}

void catalog_service_free(struct catalog *c, struct service *s)
{
    char key[KEY_SIZE];
    ASSERT(s->waiting.count == 0);
    LIST_EACH(&s->revisions, n, tmp)
        catalog_rev_drop(CONTAINER_OF(n, struct rev, node));
    catalog_parts_free(c, s);
    if (s->text)
        catalog_sorted_remove(c, s);
    if (list_node_linked(&s->dirty_node))
        list_remove(&c->dirty, &s->dirty_node);
    (void)map_remove(&c->services, key_of(key, s->ns, s->name));
    packed_free(s->text);
    free(s);
}

struct catalog_item catalog_service_item(const struct service *s, char **unpacked)
{
    return (struct catalog_item){ s->ns, s->name, s->uid, NULL, s->version, s->text, unpacked };
}

struct catalog_item catalog_rev_item(const struct rev *v, char **unpacked)
{
    return (struct catalog_item){ v->ns, v->name, v->uid, NULL, v->version, v->text, unpacked };
}

const char *catalog_item_text(const struct catalog_item *i)
{
    if (i->plain)
        return i->plain;
    if (!*i->unpacked)
        *i->unpacked = packed_text(i->packed);
    return *i->unpacked;
}
