/* Whatever Service, ConfigMap and Secret were accepted, the config they become is one that a sandbox takes: names
 * with values, files that lie below their folders, modes of nine bits, within the limits. Three YAML documents. */
#include "serving/config.h"
#include "serving/pod.h"
#include "serving/registry_kinds.h"
#include "serving/revision.h"
#include "serving/service.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);

struct shelf { /* one of each, under every name */
    char *map, *secret;
};

static const char *shelf_find(void *ctx, bool secret, const char *ns, const char *name)
{
    const struct shelf *s = ctx;
    ASSERT(strcmp(ns, "ns") == 0 && *name);
    return secret ? s->secret : s->map;
}

static char *object_make(enum registry_kind kind, const json_t *in, const struct service_terms *t)
{
    struct service_draft d;
    registry_prepare(kind, in, NULL, t, &d);
    char *text = d.object ? json_dumps(d.object, JSON_COMPACT) : NULL;
    service_draft_done(&d);
    return text;
}

static void downward(const char *path)
{
    ASSERT(*path && *path != '/');
    for (struct str rest = str_of(path); rest.size > 0;) {
        struct str part = str_cut(&rest, '/');
        ASSERT(part.size > 0 && part.size <= 255 && !str_is(part, ".") && !str_is(part, ".."));
    }
}

static void config_check(const struct config *c, const struct limits *l)
{
    size_t bytes = 0, files = 0;
    for (size_t i = 0; c->env[i]; i++)
        ASSERT(c->env[i][0] != '=' && strchr(c->env[i], '='));
    for (size_t i = 0; i < c->folder_count; i++) {
        const struct sandbox_folder *f = &c->folders[i];
        ASSERT(f->target[0] == '/' && (!f->alone || f->file_count == 1));
        for (size_t k = 0; k < f->file_count; k++) {
            downward(f->files[k].path);
            ASSERT(f->files[k].mode <= 0777 && (!f->alone || !strchr(f->files[k].path, '/')));
            bytes = MAX(bytes, f->files[k].size);
        }
        files = MAX(files, f->file_count);
    }
    ASSERT(bytes <= l->config_bytes_max && files <= l->config_files_max);
}

static void resolve(const json_t *service, const struct shelf *shelf, const struct limits *l)
{
    AUTO(revision) struct revision *r = NULL;
    AUTO(config) struct config *c = NULL;
    const struct config_source source = { shelf_find, (void *)(uintptr_t)shelf };
    const char *reason = NULL;
    struct err e = { 0 };
    const struct revision_source s = {
        .ns = "ns", .service = json_text_at(service, "metadata.name"), .name = "to-be",
        .annotations = json_at(service, "spec.template.metadata.annotations"), .pod = json_at(service, POD_PATH),
    };
    if (revision_decode(&s, l, &r, &e) < 0 || !r->config)
        return;
    if (config_resolve(r, &source, l, &c, &reason, &e) == 0)
        config_check(c, l);
    else
        ASSERT(e.text[0] && reason);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    struct limits l;
    struct err e;
    json_t *docs[3] = { NULL };
    size_t count = 0;
    struct service_draft draft;
    const struct service_terms t = { &l, "ns", SERVICE_UNKNOWN_DROP, "abcde" };
    limits_default(&l);
    l.json_nodes_max = 400;
    l.config_bytes_max = 4096;
    l.config_files_max = 16;
    if (yaml_read((struct str){ (const char *)in, size }, &l, docs, 3, &count, &e) == 0 && count > 0) {
        struct shelf shelf = { count > 1 ? object_make(REGISTRY_CONFIGMAPS, docs[1], &t) : NULL,
                               count > 2 ? object_make(REGISTRY_SECRETS, docs[2], &t) : NULL };
        service_prepare(docs[0], NULL, &t, &draft);
        if (draft.object)
            resolve(draft.object, &shelf, &l);
        service_draft_done(&draft);
        free(shelf.map);
        free(shelf.secret);
    }
    for (size_t i = 0; i < count && i < 3; i++)
        json_decref(docs[i]);
    return 0;
}
