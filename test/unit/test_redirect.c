#include "instance/redirect.h"
#include "tap.h"

static const struct {
    const char *location, *target; /* target NULL: not followed */
    uint16_t port;
    bool tls;
} rows[] = {
    { "/other", "/other", 8080 },
    { "/other?x=1#top", "/other?x=1", 8080 },
    { "sibling", "/a/sibling", 8080 },
    { "?y=2", "/a/b?y=2", 8080 },
    { "dir/x:y", "/a/dir/x:y", 8080 },
    { "http://f-1:9000/p", "/p", 9000 },
    { "http://F-1/p", "/p", 80 },
    { "HTTP://localhost:8080", "/", 8080 },
    { "http://127.0.0.1:8080?q", "/?q", 8080 },
    { "//f-1:8080/p", "/p", 8080 },
    { "http://f-1:/p", "/p", 80 },
    { "https://f-1/p", "/p", 443, true },
    { "https://f-1:8443", "/", 8443, true },
    /* never out of the instance */
    { "http://example.com/", NULL, 0 },
    { "//example.com/", NULL, 0 },
    { "http://f-1@example.com/", NULL, 0 },
    { "http://f-1:80@example.com/", NULL, 0 },
    { "http://127.0.0.1.example.com/", NULL, 0 },
    { "ftp://f-1/p", NULL, 0 },
    { "mailto:x", NULL, 0 },
    { "http:/p", NULL, 0 },
    /* nothing that could end a request line */
    { "/a b", NULL, 0 },
    { "/a\x01", NULL, 0 },
    { "/\xc3\xa4", NULL, 0 },
    { "http://f-1:0/p", NULL, 0 },
    { "http://f-1:65536/p", NULL, 0 },
    { "http://f-1:8x/p", NULL, 0 },
    { "", NULL, 0 },
};

TEST(a_redirect_is_followed_within_the_instance_and_nowhere_else)
{
    const struct redirect at = { 8080, "/a/b?x" };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct redirect next = { 1, "untouched" };
        printf("# %s\n", rows[i].location);
        bool followed = redirect_follow("f-1:8080", &at, str_of(rows[i].location), &next);
        CHECK_EQ(followed, rows[i].target != NULL);
        CHECK_STR(next.target, followed ? rows[i].target : "untouched");
        CHECK_EQ(next.port, followed ? rows[i].port : 1);
        CHECK_EQ(next.tls, rows[i].tls);
    }
}

TEST(a_target_that_does_not_fit_is_not_followed)
{
    static char huge[REDIRECT_TARGET_MAX + 1];
    const struct redirect at = { 8080, "/" };
    struct redirect next;
    memset(huge, 'x', sizeof huge - 1);
    huge[0] = '/';
    CHECK(!redirect_follow("f", &at, str_of(huge), &next));
    huge[REDIRECT_TARGET_MAX - 1] = '\0';
    CHECK(redirect_follow("f", &at, str_of(huge), &next));
}

TEST_MAIN()
