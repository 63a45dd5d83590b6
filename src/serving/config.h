/* config.h -- what an instance gets from ConfigMaps and Secrets: its environment, and folders of files. Pure.
 *
 * Receives the plan that a Revision keeps of the fields which name them, and a way to look objects up. Owns what it
 * emits, and wipes it: environment, command, arguments and files of one instance, fixed when it starts, as in
 * Kubernetes. Refuses an object or a key that is not there and not optional, in the kubelet's words; paths that
 * contradict each other; more than config_bytes_max bytes and config_files_max files. Messages name objects and
 * keys, never a value.
 */
#pragma once

#include "codec/json.h"
#include "sandbox/sandbox.h"

struct revision;

/* The object's JSON, borrowed until the loop goes on; NULL: there is none. */
struct config_source {
    const char *(*find)(void *ctx, bool secret, const char *ns, const char *name);
    void *ctx;
};

struct config {
    const char *const *env, *const *command, *const *args; /* NULL-terminated, $(NAME) replaced */
    const struct sandbox_folder *folders;
    size_t folder_count;
    const char *skipped; /* keys of an envFrom that cannot be names of variables, in a sentence; NULL: none */
    struct config_piece *pieces;
};

/* The fields of a container that need this, and the volumes it mounts, as compact JSON to be freed. NULL: none do. */
char *config_plan(const json_t *pod, const json_t *container);
bool config_is_volume(const json_t *volume); /* of a ConfigMap, a Secret, or both */

/* For r->config. *ret_reason, on failure: CONFIG_ENV or CONFIG_FILES. CODE_NOT_FOUND: an object or key is not there. */
int config_resolve(const struct revision *r, const struct config_source *s, const struct limits *l,
                   struct config **ret, const char **ret_reason, struct err *e) MUST_USE;
void config_free(struct config *c);
DEFINE_AUTO(config, struct config *, config_free)

/* Reasons for a condition: Kubernetes' own. */
#define CONFIG_ENV   "CreateContainerConfigError"
#define CONFIG_FILES "FailedMount"
