#pragma once

/* What the catalog and the registry do alike with a request for a change (struct catalog_request,
 * catalog.h): the preconditions that Kubernetes knows, and the answer.
 * Receives: the keeper's list of requests not yet answered, which holds them by open_node.
 * Owns: nothing. Emits: on_done, once for each request.
 * Refuses: what does not fit the object as it is. */

#include "serving/catalog.h"

#include "serving/object.h"

enum { ASKED_NAME_END = 6 }; /* of a generated name, with its zero */

/* The request leaves `open` and is answered; it may be freed by that. item NULL where r < 0. */
void asked_answer(struct list *open, struct catalog_request *q, int r, const struct catalog_item *item,
                  const struct err *e);
/* The same for a failure in words. */
void asked_refuse(struct list *open, struct catalog_request *q, enum code code, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* Whoever waited for an object looks again, in their order; the first that writes makes the others wait
 * again. */
void asked_again(struct loop *l, struct list *waiting);

/* Whether `becomes` was made from the object as it is: metadata.resourceVersion and metadata.uid, where it
 * says them. CODE_ABORTED in Kubernetes' words. */
int asked_check_change(const json_t *becomes, const char *uid, int64_t version, struct err *e) MUST_USE;
/* The preconditions of a deletion (DeleteOptions). CODE_ABORTED likewise. */
int asked_check_delete(const struct catalog_request *q, const char *uid, int64_t version,
                       struct err *e) MUST_USE;

/* What makes an object new: a uid (UUID version 7, RFC 9562 5.7), the time, who did it. `user` is kept. */
void asked_stamp(struct object_stamp *s, const char *user);
/* The random end of a name asked for with generateName, as Kubernetes: no words by accident. */
void asked_name_end(char into[ASKED_NAME_END]);
/* At most 256 bytes. */
void asked_random(uint8_t *into, size_t size);
