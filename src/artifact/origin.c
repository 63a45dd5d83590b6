#include "artifact/origin.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static const char *const names[] = { [ORIGIN_PUBLIC] = "public",
                                     [ORIGIN_PRIVATE] = "private",
                                     [ORIGIN_LOOPBACK] = "loopback",
                                     [ORIGIN_LINK_LOCAL] = "link-local",
                                     [ORIGIN_RESERVED] = "reserved" };

/* IANA's special-purpose registries; the first that fits. */
static const struct {
    const char *net;
    enum origin_kind kind;
} special[] = {
    { "0.0.0.0/8", ORIGIN_RESERVED }, /* Linux takes 0.0.0.0 for itself */
    { "10.0.0.0/8", ORIGIN_PRIVATE },
    { "100.64.0.0/10", ORIGIN_PRIVATE },
    { "127.0.0.0/8", ORIGIN_LOOPBACK },
    { "169.254.0.0/16", ORIGIN_LINK_LOCAL },
    { "172.16.0.0/12", ORIGIN_PRIVATE },
    { "192.0.0.0/24", ORIGIN_RESERVED },
    { "192.0.2.0/24", ORIGIN_RESERVED },
    { "192.88.99.0/24", ORIGIN_RESERVED },
    { "192.168.0.0/16", ORIGIN_PRIVATE },
    { "198.18.0.0/15", ORIGIN_RESERVED },
    { "198.51.100.0/24", ORIGIN_RESERVED },
    { "203.0.113.0/24", ORIGIN_RESERVED },
    { "224.0.0.0/3", ORIGIN_RESERVED }, /* multicast, reserved, broadcast */
    { "0.0.0.0/0", ORIGIN_PUBLIC },
    { "::1/128", ORIGIN_LOOPBACK },
    { "64:ff9b:1::/48", ORIGIN_PRIVATE },
    { "2001::/23", ORIGIN_RESERVED }, /* Teredo among them, which hides the address it leads to */
    { "2001:db8::/32", ORIGIN_RESERVED },
    { "2000::/3", ORIGIN_PUBLIC },
    { "fc00::/7", ORIGIN_PRIVATE },
    { "fe80::/10", ORIGIN_LINK_LOCAL },
    { "fec0::/10", ORIGIN_PRIVATE },
    { "::/0", ORIGIN_RESERVED },
};

/* Networks whose addresses carry an IPv4 address, and where in them. */
static const struct {
    const char *net;
    size_t offset;
} carriers[] = { { "64:ff9b::/96", 12 }, { "2002::/16", 2 } };

const char *origin_kind_name(enum origin_kind k)
{
    ASSERT(k < COUNT_OF(names));
    return names[k];
}

/* ---- addresses and networks ---- */

static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

static void map_v4(const void *v4, struct origin_address *ret)
{
    memcpy(ret->at, mapped, sizeof mapped);
    memcpy(ret->at + sizeof mapped, v4, 4);
}

static bool is_v4(const struct origin_address *a)
{
    return memcmp(a->at, mapped, sizeof mapped) == 0;
}

bool origin_address_of(const struct sockaddr *a, struct origin_address *ret)
{
    if (a->sa_family == AF_INET)
        map_v4(&((const struct sockaddr_in *)(const void *)a)->sin_addr, ret);
    else if (a->sa_family == AF_INET6)
        memcpy(ret->at, &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr, sizeof ret->at);
    else
        return false;
    return true;
}

bool origin_address_parse(const char *text, struct origin_address *ret)
{
    char plain[INET6_ADDRSTRLEN];
    struct in_addr v4;
    size_t size = strcspn(text, "%"); /* what follows names an interface */
    if (size >= sizeof plain)
        return false;
    memcpy(plain, text, size);
    plain[size] = '\0';
    if (inet_pton(AF_INET, plain, &v4) == 1) {
        map_v4(&v4, ret);
        return true;
    }
    return inet_pton(AF_INET6, plain, ret->at) == 1;
}

