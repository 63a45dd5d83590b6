#include "artifact/ref.h"
#include "tap.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define PIN "@sha256:" HEX

static const struct {
    enum artifact_kind kind;
    const char *text, *origin, *hex, *why; /* origin NULL: must be refused */
} cases[] = {
    { ARTIFACT_MODEL, "https://host/a/b.bin" PIN, "https://host/a/b.bin", HEX, "the usual" },
    { ARTIFACT_MODEL, "http://127.0.0.1:8080/b" PIN, "http://127.0.0.1:8080/b", HEX, "port" },
    { ARTIFACT_MODEL, "http://[::1]:80/b" PIN, "http://[::1]:80/b", HEX, "IPv6" },
    { ARTIFACT_MODEL, "https://h/p?x=%20&y=1" PIN, "https://h/p?x=%20&y=1", HEX, "query" },
    { ARTIFACT_MODEL, "https://h/a@b" PIN, "https://h/a@b", HEX, "an @ in the path is a path" },
    { ARTIFACT_MODEL, "file:///srv/m.bin", "/srv/m.bin", "", "file without a pin" },
    { ARTIFACT_MODEL, "file:///srv/m.bin" PIN, "/srv/m.bin", HEX, "file with one" },
    { ARTIFACT_BUNDLE, "file:///srv/fn/", "/srv/fn", "", "one slash at the end is forgiven" },
    { ARTIFACT_BUNDLE, "file:///srv/a b/é", "/srv/a b/é", "", "spaces and UTF-8 in a path" },
    { ARTIFACT_BUNDLE, "file:///srv/fn" PIN, "/srv/fn", HEX, "pinned bundle" },

    { ARTIFACT_MODEL, "", NULL, NULL, "empty" },
    { ARTIFACT_MODEL, "https://host/a", NULL, NULL, "network without a pin" },
    { ARTIFACT_BUNDLE, "https://host/a" PIN, NULL, NULL, "a bundle over the network" },
    { ARTIFACT_MODEL, "https://host/a@sha256:abc", NULL, NULL, "short digest" },
    { ARTIFACT_MODEL, "https://host/a" PIN "0", NULL, NULL, "long digest" },
    { ARTIFACT_MODEL, "https://host/a@sha256:" "0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef",
      NULL, NULL, "upper case would be a second name for one thing" },
    { ARTIFACT_MODEL, "https://host/a" PIN "?x", NULL, NULL, "something behind the digest" },
    { ARTIFACT_MODEL, "https://user:pw@host/a" PIN, NULL, NULL, "credentials" },
    { ARTIFACT_MODEL, "https://@host/a" PIN, NULL, NULL, "empty credentials" },
    { ARTIFACT_MODEL, "https:///a" PIN, NULL, NULL, "no host" },
    { ARTIFACT_MODEL, "https://host" PIN, NULL, NULL, "no path" },
    { ARTIFACT_MODEL, "https://host/" PIN, NULL, NULL, "only the root" },
    { ARTIFACT_MODEL, "https://host:/a" PIN, NULL, NULL, "empty port" },
    { ARTIFACT_MODEL, "https://host:0/a" PIN, NULL, NULL, "port 0" },
    { ARTIFACT_MODEL, "https://host:65536/a" PIN, NULL, NULL, "port too large" },
    { ARTIFACT_MODEL, "https://host:+1/a" PIN, NULL, NULL, "port with a sign" },
    { ARTIFACT_MODEL, "https://[::1/a" PIN, NULL, NULL, "open bracket" },
    { ARTIFACT_MODEL, "https://[]/a" PIN, NULL, NULL, "empty bracket" },
    { ARTIFACT_MODEL, "https://ho st/a" PIN, NULL, NULL, "space in the host" },
    { ARTIFACT_MODEL, "https://host/a b" PIN, NULL, NULL, "space" },
    { ARTIFACT_MODEL, "https://host/a\r\nX: y" PIN, NULL, NULL, "header injection" },
    { ARTIFACT_MODEL, "https://host/a#f" PIN, NULL, NULL, "fragment" },
    { ARTIFACT_MODEL, "https://host\\@evil/a" PIN, NULL, NULL, "backslash" },
    { ARTIFACT_MODEL, "HTTPS://host/a" PIN, NULL, NULL, "scheme in capitals" },
    { ARTIFACT_MODEL, "ftp://host/a" PIN, NULL, NULL, "another scheme" },
    { ARTIFACT_MODEL, "/srv/m.bin", NULL, NULL, "no scheme" },
    { ARTIFACT_MODEL, "file://srv/m.bin", NULL, NULL, "a host in a file URL" },
    { ARTIFACT_MODEL, "file:///", NULL, NULL, "the root" },
    { ARTIFACT_MODEL, "file:////", NULL, NULL, "only slashes" },
    { ARTIFACT_MODEL, "file:///srv/../etc/shadow", NULL, NULL, ".." },
    { ARTIFACT_MODEL, "file:///srv/./m", NULL, NULL, "." },
    { ARTIFACT_MODEL, "file:///srv//m", NULL, NULL, "empty part" },
    { ARTIFACT_MODEL, "file:///srv/m//", NULL, NULL, "two slashes at the end" },
    { ARTIFACT_MODEL, "file:///srv/%2e%2e/m", NULL, NULL, "percent: would be decoded by some" },
    { ARTIFACT_MODEL, "file:///srv/m\n", NULL, NULL, "newline" },
};

TEST(references)
{
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct ref ref = { .origin = "untouched" };
        struct err e = { 0 };
        int r = ref_parse(cases[i].kind, cases[i].text, &ref, &e);
        if (cases[i].origin && (r != 0 || strcmp(ref.origin, cases[i].origin) != 0 ||
                                strcmp(ref.hex, cases[i].hex) != 0 || strcmp(ref.text, cases[i].text) != 0))
            FAIL("'%s' (%s): r=%d origin=%s hex=%s", cases[i].text, cases[i].why, r, ref.origin, ref.hex);
        if (!cases[i].origin && (r != -CODE_INVALID || strcmp(ref.origin, "untouched") != 0 ||
                                 strncmp(e.text, "reference", 9) != 0))
            FAIL("'%s' (%s): r=%d text=%s", cases[i].text, cases[i].why, r, e.text);
    }
}

TEST(a_reference_longer_than_what_can_be_shown_is_refused)
{
    char text[REF_BYTES_MAX + 2];
    struct ref ref;
    struct err e;
    memset(text, 'a', sizeof text);
    memcpy(text, "file:///", 8);
    text[sizeof text - 1] = '\0';
    CHECK_EQ(ref_parse(ARTIFACT_MODEL, text, &ref, &e), -CODE_INVALID);
    text[sizeof text - 2] = '\0';
    CHECK_EQ(ref_parse(ARTIFACT_MODEL, text, &ref, &e), 0);
}

TEST_MAIN()
