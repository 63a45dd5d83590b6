/* serve_opts.h -- what `hob serve` understands: its rows, and what they fill. Help, completion and
 * docs/reference/cli.md are made from the same rows. Pure. */
#pragma once

#include "base/limits.h"
#include "cli/opt.h"

enum { SERVE_NO_FD = UINT32_MAX };

struct serve_settings {
    struct limits limits;
    const char *listen_ingress, *listen_api, *data, *api_group; /* api_group NULL: nobody else */
    const char *otlp_endpoint; /* NULL: the environment says */
    const char *request_log;   /* NULL: none; "-": standard output */
    const char *trace_sample;  /* NULL: the limit says */
    const char *model_origins; /* artifact/origin.h reads it */
    struct opt_list roots, limit_texts;
    uint32_t ready_fd; /* SERVE_NO_FD: nobody waits */
    bool insecure, api_insecure, verbose, help;
};
enum { SERVE_OPTS = 14 };
extern const struct opt serve_opts[SERVE_OPTS];

/* Defaults, then argv (no program name). The lists are the caller's to end with serve_settings_done(). */
int serve_settings_read(struct serve_settings *s, int argc, const char *const *argv, struct err *e) MUST_USE;
void serve_settings_done(struct serve_settings *s);
