/* Every requirement that was read lies inside the text, has a key, and no match reads past it; a
 * selector of one requirement and its opposite never agree. */
#include "api/selector.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);

static void inside(struct str part, struct str whole)
{
    ASSERT(part.at >= whole.at && part.at + part.size <= whole.at + whole.size);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    static const enum selector_op opposite[] = { [SELECTOR_IN] = SELECTOR_NOT_IN,
                                                 [SELECTOR_NOT_IN] = SELECTOR_IN,
                                                 [SELECTOR_EXISTS] = SELECTOR_ABSENT,
                                                 [SELECTOR_ABSENT] = SELECTOR_EXISTS };
    struct str text = { (const char *)in, size };
    struct selector s, one = { .count = 1 };
    struct err e = { 0 };
    if (selector_parse_labels(text, &s, &e) < 0) {
        ASSERT(e.code == CODE_INVALID && e.text[0]);
        return 0;
    }
    AUTO_JSON json_t *labels = json_pack("{s:s,s:s,s:s}", "a", "b", "c", "", "e", "f");
    for (uint32_t i = 0; i < s.count; i++) {
        inside(s.rows[i].key, text);
        ASSERT(s.rows[i].key.size > 0);
        for (uint32_t k = 0; k < s.rows[i].value_count; k++)
            inside(s.rows[i].values[k], text);
        one.rows[0] = s.rows[i];
        bool is = selector_labels_match(&one, labels);
        one.rows[0].op = opposite[s.rows[i].op];
        ASSERT(selector_labels_match(&one, labels) != is);
    }
    return 0;
}
