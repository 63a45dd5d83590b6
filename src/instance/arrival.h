/* arrival.h -- one artifact that a start waits for, the image or a model, and what the start's record says of them.
 *
 * Receives what the artifact store tells about its uses. Owns nothing: the use is the instance's. Emits phases and cache
 * outcomes into the record. Refuses nothing. */
#pragma once

#include "artifact/artifact.h"
#include "telemetry/phase.h"

struct instance;

struct arrival {
    struct instance *instance;
    struct artifact_use *use;
    bool present, verified;
    uint64_t present_us, verified_us; /* when the instance heard of it */
    char path[160];   /* in the store */
    char target[512]; /* inside the sandbox */
};

/* All of them are present and verified. launched_us: when they were asked for. */
void arrival_record(struct start_record *s, uint64_t launched_us, const struct arrival *image,
                    const struct arrival *models, uint32_t model_count);
