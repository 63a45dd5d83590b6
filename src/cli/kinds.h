/* kinds.h -- the kinds of the API as people write them, and where one object of a kind lies.
 *
 * Receives words ("cm", "ksvc", "routes", "configmaps", "service.serving.knative.dev") and trees. Owns nothing.
 * Emits rows of the API's own table (api/kube_kinds.h): what the server serves, the command line knows. Refuses
 * kinds that are not served or cannot be made. "service" and "svc" are Knative's here; Kubernetes' Service of the
 * same name is only a view of it. Pure.
 */
#pragma once

#include "api/kube_kinds.h"
#include "codec/json.h"

/* NULL: no kind's name. */
const struct kube_resource *kinds_of_word(struct str word);
/* "cm/greeter": the kind, and the name behind the slash; NULL: not of that form. */
const struct kube_resource *kinds_split(const char *word, const char **ret_name);
/* The kind of what shall be made; has a metadata.name. */
int kinds_of_object(const json_t *object, const struct kube_resource **ret, struct err *e) MUST_USE;
/* What others stand on comes first: namespaces, claims, configuration, then what runs, then what leads to it. */
size_t kinds_order(const struct kube_resource *r);
bool kinds_waited_for(const struct kube_resource *r); /* it becomes ready, and says so in its status */
/* name NULL: the list; ns NULL: of every namespace. Segments are encoded. The caller frees. */
char *kinds_target(const struct kube_resource *r, const char *ns, const char *name);
/* "configmap/greeter", "service.serving.knative.dev/greeter". */
void kinds_write_name(const struct kube_resource *r, const char *name, struct buf *into);
