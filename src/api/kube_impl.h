/* kube_impl.h -- what the files of the Kubernetes-shaped API share: kube.c (where a path leads), kube_list.c
 * (get, list), kube_watch.c (watch), kube_write.c (create, replace, patch, delete), kube_refuse.c (Status
 * errors in Kubernetes' and Knative's words), kube_source.c (whose objects a kind's are). Not for anybody else.
 */
#pragma once

#include "api/kube.h"
#include "api/kube_reply.h"
#include "api/kube_table.h"
#include "api/selector.h"

/* Nobody signs in yet; this is who everything is done as. */
#define KUBE_USER "system:admin"

enum { KUBE_TOKEN_MAX = OBJECT_NS_MAX + OBJECT_NAME_MAX + 24 };

struct kube {
    struct kube_sources s;
    char *ingress, *api;
    int64_t begin_wall_ms;
    struct list calls;   /* with the catalog */
    struct list watches; /* open */
    struct watch_listener listener;
    struct loop_task pump;
};

/* Where a path points: [/namespaces/{ns}]/{plural}[/{name}] */
struct kube_place {
    const struct kube_resource *resource;
    char ns[OBJECT_NS_MAX], name[OBJECT_NAME_MAX]; /* empty: all */
    bool status; /* the object's subresource of that name; only read: nobody but hob writes it */
};

/* kube_source.c */
/* False: there is none. Else on_item was called with it. */
bool kube_find(const struct kube *k, const struct kube_resource *r, const char *ns, const char *name,
               bool (*on_item)(void *ctx, const struct catalog_item *i), void *ctx);
/* Ordered by namespace and name; ns NULL: all. */
void kube_each(const struct kube *k, const struct kube_resource *r, const char *ns,
               bool (*on_item)(void *ctx, const struct catalog_item *i), void *ctx);
/* makes: it may create the object. < 0: nothing was submitted (the namespace is being terminated). */
int kube_submit(struct kube *k, const struct kube_resource *r, struct catalog_request *q, bool makes,
                struct err *e) MUST_USE;

/* kube_refuse.c; each answers the call */
void kube_refuse_with(struct http_call *c, int code, const char *reason, const char *message);
bool kube_bad_request(struct http_call *c, const char *fmt, ...) PRINTF_LIKE(2, 3); /* always false */
void kube_refuse_not_found(struct http_call *c, const struct kube_resource *r, const char *name);
void kube_refuse_method(struct http_call *c, const char *allow);
void kube_refuse_media(struct http_call *c, const char *accepted);
/* What the catalog answered. */
void kube_refuse_err(struct http_call *c, const struct kube_resource *r, struct catalog_request *q, int code,
                     const struct err *e);

/* kube_list.c */
struct kube_selection { /* labelSelector and fieldSelector; their text is the call's */
    struct selector labels, fields;
};
/* False: refused, and answered. */
bool kube_selection_read(struct http_call *c, const struct kube_resource *r, struct kube_selection *ret);
bool kube_selection_match(const struct kube_selection *s, const char *ns, const char *name,
                          const json_t *object, const json_t *labels);
bool kube_selection_deep(const struct kube_selection *s); /* the object must be parsed to tell */
void kube_get_handle(struct kube *k, struct http_call *c, const struct kube_place *place);
void kube_list_handle(struct kube *k, struct http_call *c, const struct kube_place *place);

/* kube_watch.c */
bool kube_watch_wanted(struct http_call *c);
void kube_watch_handle(struct kube *k, struct http_call *c, const struct kube_place *place);
void kube_watch_begin(struct kube *k);
void kube_watch_done(struct kube *k); /* ends them all */

/* kube_write.c */
void kube_create_handle(struct kube *k, struct http_call *c, const struct kube_place *place);
void kube_replace_handle(struct kube *k, struct http_call *c, const struct kube_place *place);
void kube_patch_handle(struct kube *k, struct http_call *c, const struct kube_place *place);
void kube_delete_handle(struct kube *k, struct http_call *c, const struct kube_place *place);
/* Each as a DELETE of its own; the answer is the list of what is gone. */
void kube_delete_all_handle(struct kube *k, struct http_call *c, const struct kube_place *place);
void kube_write_done(struct kube *k); /* calls still open are not answered any more */
