/* origin.h -- which addresses a model may come from, and where a redirect may lead.
 *
 * Receives what the operator allows (`hob serve --model-origins`), and every address that is about to be connected
 * to, after its name was resolved: so what a name resolved to earlier, or says next time, does not matter.
 * Owns nothing: plain values. Pure.
 * Refuses, with the reason: an address of a kind that is not allowed; a redirect that leads inwards, that is to
 * another address than a public one, unless it is of the kind the redirect came from; one from https to http.
 * Multicast, unspecified and reserved addresses are allowed only by a network that names them.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <sys/socket.h>

enum origin_kind {
    ORIGIN_PUBLIC,
    ORIGIN_PRIVATE,    /* RFC 1918, 4193, 6598: the operator's own network */
    ORIGIN_LOOPBACK,   /* this machine */
    ORIGIN_LINK_LOCAL, /* the metadata services of clouds, among others */
    ORIGIN_RESERVED,   /* no host is there, or nobody knows which */
};
const char *origin_kind_name(enum origin_kind k); /* "public", …, as the operator writes them */

struct origin_address {
    uint8_t at[16]; /* IPv4 as ::ffff:a.b.c.d */
};
/* False: neither IPv4 nor IPv6. */
bool origin_address_of(const struct sockaddr *a, struct origin_address *ret);
bool origin_address_parse(const char *text, struct origin_address *ret); /* "10.0.0.1", "fe80::1%3" */
/* An address that embeds an IPv4 address (mapped, NAT64, 6to4) is of that one's kind. */
enum origin_kind origin_kind_of(const struct origin_address *a);

enum { ORIGIN_NETS_MAX = 32 };
#define ORIGIN_POLICY_DEFAULT "public,private,loopback"
struct origin_policy {
    uint32_t kinds; /* bits of enum origin_kind */
    struct origin_net {
        struct origin_address base;
        uint8_t bits;
    } nets[ORIGIN_NETS_MAX];
    uint32_t net_count;
};
/* "public,10.1.0.0/16,fd00::5": kinds, networks and addresses. */
int origin_policy_parse(const char *text, struct origin_policy *ret, struct err *e) MUST_USE;

/* Where a download is: begun with the address that its reference names. */
struct origin_hop {
    bool begun, https;
    enum origin_kind kind;
};
/* May a request go from there to this address? `from` begun: as a redirect. CODE_DENIED: no, and why. */
int origin_hop_check(const struct origin_policy *p, const struct origin_hop *from,
                     const struct origin_address *to, bool https, struct err *e) MUST_USE;
