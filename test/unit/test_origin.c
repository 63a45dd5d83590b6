#include "artifact/origin.h"
#include "tap.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static const struct {
    const char *address;
    enum origin_kind kind;
} kinds[] = {
    { "8.8.8.8", ORIGIN_PUBLIC },          { "1.0.0.0", ORIGIN_PUBLIC },
    { "9.255.255.255", ORIGIN_PUBLIC },    { "10.0.0.0", ORIGIN_PRIVATE },
    { "10.255.255.255", ORIGIN_PRIVATE },  { "11.0.0.0", ORIGIN_PUBLIC },
    { "100.63.255.255", ORIGIN_PUBLIC },   { "100.64.0.0", ORIGIN_PRIVATE },
    { "100.127.255.255", ORIGIN_PRIVATE }, { "100.128.0.0", ORIGIN_PUBLIC },
    { "126.255.255.255", ORIGIN_PUBLIC },  { "127.0.0.1", ORIGIN_LOOPBACK },
    { "127.255.255.254", ORIGIN_LOOPBACK }, { "128.0.0.0", ORIGIN_PUBLIC },
    { "169.253.255.255", ORIGIN_PUBLIC },  { "169.254.169.254", ORIGIN_LINK_LOCAL },
    { "169.255.0.0", ORIGIN_PUBLIC },      { "172.15.255.255", ORIGIN_PUBLIC },
    { "172.16.0.0", ORIGIN_PRIVATE },      { "172.31.255.255", ORIGIN_PRIVATE },
    { "172.32.0.0", ORIGIN_PUBLIC },       { "192.167.255.255", ORIGIN_PUBLIC },
    { "192.168.0.1", ORIGIN_PRIVATE },     { "192.169.0.0", ORIGIN_PUBLIC },
    { "0.0.0.0", ORIGIN_RESERVED },        { "0.1.2.3", ORIGIN_RESERVED },
    { "192.0.2.7", ORIGIN_RESERVED },      { "198.19.0.1", ORIGIN_RESERVED },
    { "223.255.255.255", ORIGIN_PUBLIC },  { "224.0.0.1", ORIGIN_RESERVED },
    { "240.0.0.1", ORIGIN_RESERVED },      { "255.255.255.255", ORIGIN_RESERVED },
    { "::", ORIGIN_RESERVED },             { "::1", ORIGIN_LOOPBACK },
    { "::2", ORIGIN_RESERVED },            { "::127.0.0.1", ORIGIN_RESERVED },
    { "::ffff:127.0.0.1", ORIGIN_LOOPBACK }, { "::ffff:8.8.8.8", ORIGIN_PUBLIC },
    { "::ffff:169.254.169.254", ORIGIN_LINK_LOCAL },
    { "64:ff9b::7f00:1", ORIGIN_LOOPBACK }, { "64:ff9b::808:808", ORIGIN_PUBLIC },
    { "64:ff9b::a9fe:a9fe", ORIGIN_LINK_LOCAL }, { "64:ff9b:1::1", ORIGIN_PRIVATE },
    { "2002:7f00:1::", ORIGIN_LOOPBACK },  { "2002:a00:1::1", ORIGIN_PRIVATE },
    { "2002:808:808::1", ORIGIN_PUBLIC },  { "2001:0:7f00:1::", ORIGIN_RESERVED },
    { "2001:4860:4860::8888", ORIGIN_PUBLIC }, { "2001:db8::1", ORIGIN_RESERVED },
    { "3fff:ffff::1", ORIGIN_PUBLIC },     { "4000::1", ORIGIN_RESERVED },
    { "fbff::1", ORIGIN_RESERVED },        { "fc00::1", ORIGIN_PRIVATE },
    { "fdff::1", ORIGIN_PRIVATE },         { "fe80::1%eth0", ORIGIN_LINK_LOCAL },
    { "febf::1", ORIGIN_LINK_LOCAL },      { "fec0::1", ORIGIN_PRIVATE },
    { "ff02::1", ORIGIN_RESERVED },
};

TEST(every_address_is_of_one_kind_up_to_the_edges_of_its_network)
{
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        struct origin_address a;
        CHECK(origin_address_parse(kinds[i].address, &a));
        if (origin_kind_of(&a) != kinds[i].kind)
            FAIL("%s is %s, expected %s", kinds[i].address, origin_kind_name(origin_kind_of(&a)),
                 origin_kind_name(kinds[i].kind));
    }
    struct origin_address ignored;
    CHECK(!origin_address_parse("localhost", &ignored) && !origin_address_parse("", &ignored));
    CHECK(!origin_address_parse("127.1", &ignored)); /* inet_aton's forms are for others to read */
}

TEST(a_socket_address_is_what_its_text_is)
{
    struct origin_address from_text, from_socket;
    struct sockaddr_in v4 = { .sin_family = AF_INET };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
    struct sockaddr other = { .sa_family = AF_UNIX };
    CHECK(inet_pton(AF_INET, "172.16.5.6", &v4.sin_addr) == 1);
    CHECK(inet_pton(AF_INET6, "fd00::9", &v6.sin6_addr) == 1);
    CHECK(origin_address_of((struct sockaddr *)&v4, &from_socket));
    CHECK(origin_address_parse("172.16.5.6", &from_text));
    CHECK(memcmp(&from_text, &from_socket, sizeof from_text) == 0);
    CHECK(origin_address_of((struct sockaddr *)&v6, &from_socket));
    CHECK(origin_address_parse("fd00::9", &from_text));
    CHECK(memcmp(&from_text, &from_socket, sizeof from_text) == 0);
    CHECK(!origin_address_of(&other, &from_socket));
}

