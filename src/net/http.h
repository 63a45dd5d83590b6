/* http.h -- HTTP's words: methods, field names, status texts, and the bytes each may be made of.
 *
 * Tables and pure functions only; owns nothing. The names listed here are recognised once, by the
 * parser, so that nobody compares strings later. Refuses nothing: what is not listed is _OTHER.
 */
#pragma once

#include "base/str.h"

enum http_method {
    HTTP_METHOD_OTHER, /* a well-formed method without a meaning here */
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_DELETE,
    HTTP_PATCH,
    HTTP_OPTIONS,
    HTTP_TRACE,
    HTTP_CONNECT,
};
enum http_method http_method_find(struct str method); /* case-sensitive, as methods are */
/* Twice is as good as once (RFC 9110, 9.2.2). */
static inline bool http_method_is_idempotent(enum http_method m)
{
    return m == HTTP_GET || m == HTTP_HEAD || m == HTTP_PUT || m == HTTP_DELETE ||
           m == HTTP_OPTIONS || m == HTTP_TRACE;
}

/* Per field: how it may appear. */
enum {
    HTTP_FIELD_ONCE = 1,     /* a second one is refused */
    HTTP_FIELD_HOP = 2,      /* for this connection only: never forwarded */
    HTTP_FIELD_FIXED = 4,    /* Connection must not nominate it: stripping it would be an attack */
    HTTP_FIELD_NO_TRAIL = 8, /* framing, routing, authority: refused in trailers */
};

/* X(id, name, flags) */
// clang-format off
#define HTTP_FIELDS(X)                                                                          \
    X(HOST,                 "Host",                  ONCE | FIXED | NO_TRAIL)                   \
    X(CONTENT_LENGTH,       "Content-Length",        ONCE | FIXED | NO_TRAIL)                   \
    X(TRANSFER_ENCODING,    "Transfer-Encoding",     ONCE | HOP | NO_TRAIL)                     \
    X(CONNECTION,           "Connection",            HOP | NO_TRAIL)                            \
    X(PROXY_CONNECTION,     "Proxy-Connection",      HOP | NO_TRAIL)                            \
    X(KEEP_ALIVE,           "Keep-Alive",            HOP | NO_TRAIL)                            \
    X(UPGRADE,              "Upgrade",               HOP | NO_TRAIL)                            \
    X(HTTP2_SETTINGS,       "HTTP2-Settings",        HOP | NO_TRAIL)                            \
    X(TE,                   "TE",                    HOP | NO_TRAIL)                            \
    X(TRAILER,              "Trailer",               NO_TRAIL)                                  \
    X(EXPECT,               "Expect",                ONCE | FIXED | NO_TRAIL)                   \
    X(AUTHORIZATION,        "Authorization",         FIXED | NO_TRAIL)                          \
    X(PROXY_AUTHORIZATION,  "Proxy-Authorization",   HOP | NO_TRAIL)                            \
    X(PROXY_AUTHENTICATE,   "Proxy-Authenticate",    HOP | NO_TRAIL)                            \
    X(COOKIE,               "Cookie",                FIXED | NO_TRAIL)                          \
    X(SET_COOKIE,           "Set-Cookie",            FIXED | NO_TRAIL)                          \
    X(CONTENT_TYPE,         "Content-Type",          FIXED | NO_TRAIL)                          \
    X(CONTENT_ENCODING,     "Content-Encoding",      FIXED | NO_TRAIL)                          \
    X(CONTENT_RANGE,        "Content-Range",         FIXED | NO_TRAIL)                          \
    X(RANGE,                "Range",                 FIXED | NO_TRAIL)                          \
    X(CACHE_CONTROL,        "Cache-Control",         FIXED | NO_TRAIL)                          \
    X(VARY,                 "Vary",                  FIXED | NO_TRAIL)                          \
    X(LOCATION,             "Location",              FIXED | NO_TRAIL)                          \
    X(RETRY_AFTER,          "Retry-After",           FIXED | NO_TRAIL)                          \
    X(DATE,                 "Date",                  FIXED | NO_TRAIL)                          \
    X(SERVER,               "Server",                FIXED | NO_TRAIL)                          \
    X(SERVER_TIMING,        "Server-Timing",         FIXED)                                     \
    X(CACHE_STATUS,         "Cache-Status",          FIXED | NO_TRAIL)                          \
    X(VIA,                  "Via",                   FIXED | NO_TRAIL)                          \
    X(FORWARDED,            "Forwarded",             FIXED | NO_TRAIL)                          \
    X(X_FORWARDED_FOR,      "X-Forwarded-For",       FIXED | NO_TRAIL)                          \
    X(X_FORWARDED_HOST,     "X-Forwarded-Host",      FIXED | NO_TRAIL)                          \
    X(X_FORWARDED_PROTO,    "X-Forwarded-Proto",     FIXED | NO_TRAIL)                          \
    X(X_FORWARDED_PORT,     "X-Forwarded-Port",      FIXED | NO_TRAIL)                          \
    X(X_REAL_IP,            "X-Real-Ip",             FIXED | NO_TRAIL)                          \
    X(X_REQUEST_ID,         "X-Request-Id",          FIXED | NO_TRAIL)                          \
    X(TRACEPARENT,          "traceparent",           FIXED | NO_TRAIL)                          \
    X(TRACESTATE,           "tracestate",            FIXED | NO_TRAIL)                          \
    X(PREFER,               "Prefer",                FIXED | NO_TRAIL)                          \
    X(PREFERENCE_APPLIED,   "Preference-Applied",    FIXED | NO_TRAIL)                          \
    X(IDEMPOTENCY_KEY,      "Idempotency-Key",       FIXED | NO_TRAIL)                          \
    X(HOB_DEADLINE,         "Hob-Deadline",          FIXED | NO_TRAIL)                          \
    X(HOB_INVOCATION_ID,    "Hob-Invocation-Id",     FIXED | NO_TRAIL)                          \
    X(HOB_HOPS,             "Hob-Hops",              FIXED | NO_TRAIL)                          \
    X(HOB_ATTEMPT,          "Hob-Attempt",           FIXED | NO_TRAIL)                          \
    X(HOB_CHECKPOINT,       "Hob-Checkpoint",        FIXED | NO_TRAIL)                          \
    X(HOB_CALLBACK,         "Hob-Callback",          ONCE | FIXED | NO_TRAIL)                   \
    X(KNATIVE_SERVING_TAG,  "Knative-Serving-Tag",   FIXED | NO_TRAIL)                          \
    X(KNATIVE_NAMESPACE,    "Knative-Serving-Namespace", FIXED | NO_TRAIL)                      \
    X(KNATIVE_REVISION,     "Knative-Serving-Revision", FIXED | NO_TRAIL)                       \
    X(KNATIVE_DEFAULT_ROUTE, "Knative-Serving-Default-Route", FIXED | NO_TRAIL)                 \
    X(K_NETWORK_PROBE,      "K-Network-Probe",       ONCE | FIXED | NO_TRAIL)                   \
    X(K_NETWORK_HASH,       "K-Network-Hash",        ONCE | FIXED | NO_TRAIL)                   \
    X(SEC_WEBSOCKET_KEY,    "Sec-WebSocket-Key",     FIXED | NO_TRAIL)                          \
    X(USER_AGENT,           "User-Agent",            FIXED | NO_TRAIL)                          \
    X(ACCEPT,               "Accept",                FIXED | NO_TRAIL)                          \
    X(ACCEPT_ENCODING,      "Accept-Encoding",       FIXED | NO_TRAIL)                          \
    X(GRPC_TIMEOUT,         "grpc-timeout",          FIXED | NO_TRAIL)
