/* objects.h -- reading Kubernetes-shaped objects for people. Borrowed texts; "" where there is none. */
#pragma once

#include "cli/cli.h"
#include "cli/human.h"
#include "codec/json.h"

const char *object_text(const json_t *j, const char *path);
const char *object_label(const json_t *j, const char *key);
const char *object_annotation(const json_t *template,
                              const char *key); /* of metadata.annotations */
/* Since creationTimestamp: "5m" on a terminal, the time itself otherwise. */
const char *object_age(const struct cli *c, const json_t *j, char into[HUMAN_TEXT]);
/* The Revisions that get the requests: "f-00001", or "f-00001 90%, f-00002 10%"; before there are any, the latest
 * ready one. */
enum { OBJECT_SERVING = 512 };
const char *object_serving(const json_t *service, char into[OBJECT_SERVING]);
const char *object_scale(const json_t *service, char into[HUMAN_TEXT]); /* "0..4", "0..any" */

struct object_condition {
    const char *status, *reason, *message,
        *since; /* status "Unknown" when there is no such condition */
    enum style style;
};
struct object_condition object_condition(const json_t *j, const char *type);
struct object_condition object_condition_at(const json_t *condition);

/* A time stamp: how long ago on a terminal, as it is otherwise. */
const char *object_time(const struct cli *c, const char *rfc3339, char into[HUMAN_TEXT]);
