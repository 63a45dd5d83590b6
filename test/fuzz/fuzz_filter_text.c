/* Whatever is taken makes a sound tree; and of a text and its negation never both hold. */
#include "workflow/filter_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);

static bool find(void *ctx, struct str name, enum journal_type *ret)
{
    (void)ctx;
    if (name.size != 1 || name.at[0] < 'a' || name.at[0] > 'g')
        return false;
    *ret = (enum journal_type)(name.at[0] - 'a');
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    static const struct journal_attribute attributes[] = {
        { .name = { "a", 1 }, .type = JOURNAL_KEYWORD, .text = { "x", 1 } },
        { .name = { "b", 1 }, .type = JOURNAL_TEXT, .text = { "x y", 3 } },
        { .name = { "c", 1 }, .type = JOURNAL_INT, .integer = 1 },
        { .name = { "g", 1 }, .type = JOURNAL_KEYWORDS, .text = { "x", 1 } },
    };
    static const struct journal_key key = { JOURNAL_WORKFLOW, { "n", 1 }, { "x", 1 }, { { 1 } } };
    static const struct journal_index row = { .status = 1, .type = { "t", 1 }, .close_ns = JOURNAL_NEVER,
                                              .attributes = attributes, .attribute_count = COUNT_OF(attributes) };
    struct limits limits;
    limits_default(&limits);
    struct filter_rules rules = { &limits, find, NULL, true, size % 2 == 0 };
    AUTO(filter) struct filter *f = NULL, *g = NULL;
    struct err e = { 0 };
    AUTO_FREE char *text = NULL;
    if (size > 4096)
        return 0;
    text = xasprintf("not(%.*s)", (int)size, (const char *)in);
    if (filter_text_parse((struct str){ (const char *)in, size }, &rules, &f, &e) < 0) {
        ASSERT(e.code == CODE_INVALID && strncmp(e.text, "invalid query: ", 15) == 0 && !f);
        return 0;
    }
    filter_check(f);
    bool holds = filter_matches(f, &key, &row);
    if (f->grouped || !f->root || memchr(in, 0, size))
        return 0;
    if (filter_text_parse(str_of(text), &rules, &g, &e) < 0)
        return 0; /* nothing but spaces, or one parenthesis too deep */
    filter_check(g);
    ASSERT(!(holds && filter_matches(g, &key, &row)));
    return 0;
}
