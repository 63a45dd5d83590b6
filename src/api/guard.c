#include "api/guard.h"

#include <arpa/inet.h>
#include <stdio.h>

/* Without the port, and without the brackets of an IPv6 address. */
static struct str host_of(struct str authority)
{
    size_t size = authority.size;
    while (size > 0 && authority.at[size - 1] >= '0' && authority.at[size - 1] <= '9')
        size--;
    if (size > 0 && authority.at[size - 1] == ':')
        authority.size = size - 1;
    if (authority.size >= 2 && authority.at[0] == '[' && authority.at[authority.size - 1] == ']')
        return (struct str){ authority.at + 1, authority.size - 2 };
    return authority;
}

/* localhost and what lies below it are resolved by the machine itself (RFC 6761). */
static bool is_localhost(struct str host)
{
    static const struct str name = STR("localhost");
    if (host.size < name.size)
        return false;
    size_t before = host.size - name.size;
    return str_eq_nocase((struct str){ host.at + before, name.size }, name) &&
           (before == 0 || (before > 1 && host.at[before - 1] == '.'));
}

static bool is_numeric(struct str host)
{
    struct in6_addr any;
    char text[INET6_ADDRSTRLEN];
    if (host.size >= sizeof text)
        return false;
    snprintf(text, sizeof text, STR_FMT, STR_ARG(host));
    return inet_pton(AF_INET, text, &any) == 1 || inet_pton(AF_INET6, text, &any) == 1;
}

static bool is_loopback(const char *listen)
{
    return str_starts(str_of(listen), STR("127.")) || str_starts(str_of(listen), STR("[::1]"));
}

/* "http://" and the authority that the browser sends as Host. */
static bool is_own_origin(struct str origin, struct str host)
{
    static const struct str schemes[] = { STR("http://"), STR("https://") };
    for (size_t i = 0; i < COUNT_OF(schemes); i++)
        if (str_starts(origin, schemes[i]) && host.size > 0 &&
            str_eq_nocase((struct str){ origin.at + schemes[i].size, origin.size - schemes[i].size }, host))
            return true;
    return false;
}

int guard_check(struct str host, struct str origin, const char *listen, struct err *e)
{
    struct str name = host_of(host);
    if (origin.at && !is_own_origin(origin, host))
        return err_set(e, CODE_DENIED,
                       "the request comes from a web page of another site (its Origin is \"%.*s\"); the API "
                       "answers only pages of its own address",
                       (int)MIN(origin.size, (size_t)100), origin.at);
    if (host.at && is_loopback(listen) && !is_numeric(name) && !is_localhost(name))
        return err_set(e, CODE_DENIED,
                       "the Host \"%.*s\" is neither localhost nor a numeric address; the API listens on %s "
                       "only, and a foreign name that leads here may be a web page's trick",
                       (int)MIN(host.size, (size_t)100), host.at, listen);
    return 0;
}
