#include "serving/catalog_impl.h"

#include <stdlib.h>

/* A tag's host is "<tag>-<name>": the own name of another Service or Route may be the same, and that one has it
 * (instance/fleet_route.c decides so; here it is said). */

char *catalog_tag_taken(const struct catalog *c, const struct route_table *t)
{
    for (uint32_t i = 1; t && i < t->count; i++) {
        AUTO_FREE char *label = xasprintf("%s-%s", t->hosts[i].tag, t->name);
        const struct service *s = catalog_service(c, t->ns, label);
        if ((s && s->text && !s->bare) || catalog_outside_any(c, t->ns, label))
            return TAKE(label);
    }
    return NULL;
}

void catalog_name_changed(struct catalog *c, const char *ns, const char *name)
{
    for (const char *dash = name; (dash = strchr(dash, '-')) != NULL; dash++) {
        struct service *s = catalog_service(c, ns, dash + 1);
        if (!s || !s->text || s->bare)
            continue;
        s->dirty = true;
        catalog_parts_mark(s);
        catalog_flush_soon(c, s);
    }
}
