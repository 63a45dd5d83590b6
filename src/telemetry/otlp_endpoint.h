/* otlp_endpoint.h -- where spans go, as people write it: OpenTelemetry's settings to a URL and header lines.
 *
 * Receives texts of the command line and the environment; owns nothing. Refuses what would not work, or would
 * work differently than it looks. Pure. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

enum { OTLP_URL_MAX = 1024, OTLP_HEADERS_MAX = 8192 };

/* base: "http://127.0.0.1:4318" becomes ".../v1/traces", unless it is `whole` (…_TRACES_ENDPOINT) already. */
int otlp_endpoint_url(const char *base, bool whole, char into[OTLP_URL_MAX], struct err *e) MUST_USE;

/* "name=value,name=value" with %XX in values (OTEL_EXPORTER_OTLP_HEADERS) to lines "name: value\n". What came is
 * never repeated in an error: it may be a credential. */
int otlp_headers(const char *text, struct buf *into, struct err *e) MUST_USE;
