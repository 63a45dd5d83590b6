#include "net/http.h"

/* ---- bytes ------------------------------------------------------------------------------ */

// clang-format off
#define IN(c, low, high) ((c) >= (low) && (c) <= (high))
#define UPPER(c)  IN(c, 'A', 'Z')
#define DIGIT(c)  IN(c, '0', '9')
#define ALNUM(c)  (UPPER(c) || IN(c, 'a', 'z') || DIGIT(c))
#define TOKEN(c)  (ALNUM(c) || (c) == '!' || IN(c, '#', '\'') || (c) == '*' || (c) == '+' ||   \
                   (c) == '-' || (c) == '.' || IN(c, '^', '`') || (c) == '|' || (c) == '~')
#define METHOD(c) (UPPER(c) || DIGIT(c) || (c) == '-' || (c) == '_')
#define TARGET(c) (IN(c, 0x21, 0x7e) && (c) != '"' && (c) != '#' && (c) != '<' && (c) != '>' && \
                   (c) != '\\')
#define HOST(c)   (ALNUM(c) || (c) == '.' || (c) == '-' || (c) == '_')
#define HEX(c)    (DIGIT(c) || IN(c, 'a', 'f') || IN(c, 'A', 'F'))
#define VALUE(c)  ((c) == '\t' || ((c) >= 0x20 && (c) != 0x7f))
#define BYTE(c)                                                                                \
    (uint8_t)((TOKEN(c) ? HTTP_BYTE_TOKEN : 0) | (METHOD(c) ? HTTP_BYTE_METHOD : 0) |          \
              (TARGET(c) ? HTTP_BYTE_TARGET : 0) | (HOST(c) ? HTTP_BYTE_HOST : 0) |            \
              (HEX(c) ? HTTP_BYTE_HEX : 0) | (VALUE(c) ? HTTP_BYTE_VALUE : 0))
#define BYTES_4(c)  BYTE(c), BYTE((c) + 1), BYTE((c) + 2), BYTE((c) + 3)
#define BYTES_16(c) BYTES_4(c), BYTES_4((c) + 4), BYTES_4((c) + 8), BYTES_4((c) + 12)
#define BYTES_64(c) BYTES_16(c), BYTES_16((c) + 16), BYTES_16((c) + 32), BYTES_16((c) + 48)

const uint8_t http_bytes[256] = { BYTES_64(0), BYTES_64(64), BYTES_64(128), BYTES_64(192) };
// clang-format on

bool http_is_token(struct str s)
{
    for (size_t i = 0; i < s.size; i++)
        if (!http_byte_is(s.at[i], HTTP_BYTE_TOKEN))
            return false;
    return s.size > 0;
}

/* ---- methods ---------------------------------------------------------------------------- */

enum http_method http_method_find(struct str method)
{
    static const struct {
        struct str name;
        enum http_method id;
    } methods[] = {
        { STR("GET"), HTTP_GET },         { STR("POST"), HTTP_POST },
        { STR("PUT"), HTTP_PUT },         { STR("HEAD"), HTTP_HEAD },
        { STR("DELETE"), HTTP_DELETE },   { STR("PATCH"), HTTP_PATCH },
        { STR("OPTIONS"), HTTP_OPTIONS }, { STR("TRACE"), HTTP_TRACE },
        { STR("CONNECT"), HTTP_CONNECT },
    };
    for (size_t i = 0; i < COUNT_OF(methods); i++)
        if (str_eq(method, methods[i].name))
            return methods[i].id;
    return HTTP_METHOD_OTHER;
}

/* ---- fields ----------------------------------------------------------------------------- */

enum {
    ONCE = HTTP_FIELD_ONCE,
    HOP = HTTP_FIELD_HOP,
    FIXED = HTTP_FIELD_FIXED,
    NO_TRAIL = HTTP_FIELD_NO_TRAIL,
};

static const struct {
    const char *name;
    uint8_t size, flags;
} fields[HTTP_FIELD_IDS] = {
#define X(id, name, flags) [HTTP_FIELD_##id] = { name, sizeof(name) - 1, flags },
    HTTP_FIELDS(X)
#undef X
};

/* Candidates by the size of the name: two comparisons on average instead of forty. That none is
 * forgotten here is a unit test. 0, _OTHER, ends a row. */
enum { NAME_SIZE_MAX = 29, SAME_SIZE_MAX = 6 };
static const uint8_t fields_of_size[NAME_SIZE_MAX + 1][SAME_SIZE_MAX] = {
#define F(id) HTTP_FIELD_##id
    [2] = { F(TE) },
    [3] = { F(VIA) },
    [4] = { F(HOST), F(DATE), F(VARY) },
    [5] = { F(RANGE) },
    [6] = { F(ACCEPT), F(COOKIE), F(EXPECT), F(SERVER), F(PREFER) },
    [7] = { F(UPGRADE), F(TRAILER) },
    [8] = { F(LOCATION), F(HOB_HOPS) },
    [9] = { F(FORWARDED), F(X_REAL_IP) },
    [10] = { F(USER_AGENT), F(CONNECTION), F(KEEP_ALIVE), F(SET_COOKIE), F(TRACESTATE) },
    [11] = { F(TRACEPARENT), F(RETRY_AFTER), F(HOB_ATTEMPT) },
    [12] = { F(CONTENT_TYPE), F(X_REQUEST_ID), F(HOB_DEADLINE), F(CACHE_STATUS), F(GRPC_TIMEOUT), F(HOB_CALLBACK) },
    [13] = { F(AUTHORIZATION), F(CACHE_CONTROL), F(CONTENT_RANGE), F(SERVER_TIMING) },
    [14] = { F(CONTENT_LENGTH), F(HTTP2_SETTINGS), F(HOB_CHECKPOINT), F(K_NETWORK_HASH) },
    [15] = { F(ACCEPT_ENCODING), F(X_FORWARDED_FOR), F(IDEMPOTENCY_KEY), F(K_NETWORK_PROBE) },
    [16] = { F(CONTENT_ENCODING), F(X_FORWARDED_HOST), F(X_FORWARDED_PORT), F(PROXY_CONNECTION) },
    [17] = { F(TRANSFER_ENCODING), F(X_FORWARDED_PROTO), F(HOB_INVOCATION_ID),
             F(SEC_WEBSOCKET_KEY) },
    [18] = { F(PREFERENCE_APPLIED), F(PROXY_AUTHENTICATE) },
    [19] = { F(PROXY_AUTHORIZATION), F(KNATIVE_SERVING_TAG) },
    [24] = { F(KNATIVE_REVISION) },
    [25] = { F(KNATIVE_NAMESPACE) },
    [29] = { F(KNATIVE_DEFAULT_ROUTE) },
#undef F
};

