#include "api/access.h"
#include "tap.h"

static const struct str token = STR("0123456789abcdef0123456789abcdef");

struct access_case {
    bool local, open;
    const char *path, *authorization;
    bool passes;
};
/* aG9iOj…: base64 of "hob:" and the token; aG9jOj…: of "hoc:". */
static const struct access_case cases[] = {
    { false, false, "/v1/models", NULL, false },
    { false, false, "/v1/models", "", false },
    { false, false, "/v1/models", "Bearer 0123456789abcdef0123456789abcdef", true },
    { false, false, "/v1/models", "bearer   0123456789abcdef0123456789abcdef ", true },
    { false, false, "/v1/models", "Bearer 0123456789abcdef0123456789abcdeF", false },
    { false, false, "/v1/models", "Bearer 1123456789abcdef0123456789abcdef", false },
    { false, false, "/v1/models", "Bearer 0123456789abcdef0123456789abcde", false },
    { false, false, "/v1/models", "Bearer 0123456789abcdef0123456789abcdef0", false },
    { false, false, "/v1/models", "Bearer", false },
    { false, false, "/v1/models", "0123456789abcdef0123456789abcdef", false },
    { false, false, "/v1/models", "Digest 0123456789abcdef0123456789abcdef", false },
    { false, false, "/v1/models", "Basic aG9iOjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVm", true },
    { false, false, "/v1/models", "Basic aG9jOjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVm", false },
    { false, false, "/v1/models", "Basic 0123456789abcdef0123456789abcdef", false },
    { false, false, "/healthz", NULL, true },
    { false, false, "/readyz", "Bearer wrong", true },
    { false, false, "/livez", NULL, true },
    { false, false, "/version", NULL, true },
    { false, false, "/version/", NULL, false },
    { false, false, "/metrics", NULL, false },
    { false, false, "/readyz/../apis", NULL, false },
    { false, false, "", NULL, false },
    { true, false, "/apis", NULL, true },
    { true, false, "/apis", "Bearer wrong", true },
    { false, true, "/apis", NULL, true },
};

TEST(only_the_token_opens_the_network_door)
{
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct access_case *c = &cases[i];
        struct access a;
        struct err e = { 0 };
        CHECK_EQ(access_init(&a, token, c->open, &e), 0);
        struct str given = c->authorization ? str_of(c->authorization) : (struct str){ NULL, 0 };
        int r = access_check(&a, c->local, str_of(c->path), given, &e);
        if (c->passes ? r != 0 : r != -CODE_UNAUTHENTICATED || !e.text[0])
            FAIL("case %zu: %s \"%s\": %d %s", i, c->path, c->authorization ? c->authorization : "-", r, e.text);
    }
}

TEST(basic_credentials_are_base64_whatever_the_length_leaves_over)
{
    static const struct {
        const char *token, *basic;
    } of[] = {
        { "0123456789abcdef0123456789abcdef01", "aG9iOjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVmMDE=" },
        { "0123456789abcdef0123456789abcdef0", "aG9iOjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVmMA==" },
        { "0123456789abcdef0123456789abcdef~~~", "aG9iOjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVmfn5+" },
    };
    for (size_t i = 0; i < COUNT_OF(of); i++) {
        struct access a;
        struct err e = { 0 };
        CHECK_EQ(access_init(&a, str_of(of[i].token), false, &e), 0);
        CHECK_STR(a.basic, of[i].basic);
    }
}

TEST(what_could_be_guessed_or_is_no_header_is_no_token)
{
    char long_one[ACCESS_TOKEN_MAX + 2];
    struct access a;
    struct err e = { 0 };
    memset(long_one, 'a', sizeof long_one);
    CHECK_EQ(access_init(&a, (struct str){ long_one, ACCESS_TOKEN_MAX }, false, &e), 0);
    CHECK_EQ(access_init(&a, (struct str){ long_one, ACCESS_TOKEN_MAX + 1 }, false, &e), -CODE_INVALID);
    CHECK_EQ(access_init(&a, (struct str){ long_one, ACCESS_TOKEN_MIN }, false, &e), 0);
    CHECK_EQ(access_init(&a, (struct str){ long_one, ACCESS_TOKEN_MIN - 1 }, false, &e), -CODE_INVALID);
    CHECK_EQ(access_init(&a, STR(""), false, &e), -CODE_INVALID);
    long_one[7] = '\0';
    CHECK_EQ(access_init(&a, (struct str){ long_one, ACCESS_TOKEN_MIN }, false, &e), -CODE_INVALID);
    long_one[7] = '\n';
    CHECK_EQ(access_init(&a, (struct str){ long_one, ACCESS_TOKEN_MIN }, false, &e), -CODE_INVALID);
    CHECK(strstr(e.text, "byte 8"));
}

TEST_MAIN()
