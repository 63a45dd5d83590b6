#include "cli/serve_traces.h"

#include <stdio.h>
#include <stdlib.h>

#define URL     "HOB_OTLP_URL"
#define HEADERS "HOB_OTLP_HEADERS"
#define NAME    "HOB_OTLP_SERVICE"

static const char *set_text(const char *name)
{
    const char *text = getenv(name);
    return text && text[0] ? text : NULL; /* the specification: empty is not set */
}

static int url_read(const char *flag, struct serve_traces *t, struct err *e)
{
    const char *whole = set_text("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), *base = set_text("OTEL_EXPORTER_OTLP_ENDPOINT");
    if (flag)
        return otlp_endpoint_url(flag, false, t->url, e) < 0 ? err_wrap(e, "--otlp-endpoint") : 0;
    if (whole)
        return otlp_endpoint_url(whole, true, t->url, e) < 0 ? err_wrap(e, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") : 0;
    if (base)
        return otlp_endpoint_url(base, false, t->url, e) < 0 ? err_wrap(e, "OTEL_EXPORTER_OTLP_ENDPOINT") : 0;
    return 0;
}

int serve_traces_read(const char *flag, struct serve_traces *ret, struct err *e)
{
    const char *headers = set_text("OTEL_EXPORTER_OTLP_TRACES_HEADERS"), *name = set_text("OTEL_SERVICE_NAME");
    const char *disabled = set_text("OTEL_SDK_DISABLED");
    struct buf lines = { .base = ret->headers, .capacity = sizeof ret->headers - 1, .max = sizeof ret->headers - 1 };
    *ret = (struct serve_traces){ .url = "" };
    if (disabled && str_eq_nocase(str_of(disabled), STR("true")))
        return 0;
    if (!headers)
        headers = set_text("OTEL_EXPORTER_OTLP_HEADERS");
    int r = url_read(flag, ret, e);
    if (r == 0 && headers && otlp_headers(headers, &lines, e) < 0)
        r = err_wrap(e, "OTEL_EXPORTER_OTLP_HEADERS");
    snprintf(ret->service_name, sizeof ret->service_name, "%s", name ? name : "hob");
    return r;
}

void serve_traces_give(const struct serve_traces *t, bool fetcher)
{
    if (!t->url[0])
        return;
    (void)setenv(URL, fetcher ? t->url : "given", 1); /* the node need not know where to */
    (void)setenv(NAME, t->service_name, 1);
    if (fetcher)
        (void)setenv(HEADERS, t->headers, 1);
}

struct fetcher_export serve_traces_export(void)
{
    const char *headers = getenv(HEADERS);
    return (struct fetcher_export){ getenv(URL), headers ? headers : "" };
}

bool serve_traces_on(void) { return getenv(URL) != NULL; }

const char *serve_traces_name(void)
{
    const char *name = getenv(NAME);
    return name ? name : "hob";
}
