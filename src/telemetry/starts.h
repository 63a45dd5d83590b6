/* starts.h -- the last start of each service, for who asks before any request was answered.
 *
 * Receives starts that became ready or failed (phase_relative() applied). Owns a copy of the last one of each
 * service, at most starts_kept_max of them: the service whose last start is oldest goes first. Since the node began.
 * Emits them, the newest first. Loop thread only. */
#pragma once

#include "base/limits.h"
#include "telemetry/phase.h"

struct starts;
struct last_start {
    char ns[64], service[64], revision[80];
    struct start_record start;
};

struct starts *starts_new(const struct limits *limits);
void starts_free(struct starts *s);
DEFINE_AUTO(starts, struct starts *, starts_free)

void starts_add(struct starts *s, const char *ns, const char *service, const char *revision, const struct start_record *r);
void starts_forget(struct starts *s, const char *ns, const char *service);
/* ns, service "": any. */
void starts_each(const struct starts *s, const char *ns, const char *service,
                 void (*on_start)(void *ctx, const struct last_start *l), void *ctx);
