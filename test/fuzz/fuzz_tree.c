/* One folder, one text: what parses formats back to the same bytes. */
#include "artifact/tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    enum { FILES_MAX = 64 };
    AUTO(tree) struct tree t;
    struct err e = { 0 };
    struct buf text;
    tree_init(&t, FILES_MAX);
    if (tree_parse((struct str){ (const char *)in, size }, FILES_MAX, &t, &e) < 0) {
        ASSERT(t.count == 0 && e.code != CODE_OK);
        return 0;
    }
    buf_init(&text, tree_text_max(FILES_MAX));
    tree_format(&t, &text);
    ASSERT(!text.overflow && text.size == size && memcmp(buf_at(&text), in, size) == 0);
    for (size_t i = 0; i < t.count; i++)
        ASSERT(t.entries[i].path[0] != '/' && strstr(t.entries[i].path, "//") == NULL);
    buf_done(&text);
    return 0;
}