static inline char fold(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c | 0x20);
    return c == '_' ? '-' : c;
}

static bool folds_to(struct str name, const char *listed)
{
    for (size_t i = 0; i < name.size; i++)
        if (fold(name.at[i]) != fold(listed[i]))
            return false;
    return true;
}

/* "Transfer-Encodingx": some parsers stop comparing where the known name ends. */
static bool starts_as_framing(struct str name)
{
    return (name.size > 14 && folds_to(str_head(name, 14), "content-length")) ||
           (name.size > 17 && folds_to(str_head(name, 17), "transfer-encoding"));
}

enum http_field_id http_field_find(struct str name, bool *ret_imitates)
{
    *ret_imitates = starts_as_framing(name);
    if (name.size > NAME_SIZE_MAX || name.size == 0)
        return HTTP_FIELD_OTHER;
    const uint8_t *row = fields_of_size[name.size];
    for (size_t i = 0; i < SAME_SIZE_MAX && row[i] != HTTP_FIELD_OTHER; i++) {
        if (folds_to(name, fields[row[i]].name)) {
            *ret_imitates = memchr(name.at, '_', name.size) != NULL;
            return (enum http_field_id)row[i];
        }
    }
    return HTTP_FIELD_OTHER;
}

const char *http_field_name(enum http_field_id id)
{
    ASSERT(id > HTTP_FIELD_OTHER && id < HTTP_FIELD_IDS);
    return fields[id].name;
}

unsigned http_field_flags(enum http_field_id id)
{
    ASSERT(id < HTTP_FIELD_IDS);
    return fields[id].flags;
}

/* ---- statuses and lists ----------------------------------------------------------------- */

const char *http_status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } texts[] = {
        { 200, "OK" },
        { 100, "Continue" },
        { 101, "Switching Protocols" },
        { 103, "Early Hints" },
        { 201, "Created" },
        { 202, "Accepted" },
        { 203, "Non-Authoritative Information" },
        { 204, "No Content" },
        { 205, "Reset Content" },
        { 206, "Partial Content" },
        { 300, "Multiple Choices" },
        { 301, "Moved Permanently" },
        { 302, "Found" },
        { 303, "See Other" },
        { 304, "Not Modified" },
        { 307, "Temporary Redirect" },
        { 308, "Permanent Redirect" },
        { 400, "Bad Request" },
        { 401, "Unauthorized" },
        { 402, "Payment Required" },
        { 403, "Forbidden" },
        { 404, "Not Found" },
        { 405, "Method Not Allowed" },
        { 406, "Not Acceptable" },
        { 407, "Proxy Authentication Required" },
        { 408, "Request Timeout" },
        { 409, "Conflict" },
        { 410, "Gone" },
        { 411, "Length Required" },
        { 412, "Precondition Failed" },
        { 413, "Content Too Large" },
        { 414, "URI Too Long" },
        { 415, "Unsupported Media Type" },
        { 416, "Range Not Satisfiable" },
        { 417, "Expectation Failed" },
        { 421, "Misdirected Request" },
        { 422, "Unprocessable Content" },
        { 425, "Too Early" },
        { 426, "Upgrade Required" },
        { 428, "Precondition Required" },
        { 429, "Too Many Requests" },
        { 431, "Request Header Fields Too Large" },
        { 499, "Client Closed Request" }, /* nginx's, for records; never sent */
        { 500, "Internal Server Error" },
        { 501, "Not Implemented" },
        { 502, "Bad Gateway" },
        { 503, "Service Unavailable" },
        { 504, "Gateway Timeout" },
        { 505, "HTTP Version Not Supported" },
        { 507, "Insufficient Storage" },
        { 508, "Loop Detected" },
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        if (texts[i].status == status)
            return texts[i].text;
    return "Unknown";
}

bool http_list_next(struct str *rest, struct str *ret)
{
    while (rest->size > 0) {
        size_t size = 0;
        bool quoted = false;
        for (; size < rest->size && (quoted || rest->at[size] != ','); size++) {
            if (rest->at[size] == '"')
                quoted = !quoted;
            else if (quoted && rest->at[size] == '\\' && size + 1 < rest->size)
                size++;
        }
        struct str item = str_trim(str_head(*rest, size));
        *rest = str_from(*rest, MIN(size + 1, rest->size));
        if (item.size > 0) {
            *ret = item;
            return true;
        }
    }
    return false;
}
