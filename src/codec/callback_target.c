#include "codec/callback_target.h"

enum { HOSTS_MAX = 64 };

static bool scheme_cut(struct str *url)
{
    static const char *const schemes[] = { "http://", "https://" };
    for (size_t i = 0; i < COUNT_OF(schemes); i++)
        if (url->size >= strlen(schemes[i]) && str_eq_nocase(str_head(*url, strlen(schemes[i])), str_of(schemes[i]))) {
            *url = str_from(*url, strlen(schemes[i]));
            return true;
        }
    return false;
}

/* host or host:port of a URL; empty: it has none. */
static struct str authority_of(struct str url)
{
    if (!scheme_cut(&url))
        return str_head(url, 0);
    size_t end = 0;
    while (end < url.size && url.at[end] != '/' && url.at[end] != '?' && url.at[end] != '#')
        end++;
    return str_head(url, end);
}

static bool visible(struct str text)
{
    for (size_t i = 0; i < text.size; i++)
        if ((unsigned char)text.at[i] <= ' ' || (unsigned char)text.at[i] >= 0x7f)
            return false;
    return true;
}

static size_t last_colon(struct str authority)
{
    for (size_t i = authority.size; i > 0; i--) {
        if (authority.at[i - 1] == ']')
            break;
        if (authority.at[i - 1] == ':')
            return i - 1;
    }
    return authority.size;
}

static bool port_fits(struct str authority)
{
    size_t colon = last_colon(authority);
    uint64_t port;
    return colon == authority.size || (str_u64(str_from(authority, colon + 1), &port) && port > 0 && port <= 65535);
}

int callback_target_check(struct str url, struct err *e)
{
    struct str authority = authority_of(url);
    const char *why = NULL;
    if (url.size > CALLBACK_TARGET_MAX)
        why = "it is longer than 500 bytes";
    else if (!visible(url))
        why = "only visible ASCII characters can be sent: encode the others with %";
    else if (authority.size == 0 || last_colon(authority) == 0)
        why = "it is not a URL that begins with http:// or https:// and names a host";
    else if (memchr(authority.at, '@', authority.size))
        why = "user names and passwords do not belong into it: sign with hob.dev/callback-secret";
    else if (memchr(url.at, '#', url.size))
        why = "a fragment (#) is never sent";
    else if (!port_fits(authority))
        why = "its port is none";
    return why ? err_set(e, CODE_INVALID, "callback '%.*s': %s", (int)MIN(url.size, (size_t)100), url.at, why) : 0;
}

/* One of a list; the rest stays. False: the list is over. */
static bool host_cut(struct str *list, struct str *ret)
{
    while (list->size > 0) {
        *ret = str_trim(str_cut(list, ','));
        if (ret->size > 0)
            return true;
    }
    return false;
}

static bool host_matches(struct str want, struct str authority)
{
    struct str port = str_from(want, last_colon(want)), host = str_head(authority, last_colon(authority));
    want = str_head(want, last_colon(want));
    if (port.size > 0 && !str_eq(port, str_from(authority, host.size)))
        return false;
    if (str_is(want, "*"))
        return true;
    if (want.size < 3 || want.at[0] != '*')
        return str_eq_nocase(want, host);
    struct str tail = str_from(want, 1); /* with its dot: *.example.net is not example.net */
    return host.size > tail.size && str_eq_nocase(tail, str_from(host, host.size - tail.size));
}

int callback_target_allowed(struct str url, struct str hosts, struct err *e)
{
    struct str authority = authority_of(url), want;
    while (host_cut(&hosts, &want))
        if (host_matches(want, authority))
            return 0;
    return err_set(e, CODE_DENIED, "callback to '%.*s': this Service does not let clients name it; its annotation "
                                   "hob.dev/callback-hosts says which hosts they may",
                   (int)MIN(authority.size, (size_t)100), authority.at);
}

int callback_target_hosts(struct str hosts, struct err *e)
{
    struct str want;
    size_t count = 0;
    while (host_cut(&hosts, &want)) {
        bool star_inside = want.size > 1 && memchr(want.at + 1, '*', want.size - 1);
        bool star_alone = want.at[0] == '*' && last_colon(want) > 1 && want.at[1] != '.';
        if (++count > HOSTS_MAX || !visible(want) || star_inside || star_alone || memchr(want.at, '/', want.size) ||
            memchr(want.at, '@', want.size) || !port_fits(want))
            return err_set(e, CODE_INVALID, "'%.*s' is no host: write names like hooks.example.org, *.example.net or "
                                            "host:port, joined by commas (at most 64), or * for every one",
                           (int)MIN(want.size, (size_t)100), want.at);
    }
    return count > 0 ? 0 : err_set(e, CODE_INVALID, "it names no host");
}
