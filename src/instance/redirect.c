#include "instance/redirect.h"

#include <stdio.h>

static struct str host_only(struct str authority)
{
    struct str rest = authority;
    if (authority.size > 0 && authority.at[0] == '[') {
        struct str head = str_cut(&rest, ']');
        return (struct str){ head.at, MIN(head.size + 1, authority.size) };
    }
    return str_cut(&rest, ':');
}

static bool is_same_host(struct str a, const char *host)
{
    static const char *const local[] = { "localhost", "127.0.0.1" };
    if (str_eq_nocase(a, host_only(str_of(host))))
        return true;
    for (size_t i = 0; i < COUNT_OF(local); i++)
        if (str_eq_nocase(a, str_of(local[i])))
            return true;
    return false;
}

/* What a request line can carry: no blank, no control, no fragment. */
static bool target_put(struct redirect *r, struct str head, struct str tail)
{
    struct str pieces[] = { head, tail };
    size_t used = 0;
    for (size_t k = 0; k < COUNT_OF(pieces); k++)
        for (size_t i = 0; i < pieces[k].size && pieces[k].at[i] != '#'; i++) {
            unsigned char c = (unsigned char)pieces[k].at[i];
            if (c <= ' ' || c >= 0x7f || used + 1 >= sizeof r->target)
                return false;
            r->target[used++] = (char)c;
        }
    r->target[used] = '\0';
    return used > 0 && r->target[0] == '/';
}

/* "//host:port/path?query" */
static bool absolute(const char *host, struct str rest, bool tls, struct redirect *r)
{
    size_t end = 0;
    uint64_t number = tls ? 443 : 80;
    r->tls = tls;
    while (end < rest.size && !strchr("/?#", rest.at[end]))
        end++;
    struct str authority = str_head(rest, end), path = str_from(rest, end);
    struct str name = host_only(authority);
    struct str after = str_from(authority, name.size);
    if (!is_same_host(name, host))
        return false;
    if (after.size > 1 && (after.at[0] != ':' || !str_u64(str_from(after, 1), &number)))
        return false;
    if (number == 0 || number > UINT16_MAX)
        return false;
    r->port = (uint16_t)number;
    bool rooted = path.size > 0 && path.at[0] == '/';
    return target_put(r, rooted ? STR("") : STR("/"), path);
}

bool redirect_follow(const char *host, const struct redirect *at, struct str location,
                     struct redirect *ret)
{
    struct redirect r = { .port = at->port, .tls = at->tls };
    struct str here = str_of(at->target), rest = location;
    struct str path = str_cut(&here, '?'), scheme = str_cut(&rest, ':');
    bool followed = false;
    if (location.size == 0)
        return false;
    if (str_starts(location, STR("//")))
        followed = absolute(host, str_from(location, 2), at->tls, &r);
    else if (location.at[0] == '/')
        followed = target_put(&r, location, STR(""));
    else if (location.at[0] == '?')
        followed = target_put(&r, path, location);
    else if ((str_eq_nocase(scheme, STR("http")) || str_eq_nocase(scheme, STR("https"))) && str_starts(rest, STR("//")))
        followed = absolute(host, str_from(rest, 2), scheme.size == 5, &r);
    else if (scheme.size == location.size || memchr(scheme.at, '/', scheme.size)) {
        while (path.size > 0 && path.at[path.size - 1] != '/') /* beside what was asked for */
            path.size--;
        followed = target_put(&r, path, location);
    }
    if (followed)
        *ret = r;
    return followed;
}
