/* manifest.h -- builds the Knative Service that `hob deploy` sends or prints. Pure: flags in, tree out.
 * Refuses what cannot be said in a manifest (an environment entry without '='); what a manifest means
 * is judged by the server. */
#pragma once

#include "cli/opt.h"
#include "codec/json.h"

struct manifest_flags { /* NULL, 0 and empty lists: not given */
    const char *name, *ns, *image, *memory, *cpu, *ephemeral, *window, *target;
    struct opt_list env, models, annotations, command, arguments;
    uint32_t port, min_scale, max_scale, concurrency, timeout_s;
    bool has_min_scale, has_max_scale, has_concurrency;
};
int manifest_build(const struct manifest_flags *f, json_t **ret, struct err *e) MUST_USE;
/* "file:///models/x.bin@sha256:…:/model": the last ':' before an absolute path divides. */
bool manifest_split_model(const char *text, struct str *ret_reference, struct str *ret_path);