/* "10.0.0.0/8"; without a slash, one address. */
static bool net_parse(struct str text, struct origin_net *ret)
{
    char address[INET6_ADDRSTRLEN];
    struct str rest = text, base = str_cut(&rest, '/');
    bool whole = base.size == text.size;
    uint64_t bits = 0;
    if (base.size >= sizeof address || memchr(base.at, '%', base.size))
        return false;
    memcpy(address, base.at, base.size);
    address[base.size] = '\0';
    if (!origin_address_parse(address, &ret->base))
        return false;
    uint64_t width = is_v4(&ret->base) && !strchr(address, ':') ? 32 : 128;
    if (whole)
        bits = width;
    else if (!str_u64(rest, &bits) || bits > width)
        return false;
    ret->bits = (uint8_t)(bits + (128 - width));
    return true;
}

static bool in_net(const struct origin_net *n, const struct origin_address *a)
{
    size_t bytes = n->bits / 8;
    uint8_t mask = (uint8_t)(0xff00 >> (n->bits % 8));
    return memcmp(n->base.at, a->at, bytes) == 0 &&
           (n->bits % 8 == 0 || ((n->base.at[bytes] ^ a->at[bytes]) & mask) == 0);
}

static bool in_named(const char *net, const struct origin_address *a)
{
    struct origin_net n;
    bool good = net_parse(str_of(net), &n);
    ASSERT(good);
    return in_net(&n, a);
}

enum origin_kind origin_kind_of(const struct origin_address *a)
{
    for (size_t i = 0; i < COUNT_OF(carriers); i++) {
        struct origin_address carried;
        if (!in_named(carriers[i].net, a))
            continue;
        map_v4(a->at + carriers[i].offset, &carried);
        return origin_kind_of(&carried);
    }
    size_t i = 0;
    while (!in_named(special[i].net, a))
        i++; /* the last fits all */
    return special[i].kind;
}

/* ---- what is allowed ---- */

int origin_policy_parse(const char *text, struct origin_policy *ret, struct err *e)
{
    struct origin_policy p = { 0 };
    struct str rest = str_of(text);
    for (bool more = true; more;) {
        more = rest.size > 0 && memchr(rest.at, ',', rest.size);
        struct str word = str_trim(str_cut(&rest, ','));
        size_t k = 0;
        while (k < ORIGIN_RESERVED && !str_is(word, names[k]))
            k++;
        if (k < ORIGIN_RESERVED) {
            p.kinds |= 1u << k;
            continue;
        }
        if (p.net_count == ORIGIN_NETS_MAX)
            return err_set(e, CODE_EXHAUSTED, "model origins: more than %d networks", ORIGIN_NETS_MAX);
        if (!net_parse(word, &p.nets[p.net_count]))
            return err_set(e, CODE_INVALID,
                           "model origins: '" STR_FMT "' is neither public, private, loopback or link-local nor "
                           "an address or a network such as 10.1.0.0/16",
                           STR_ARG(word));
        p.net_count++;
    }
    *ret = p;
    return 0;
}

static bool allowed(const struct origin_policy *p, const struct origin_address *a)
{
    if (p->kinds & 1u << origin_kind_of(a))
        return true;
    for (uint32_t i = 0; i < p->net_count; i++)
        if (in_net(&p->nets[i], a))
            return true;
    return false;
}

static void address_text(const struct origin_address *a, char into[INET6_ADDRSTRLEN])
{
    if (is_v4(a))
        (void)inet_ntop(AF_INET, a->at + sizeof mapped, into, INET6_ADDRSTRLEN);
    else
        (void)inet_ntop(AF_INET6, a->at, into, INET6_ADDRSTRLEN);
}

int origin_hop_check(const struct origin_policy *p, const struct origin_hop *from,
                     const struct origin_address *to, bool https, struct err *e)
{
    enum origin_kind kind = origin_kind_of(to);
    char text[INET6_ADDRSTRLEN] = "";
    address_text(to, text);
    if (from->begun && from->https && !https)
        return err_set(e, CODE_DENIED, "redirected from https to http, to %s", text);
    if (from->begun && kind != ORIGIN_PUBLIC && kind != from->kind)
        return err_set(e, CODE_DENIED,
                       "redirected from a %s to a %s address, %s: a redirect leads to public addresses, or to "
                       "the kind it comes from",
                       origin_kind_name(from->kind), origin_kind_name(kind), text);
    if (!allowed(p, to))
        return err_set(e, CODE_DENIED,
                       "%s is a %s address, and this hob takes no models from there (hob serve "
                       "--model-origins)",
                       text, origin_kind_name(kind));
    return 0;
}