static const struct {
    const char *policy, *address;
    bool allowed;
} policies[] = {
    { "public", "8.8.8.8", true },
    { "public", "127.0.0.1", false },
    { "public", "10.0.0.1", false },
    { "public", "169.254.169.254", false },
    { "public", "224.0.0.1", false },
    { "loopback", "8.8.8.8", false },
    { " public , loopback ", "127.0.0.1", true },
    { ORIGIN_POLICY_DEFAULT, "10.0.0.1", true },
    { ORIGIN_POLICY_DEFAULT, "127.0.0.1", true },
    { ORIGIN_POLICY_DEFAULT, "169.254.169.254", false },
    { ORIGIN_POLICY_DEFAULT, "fe80::1", false },
    { ORIGIN_POLICY_DEFAULT, "0.0.0.0", false },
    { "link-local", "169.254.169.254", true },
    { "public,10.1.0.0/16", "10.1.255.255", true },
    { "public,10.1.0.0/16", "10.2.0.0", false },
    { "10.1.2.3", "10.1.2.3", true },
    { "10.1.2.3", "10.1.2.4", false },
    { "10.1.2.3", "::ffff:10.1.2.3", true },
    { "fd00:1::/36", "fd00:1:f00::1", true },
    { "fd00:1::/36", "fd00:1:1000::1", false },
    { "0.0.0.0/0", "127.0.0.1", true },
    { "0.0.0.0/0", "::1", false },
    { "::/0", "::1", true },
};

TEST(the_operator_says_by_kind_and_by_network)
{
    const struct origin_hop start = { 0 };
    for (size_t i = 0; i < COUNT_OF(policies); i++) {
        struct origin_policy p;
        struct origin_address a;
        struct err e;
        CHECK_EQ(origin_policy_parse(policies[i].policy, &p, &e), 0);
        CHECK(origin_address_parse(policies[i].address, &a));
        int r = origin_hop_check(&p, &start, &a, false, &e);
        if (r != (policies[i].allowed ? 0 : -CODE_DENIED))
            FAIL("%s with %s: %d", policies[i].address, policies[i].policy, r);
        if (r < 0)
            CHECK(strstr(e.text, "--model-origins") && strstr(e.text, "address"));
    }
}

TEST(what_is_no_list_of_origins_is_refused_and_named)
{
    static const char *const wrong[] = { "", "public,", "reserved", "everything", "10.0.0.0/33", "10.0.0.0/",
                                         "fd00::/129", "10.0.0/8", "localhost", "fe80::1%eth0", "10.0.0.0/-1" };
    struct origin_policy p = { .kinds = 77 };
    struct err e;
    char many[ORIGIN_NETS_MAX * 10 + 20] = "10.0.0.0";
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        CHECK_EQ(origin_policy_parse(wrong[i], &p, &e), -CODE_INVALID);
    for (int i = 0; i < ORIGIN_NETS_MAX; i++)
        strcat(many, ",10.0.0.1");
    CHECK_EQ(origin_policy_parse(many, &p, &e), -CODE_EXHAUSTED);
    CHECK_EQ(p.kinds, 77); /* untouched */
    many[strlen(many) - 9] = '\0';
    CHECK_EQ(origin_policy_parse(many, &p, &e), 0);
}

static const struct {
    enum origin_kind from;
    bool from_https;
    const char *to;
    bool to_https, allowed;
} hops[] = {
    { ORIGIN_PUBLIC, false, "8.8.8.8", false, true },
    { ORIGIN_PUBLIC, false, "8.8.8.8", true, true },
    { ORIGIN_PUBLIC, true, "8.8.8.8", true, true },
    { ORIGIN_PUBLIC, true, "8.8.8.8", false, false },
    { ORIGIN_PUBLIC, false, "127.0.0.1", false, false },
    { ORIGIN_PUBLIC, false, "::1", false, false },
    { ORIGIN_PUBLIC, false, "::ffff:127.0.0.1", false, false },
    { ORIGIN_PUBLIC, false, "10.0.0.1", false, false },
    { ORIGIN_PUBLIC, false, "fd00::1", false, false },
    { ORIGIN_PUBLIC, false, "169.254.169.254", false, false },
    { ORIGIN_PUBLIC, false, "224.0.0.1", false, false },
    { ORIGIN_PUBLIC, false, "0.0.0.0", false, false },
    { ORIGIN_PRIVATE, false, "10.0.0.1", false, true },
    { ORIGIN_PRIVATE, false, "8.8.8.8", false, true },
    { ORIGIN_PRIVATE, false, "127.0.0.1", false, false },
    { ORIGIN_PRIVATE, false, "169.254.169.254", false, false },
    { ORIGIN_LOOPBACK, false, "127.0.0.2", false, true },
    { ORIGIN_LOOPBACK, false, "8.8.8.8", false, true },
    { ORIGIN_LOOPBACK, false, "10.0.0.1", false, false },
    { ORIGIN_LOOPBACK, true, "127.0.0.2", false, false },
};

/* With everything allowed: it is the redirect that is refused. */
TEST(a_redirect_never_leads_inwards_nor_down_to_http)
{
    struct origin_policy p;
    struct err e;
    CHECK_EQ(origin_policy_parse("0.0.0.0/0,::/0", &p, &e), 0);
    for (size_t i = 0; i < COUNT_OF(hops); i++) {
        const struct origin_hop from = { .begun = true, .https = hops[i].from_https, .kind = hops[i].from };
        struct origin_address to;
        CHECK(origin_address_parse(hops[i].to, &to));
        int r = origin_hop_check(&p, &from, &to, hops[i].to_https, &e);
        if (r != (hops[i].allowed ? 0 : -CODE_DENIED))
            FAIL("row %zu, to %s: %d", i, hops[i].to, r);
        if (r < 0)
            CHECK(strstr(e.text, "redirected from"));
    }
}

TEST_MAIN()
