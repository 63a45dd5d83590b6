/* kube_reply.h -- answers in the forms that Kubernetes clients read: objects, Status, Table, warnings.
 *
 * Receives a call and what to say. Emits JSON, or YAML where the client prefers it; a meta.k8s.io Table or
 * PartialObjectMetadata where it asks for one. Refuses (406) clients that accept none of these.
 */
#pragma once

#include "api/kube_kinds.h"
#include "codec/json.h"
#include "net/http_server.h"
#include "serving/refusals.h"

enum kube_form { KUBE_JSON, KUBE_YAML, KUBE_TABLE, KUBE_PARTIAL, KUBE_NOT_ACCEPTABLE };
enum kube_form kube_form(const struct http_call *c); /* from Accept */

/* Machine-readable reasons, as metav1.StatusReason spells them, with their HTTP status. */
struct kube_refusal {
    int code;
    const char *reason; /* "NotFound"; NULL: none */
    const char *message;
    const struct kube_resource *resource; /* NULL: not about one */
    const char *name;                     /* NULL: none */
    json_t *take_causes;                  /* array, or NULL */
    uint32_t retry_after_s;               /* 0: none */
    const char *allow;                    /* methods, with 405; else NULL */
};
void kube_refuse(struct http_call *c, const struct kube_refusal *r);
json_t *kube_status(const struct kube_refusal *r); /* the object alone; takes the causes, too */

/* One object or one list, as compact JSON text. */
void kube_answer(struct http_call *c, int status, struct str text, struct refusals *warnings);
void kube_answer_tree(struct http_call *c, int status, const json_t *j);
