#include "codec/names.h"
#include "tap.h"

static const char long63[] = "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg";

typedef bool check_fn(struct str s, struct err *e);
static const struct {
    check_fn *check;
    const char *text;
    const char *error; /* a part of it; NULL: accepted */
    const char *why;
} cases[] = {
    { names_label, "a", NULL, "one letter" },
    { names_label, "1-a", NULL, "may begin with a digit" },
    { names_label, long63, NULL, "63 is the longest" },
    { names_label, "", "a lowercase RFC 1123 label must consist", "empty" },
    { names_label, "-a", "RFC 1123 label", "begins with a dash" },
    { names_label, "a-", "RFC 1123 label", "ends with a dash" },
    { names_label, "A", "RFC 1123 label", "upper case" },
    { names_label, "a.b", "RFC 1123 label", "a dot" },
    { names_label, "a_b", "RFC 1123 label", "an underscore" },
    { names_label, "a\xc3\xa9", "RFC 1123 label", "not ASCII" },
    { names_dns1035, "a-1", NULL, "letter first" },
    { names_dns1035, "1a", "a DNS-1035 label must consist of lower case", "digit first" },
    { names_dns1035, "a-", "DNS-1035", "ends with a dash" },
    { names_subdomain, "a.b-c.1", NULL, "several labels" },
    { names_subdomain, "", "RFC 1123 subdomain", "empty" },
    { names_subdomain, "a..b", "RFC 1123 subdomain", "an empty label" },
    { names_subdomain, ".a", "RFC 1123 subdomain", "a dot in front" },
    { names_subdomain, "a.", "RFC 1123 subdomain", "a dot behind" },
    { names_subdomain, "a.-b", "RFC 1123 subdomain", "a label with a dash in front" },
    { names_qualified, "name", NULL, "no prefix" },
    { names_qualified, "autoscaling.knative.dev/min-scale", NULL, "with prefix" },
    { names_qualified, "Ab_c.d-E", NULL, "all kinds of characters" },
    { names_qualified, "", "name part must be non-empty", "empty" },
    { names_qualified, "a/", "name part must be non-empty", "empty name" },
    { names_qualified, "/a", "prefix part must be non-empty", "empty prefix" },
    { names_qualified, "A/b", "prefix part a lowercase RFC 1123 subdomain", "bad prefix" },
    { names_qualified, "a/b/c", "a qualified name must consist", "two slashes" },
    { names_qualified, "a/b c", "name part must consist", "a space" },
    { names_qualified, "_a", "name part must consist", "an underscore in front" },
    { names_label_value, "", NULL, "empty is fine" },
    { names_label_value, "A_b.c-1", NULL, "all kinds of characters" },
    { names_label_value, "a b", "a valid label must be an empty string or", "a space" },
    { names_label_value, "-a", "a valid label", "a dash in front" },
    { names_env, "MY_VAR", NULL, "ordinary" },
    { names_env, "my.env-name", NULL, "dots and dashes" },
    { names_env, "_", NULL, "an underscore" },
    { names_env, "1A", "a valid environment variable name must consist", "digit first" },
    { names_env, "", "a valid environment variable name", "empty" },
    { names_env, "A=B", "a valid environment variable name", "an equals sign" },
    { names_env, ".", "must not be '.'", "this folder" },
    { names_env, "..", "must not be '..'", "the folder above" },
    { names_env, "..a", "must not start with '..'", "begins like it" },
};

TEST(names)
{
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct err e = { 0 };
        bool ok = cases[i].check(str_of(cases[i].text), &e);
        if (ok != !cases[i].error || (cases[i].error && !strstr(e.text, cases[i].error)))
            FAIL("'%s' (%s): %s '%s'", cases[i].text, cases[i].why, ok ? "accepted" : "refused",
                 e.text);
    }
}

TEST(a_name_has_a_longest_length)
{
    char text[300];
    struct err e = { 0 };
    memset(text, 'a', sizeof text);
    CHECK(!names_label((struct str){ text, 64 }, &e));
    CHECK_STR(e.text, "must be no more than 63 bytes");
    CHECK(!names_dns1035((struct str){ text, 64 }, &e));
    CHECK(!names_label_value((struct str){ text, 64 }, &e));
    CHECK(!names_qualified((struct str){ text, 64 }, &e));
    CHECK_STR(e.text, "name part must be no more than 63 bytes");
    CHECK(names_subdomain((struct str){ text, 253 }, &e));
    CHECK(!names_subdomain((struct str){ text, 254 }, &e));
    CHECK_STR(e.text, "must be no more than 253 bytes");
}

TEST(all_reasons_are_given_in_kubernetes_words)
{
    struct err e = { 0 };
    char text[64];
    memset(text, 'A', sizeof text);
    CHECK(!names_label((struct str){ text, 64 }, &e));
    CHECK_STR(e.text, "must be no more than 63 bytes; a lowercase RFC 1123 label must consist of lower "
                      "case alphanumeric characters or '-', and must start and end with an "
                      "alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for "
                      "validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')");
}

TEST_MAIN()