// clang-format on

enum http_field_id {
    HTTP_FIELD_OTHER,
#define X(id, name, flags) HTTP_FIELD_##id,
    HTTP_FIELDS(X)
#undef X
        HTTP_FIELD_IDS
};
_Static_assert(HTTP_FIELD_IDS <= 64, "sets of field ids are 64-bit masks");

/* ASCII case does not matter. *ret_imitates: the name is not a listed one but is taken for it by some:
 * it becomes it in a CGI-style environment (Content_Length), or only begins like a framing one
 * (Transfer-Encodingx). That is how framing slips past a gateway. */
enum http_field_id http_field_find(struct str name, bool *ret_imitates);
const char *http_field_name(enum http_field_id id); /* not for _OTHER */
unsigned http_field_flags(enum http_field_id id);   /* HTTP_FIELD_ONCE | …; 0 for _OTHER */

/* Classes of bytes, one bit each in http_bytes[]. */
enum {
    HTTP_BYTE_TOKEN = 1,  /* RFC 9110 tchar */
    HTTP_BYTE_METHOD = 2, /* A-Z 0-9 - _ */
    HTTP_BYTE_TARGET = 4, /* visible ASCII but " # < > \ */
    HTTP_BYTE_HOST = 8,   /* letters digits . - _ */
    HTTP_BYTE_HEX = 16,
    HTTP_BYTE_VALUE = 32, /* visible, space, tab, 0x80 and up */
};
extern const uint8_t http_bytes[256];
static inline bool http_byte_is(char c, unsigned classes)
{
    return (http_bytes[(uint8_t)c] & classes) != 0;
}
bool http_is_token(struct str s); /* not empty, tchar only */

/* "Not Found"; "Unknown" for what no RFC names. Never NULL. */
const char *http_status_text(int status);

/* The next element of a comma-separated list, trimmed; empty elements are passed over. False at
 * the end. Quoted strings may hold commas. */
bool http_list_next(struct str *rest, struct str *ret);
