#include "cli/warnings.h"

#include "cli/term.h"
#include "net/http1.h"

enum { TEXT_BYTES_MAX = 8192 };

/* `299 - "text"`, as what is between the quotes; at NULL: another form. */
static struct str quoted(struct str value)
{
    if (!str_starts(value, STR("299 ")) || value.size < 2 || value.at[value.size - 1] != '"')
        return (struct str){ NULL, 0 };
    const char *begin = memchr(value.at, '"', value.size - 1);
    return begin ? str_from(value, (size_t)(begin + 1 - value.at)) : (struct str){ NULL, 0 };
}

static void line_write(struct str text, struct buf *into)
{
    struct buf plain;
    buf_init(&plain, TEXT_BYTES_MAX);
    for (size_t i = 0; i < MIN(text.size - 1, TEXT_BYTES_MAX); i++) { /* the last is the quote */
        if (text.at[i] == '\\' && i + 2 < text.size)
            i++;
        buf_append(&plain, &text.at[i], 1);
    }
    buf_text(into, "Warning: ");
    term_clean_line(into, buf_str(&plain));
    buf_text(into, "\n");
    buf_done(&plain);
}

void warnings_read(struct str head, struct buf *into)
{
    while (head.size > 0) {
        struct str line = str_cut(&head, '\n'), text;
        struct http_field f;
        const char *why;
        if (line.size < 2 || !http1_field_line(str_head(line, line.size - 1), &f, &why) ||
            !str_eq_nocase(f.name, STR("Warning")))
            continue;
        text = quoted(f.value);
        if (text.at)
            line_write(text, into);
    }
}
