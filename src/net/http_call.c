#include "net/http_server_impl.h"

#include "net/url.h"

#include <stdlib.h>
#include <sys/socket.h>

struct str http_call_method(const struct http_call *c) { return c->head.method; }
struct str http_call_path(const struct http_call *c) { return c->head.path; }
struct str http_call_body(const struct http_call *c) { return buf_str(&c->content); }

bool http_call_user(const struct http_call *c, uint32_t *ret_uid)
{
    struct ucred who;
    struct sockaddr_storage own = { 0 };
    socklen_t size = sizeof own, who_size = sizeof who;
    if (c->io.fd < 0 || getsockname(c->io.fd, (struct sockaddr *)&own, &size) < 0 || own.ss_family != AF_UNIX ||
        getsockopt(c->io.fd, SOL_SOCKET, SO_PEERCRED, &who, &who_size) < 0)
        return false;
    *ret_uid = who.uid;
    return true;
}

struct str http_call_header(const struct http_call *c, const char *name)
{
    return http1_field_named(&c->head, str_of(name));
}

/* Splits the query and decodes it where it stands, once. A pair that cannot be decoded is absent. */
static void params_make(struct http_call *c)
{
    struct str rest = c->head.query;
    size_t most = 1;
    for (size_t i = 0; i < rest.size; i++)
        most += rest.at[i] == '&';
    c->query = xstrndup(rest.at ? rest.at : "", rest.size);
    c->params = xcalloc(most, sizeof *c->params);
    c->param_count = 0;
    rest = (struct str){ c->query, rest.size };
    while (rest.size > 0) {
        struct str value = str_cut(&rest, '&');
        struct str name = str_cut(&value, '=');
        struct param p = { name, value };
        /* Both lie in c->query, which is ours to write; str only borrows as const. */
        char *name_at = c->query + (name.at - c->query),
             *value_at = c->query + (value.at - c->query);
        if (name.size > 0 && url_decode_query(name, name_at, &p.name.size) &&
            url_decode_query(value, value_at, &p.value.size))
            c->params[c->param_count++] = p;
    }
}

struct str http_call_param(struct http_call *c, const char *name)
{
    if (!c->query)
        params_make(c);
    for (size_t i = 0; i < c->param_count; i++)
        if (str_is(c->params[i].name, name))
            return c->params[i].value;
    return (struct str){ NULL, 0 };
}

uint32_t http_call_segments(const struct http_call *c)
{
    uint32_t count = 0;
    for (size_t i = 0; i < c->head.path.size; i++)
        count += c->head.path.at[i] == '/';
    return c->head.path.size > 1 ? count : 0;
}

bool http_call_segment(const struct http_call *c, uint32_t index, char *into, size_t size)
{
    struct str rest = c->head.path;
    if (index >= http_call_segments(c))
        return false;
    (void)str_cut(&rest, '/');
    for (uint32_t i = 0; i < index; i++)
        (void)str_cut(&rest, '/');
    return url_decode_segment(str_cut(&rest, '/'), into, size);
}
