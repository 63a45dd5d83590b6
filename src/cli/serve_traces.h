/* serve_traces.h -- where spans go: `hob serve --otlp-endpoint` and OpenTelemetry's environment, checked once by the
 * launcher and handed to the roles, which see neither the operator's environment nor each other's.
 *
 * The flag wins over OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, that over OTEL_EXPORTER_OTLP_ENDPOINT. Headers come from
 * OTEL_EXPORTER_OTLP_TRACES_HEADERS or OTEL_EXPORTER_OTLP_HEADERS only, and go to the fetcher only.
 * OTEL_SDK_DISABLED=true: none of it. */
#pragma once

#include "artifact/fetcher_post.h"
#include "telemetry/otlp_endpoint.h"

struct serve_traces {
    char url[OTLP_URL_MAX]; /* "": no traces leave */
    char headers[OTLP_HEADERS_MAX];
    char service_name[256];
};

/* In the launcher. flag NULL: not given. */
int serve_traces_read(const char *flag, struct serve_traces *ret, struct err *e) MUST_USE;
/* In the child that becomes a role, its environment already reduced. */
void serve_traces_give(const struct serve_traces *t, bool fetcher);
/* In the role: what was given. The texts live as long as the environment. */
struct fetcher_export serve_traces_export(void);
bool serve_traces_on(void);
const char *serve_traces_name(void);
