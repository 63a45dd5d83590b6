/* instance_spec.h -- what the sandbox of an instance is to run: the runtime contract's variables, mounts and limits.
 *
 * Receives an instance whose artifacts are present, and its config. Owns the texts of the spec, which may be of a Secret and
 * are wiped with it. Emits a sandbox_spec. Refuses nothing: the tier does. Pure. */
#pragma once

#include "instance/instance_impl.h"

struct instance_spec_strings { /* a growing NULL-terminated array of owned strings */
    char **at;
    size_t count;
};
struct instance_spec { /* does not move: the spec points into it */
    struct sandbox_spec spec; /* borrows from the instance and the config, too */
    /* private */
    struct instance_spec_strings argv, env;
    struct sandbox_mount mounts[INSTANCE_MODELS_MAX + 1];
    struct sandbox_scratch scratches[INSTANCE_MODELS_MAX];
};
/* config NULL: it takes nothing from any object. */
void instance_spec_init(struct instance_spec *s, const struct instance *i, const struct config *config);
void instance_spec_done(struct instance_spec *s);

/* How long from its order to ready; of an init container, to its end. */
uint64_t instance_spec_patience_us(const struct instance *i);
