#include "serving/expand.h"

void expand_text(const char *text, expand_find *find, const void *ctx, struct buf *into)
{
    while (*text) {
        const char *dollar = strchr(text, '$');
        if (!dollar) {
            buf_text(into, text);
            return;
        }
        buf_append(into, text, (size_t)(dollar - text));
        const char *end = dollar[1] == '(' ? strchr(dollar, ')') : NULL;
        if (dollar[1] == '$') {
            buf_text(into, "$");
            text = dollar + 2;
        } else if (!end) {
            buf_text(into, "$");
            text = dollar + 1;
        } else {
            const char *value = find(ctx, (struct str){ dollar + 2, (size_t)(end - dollar - 2) });
            if (value)
                buf_text(into, value);
            else
                buf_append(into, dollar, (size_t)(end + 1 - dollar));
            text = end + 1;
        }
    }
}
