/* serve_opts.h -- what `hob serve` understands: its rows, and what they fill. Help, completion and
 * docs/reference/cli.md are made from the same rows. Pure. */
#pragma once

#include "base/limits.h"
#include "cli/opt.h"

enum { SERVE_NO_FD = UINT32_MAX };

struct serve_settings {
    struct limits limits;
    const char *listen_ingress, *listen_api, *listen_temporal, *data, *api_group; /* api_group NULL: nobody else */
    const char *otlp_endpoint; /* NULL: the environment says */
    const char *request_log;   /* NULL: none; "-": standard output */
    const char *trace_sample;  /* NULL: the limit says */
    const char *model_origins; /* artifact/origin.h reads it */
    struct opt_list roots, limit_texts;
    struct opt_list namespaces, attributes; /* of Temporal, made unless they are there; "Name=Type" */
    uint32_t ready_fd; /* SERVE_NO_FD: nobody waits */
    bool insecure, api_insecure, temporal_token, verbose, quiet, help; /* quiet: warnings and errors only */
};
#define SERVE_LISTEN_NONE "none" /* --listen-temporal: nobody listens */
enum { SERVE_OPTS = 16 };
extern const struct opt serve_opts[SERVE_OPTS];

/* Defaults, then argv (no program name). The lists are the caller's to end with serve_settings_done(). */
int serve_settings_read(struct serve_settings *s, int argc, const char *const *argv, struct err *e) MUST_USE;
void serve_settings_done(struct serve_settings *s);
/* Defaults only: for commands that start hob otherwise. */
void serve_settings_default(struct serve_settings *s);
bool serve_temporal_listens(const struct serve_settings *s);
