#include "telemetry/otlp_endpoint.h"

#include <stdio.h>

/* ---- the address ---- */

static bool plain(struct str s)
{
    for (size_t i = 0; i < s.size; i++)
        if (s.at[i] <= ' ' || s.at[i] >= 0x7f)
            return false;
    return true;
}

static int url_check(struct str url, struct err *e)
{
    struct str rest = url;
    bool https = str_starts(url, STR("https://"));
    if (!https && !str_starts(url, STR("http://")))
        return err_set(e, CODE_INVALID, "\"%.100s\": want http:// or https:// (OTLP over HTTP, often port 4318)", url.at);
    rest = str_from(rest, https ? 8 : 7);
    struct str host = str_cut(&rest, '/');
    if (host.size == 0 || !plain(url))
        return err_set(e, CODE_INVALID, "\"%.100s\": no host, or a byte that no URL has", url.at);
    if (memchr(host.at, '@', host.size))
        return err_set(e, CODE_INVALID, "a name or password in the URL: every user of this machine can read it; "
                                        "use OTEL_EXPORTER_OTLP_HEADERS");
    if (memchr(url.at, '#', url.size))
        return err_set(e, CODE_INVALID, "\"%.100s\": a URL with a fragment", url.at);
    return 0;
}

int otlp_endpoint_url(const char *base, bool whole, char into[OTLP_URL_MAX], struct err *e)
{
    struct str url = str_of(base);
    int r = url_check(url, e);
    if (r < 0)
        return r;
    if (!whole && memchr(url.at, '?', url.size))
        return err_set(e, CODE_INVALID, "\"%.100s\": /v1/traces is added to it, so it cannot have a query", base);
    while (!whole && url.at[url.size - 1] == '/')
        url.size--;
    int size = snprintf(into, OTLP_URL_MAX, STR_FMT "%s", STR_ARG(url), whole ? "" : "/v1/traces");
    return size < OTLP_URL_MAX ? 0 : err_set(e, CODE_INVALID, "longer than %d bytes", OTLP_URL_MAX - 1);
}

/* ---- headers ---- */

static bool name_good(struct str name)
{
    static const char other[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < name.size; i++) {
        char c = name.at[i], low = (char)(c | 0x20);
        if (!(low >= 'a' && low <= 'z') && !(c >= '0' && c <= '9') && (c == '\0' || !strchr(other, c)))
            return false;
    }
    return name.size > 0;
}

static int hex_value(char c)
{
    char low = (char)(c | 0x20);
    if (c >= '0' && c <= '9')
        return c - '0';
    return low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

/* False: a bad escape, or a byte that would end the line. */
static bool value_put(struct buf *into, struct str value)
{
    for (size_t i = 0; i < value.size; i++) {
        char c = value.at[i];
        if (c == '%') {
            bool whole = i + 2 < value.size;
            int high = whole ? hex_value(value.at[i + 1]) : -1, low = whole ? hex_value(value.at[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        }
        if ((unsigned char)c < ' ' || c == 0x7f)
            return false;
        buf_append(into, &c, 1);
    }
    return true;
}

int otlp_headers(const char *text, struct buf *into, struct err *e)
{
    struct str rest = str_of(text);
    for (unsigned nth = 1; rest.size > 0; nth++) {
        struct str member = str_trim(str_cut(&rest, ',')), value = member;
        if (member.size == 0)
            continue;
        struct str name = str_trim(str_cut(&value, '='));
        value = str_trim(value);
        if (!name_good(name) || !memchr(member.at, '=', member.size))
            return err_set(e, CODE_INVALID, "member %u: want name=value with a name that a header can have", nth);
        buf_str_append(into, name);
        buf_str_append(into, STR(": "));
        if (!value_put(into, value))
            return err_set(e, CODE_INVALID, "member %u: its value has a bad %%XX or a control byte", nth);
        buf_str_append(into, STR("\n"));
    }
    return into->overflow ? err_set(e, CODE_EXHAUSTED, "longer than %zu bytes", into->max) : 0;
}
