#include "cli/kinds.h"

#include "cli/objects.h"
#include "cli/remote.h"

static bool is_name_of(const struct kube_resource *r, struct str word)
{
    struct str rest = str_of(r->short_names);
    if (str_eq_nocase(word, str_of(r->plural)) || str_eq_nocase(word, str_of(r->singular)))
        return true;
    while (rest.size)
        if (str_eq(str_cut(&rest, ','), word))
            return true;
    return false;
}

static bool can_be_made(const struct kube_resource *r) { return (r->verbs & KUBE_CREATE) != 0; }

/* What is only a view gives way to what it is a view of. */
static const struct kube_resource *real(const struct kube_resource *view)
{
    for (size_t i = 0; i < kube_resource_count; i++)
        if (kube_resources[i].source != KUBE_FROM_VIEW && strcmp(kube_resources[i].plural, view->plural) == 0)
            return &kube_resources[i];
    return view;
}

const struct kube_resource *kinds_of_word(struct str word)
{
    struct str group = word, name = str_cut(&group, '.');
    for (size_t i = 0; i < kube_resource_count; i++) {
        const struct kube_resource *r = &kube_resources[i];
        if (!is_name_of(r, name))
            continue;
        if (group.size == 0)
            return r->source == KUBE_FROM_VIEW ? real(r) : r;
        if (str_is(group, r->group))
            return r;
    }
    return NULL;
}

const struct kube_resource *kinds_split(const char *word, const char **ret_name)
{
    struct str rest = str_of(word), kind = str_cut(&rest, '/');
    const struct kube_resource *r = rest.size ? kinds_of_word(kind) : NULL;
    if (r)
        *ret_name = rest.at;
    return r;
}

static int unknown_kind(const char *version, const char *kind, struct err *e)
{
    struct buf b;
    buf_init(&b, 1024);
    for (size_t i = 0; i < kube_resource_count; i++)
        if (can_be_made(&kube_resources[i]))
            buf_printf(&b, "%s%s", b.size ? ", " : "", kube_resources[i].name);
    AUTO_FREE char *all = buf_take_text(&b);
    return err_set(e, CODE_INVALID, "%s %s: no kind that can be deployed here; there are %s",
                   version[0] ? version : "an object without apiVersion", kind[0] ? kind : "(no kind)", all);
}

int kinds_of_object(const json_t *object, const struct kube_resource **ret, struct err *e)
{
    const char *version = object_text(object, "apiVersion"), *kind = object_text(object, "kind");
    for (size_t i = 0; i < kube_resource_count; i++) {
        const struct kube_resource *r = &kube_resources[i];
        if (!can_be_made(r) || strcmp(r->api_version, version) != 0 || strcmp(r->name, kind) != 0)
            continue;
        if (!object_text(object, "metadata.name")[0])
            return err_set(e, CODE_INVALID, "%s: metadata.name is missing", kind);
        *ret = r;
        return 0;
    }
    return unknown_kind(version, kind, e);
}

size_t kinds_order(const struct kube_resource *r)
{
    size_t row = (size_t)(r - kube_resources); /* the table has them in this order but for claims */
    return r->namespaced ? kube_resource_count + row : row;
}

bool kinds_waited_for(const struct kube_resource *r) { return can_be_made(r) && kube_resource_has_status(r); }

char *kinds_target(const struct kube_resource *r, const char *ns, const char *name)
{
    const char *first = r->group[0] ? "/apis/" : "/api";
    bool inside = r->namespaced && ns;
    AUTO_FREE char *space = inside ? remote_target("/namespaces/", ns, NULL) : xstrdup("");
    AUTO_FREE char *last = name ? remote_target("/", name, NULL) : xstrdup("");
    return xasprintf("%s%s/%s%s/%s%s", first, r->group, r->version, space, r->plural, last);
}

void kinds_write_name(const struct kube_resource *r, const char *name, struct buf *into)
{
    buf_printf(into, "%s%s%s/%s", r->singular, r->group[0] ? "." : "", r->group, name);
}
