#include "api/list_version.h"
#include "tap.h"

static const struct {
    const char *version, *match, *token;
    enum list_version_verdict verdict;
    int64_t want;
    const char *says;
} cases[] = {
    { "", "", "", LIST_VERSION_NOW, 0, NULL },
    { "0", "", "", LIST_VERSION_NOW, 0, NULL },
    { "0", "", "page", LIST_VERSION_NOW, 0, NULL }, /* as kubectl wait asks for its second page */
    { "100", "", "", LIST_VERSION_NOW, 100, NULL },
    { "99", "NotOlderThan", "", LIST_VERSION_NOW, 99, NULL },
    { "0", "NotOlderThan", "", LIST_VERSION_NOW, 0, NULL },
    { "99", "Exact", "", LIST_VERSION_THEN, 99, NULL },
    { "100", "Exact", "", LIST_VERSION_THEN, 100, NULL },
    { "101", "", "", LIST_VERSION_AHEAD, 101, "Too large resource version: 101, current: 100" },
    { "101", "Exact", "", LIST_VERSION_AHEAD, 101, "Too large" },
    { "abc", "", "", LIST_VERSION_NONE, 0, "Invalid value: \"abc\"" },
    { "-1", "", "", LIST_VERSION_NONE, 0, "not a version" },
    { "9223372036854775808", "", "", LIST_VERSION_NONE, 0, "not a version" },
    { "99", "", "page", LIST_VERSION_NONE, 0, "not allowed when using continue" },
    { "", "Exact", "", LIST_VERSION_WRONG, 0, "unless resourceVersion is provided" },
    { "5", "Exact", "page", LIST_VERSION_WRONG, 0, "when continue is provided" },
    { "5", "Older", "", LIST_VERSION_WRONG, 0, "Unsupported value: \"Older\"" },
    { "0", "Exact", "", LIST_VERSION_WRONG, 0, "forbidden for resourceVersion \"0\"" },
};

TEST(what_a_list_has_to_be)
{
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct list_version asked = { str_of(cases[i].version), str_of(cases[i].match), str_of(cases[i].token), 100 };
        struct err e = { 0 };
        int64_t version = 0;
        CHECK_EQ(list_version_read(&asked, &version, &e), cases[i].verdict);
        if (cases[i].says)
            CHECK(strstr(e.text, cases[i].says));
        else
            CHECK_EQ(version, cases[i].want);
    }
}

TEST_MAIN()
