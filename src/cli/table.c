#include "cli/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct table_cell {
    char *text;
    enum style style;
};
enum { CELL_BYTES_MAX = 4096, FOLD_COLUMNS_MIN = 24 };
#define SHORTENED " ..."

void table_init(struct table *t, const struct table_column *columns, size_t count, bool wide)
{
    ASSERT(count > 0 && count <= TABLE_COLUMNS_MAX);
    *t = (struct table){ .columns = columns, .column_count = count, .wide = wide };
}

void table_done(struct table *t)
{
    for (size_t i = 0; i < t->cell_count; i++)
        free(t->cells[i].text);
    free(t->cells);
    t->cells = NULL;
    t->cell_count = 0;
}

/* The cut may lie within a character: what is left of that one goes too. */
static void end_shortened(char *text, size_t size)
{
    size_t at = size - strlen(SHORTENED);
    while (at > 0 && ((uint8_t)text[at] & 0xc0) == 0x80)
        at--;
    memcpy(text + at, SHORTENED, sizeof SHORTENED);
}

void table_cell(struct table *t, enum style s, const char *fmt, ...)
{
    char text[CELL_BYTES_MAX];
    struct buf clean;
    va_list ap;
    va_start(ap, fmt);
    int size = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (size >= (int)sizeof text)
        end_shortened(text, sizeof text - 1);
    buf_init(&clean, 2 * CELL_BYTES_MAX);
    term_clean_line(&clean, str_of(text));
    if ((t->cell_count & (t->cell_count - 1)) == 0)
        t->cells = xrealloc(t->cells, MAX(t->cell_count * 2, 1), sizeof *t->cells);
    t->cells[t->cell_count++] = (struct table_cell){ buf_take_text(&clean), s };
}

static void put(struct buf *into, const struct term *term, const char *text, enum style s,
                uint32_t width, bool right, bool last)
{
    uint32_t columns = term_columns(str_of(text));
    int padding = (int)(width > columns ? width - columns : 0);
    if (right)
        buf_printf(into, "%*s", padding, "");
    buf_printf(into, "%s%s%s", term_style_on(term, s), text, term_style_off(term, s));
    if (!last)
        buf_printf(into, "%*s", (right ? 0 : padding) + 2, "");
}

/* The last column of a row, in as many lines as it needs, each beginning where the column does. */
static void put_folded(struct buf *into, const struct term *term, const char *text, enum style s,
                       uint32_t before, uint32_t width)
{
    struct str rest = str_of(text);
    do {
        struct str line = term_fit(rest, width);
        buf_printf(into, "%s" STR_FMT "%s", term_style_on(term, s), STR_ARG(line),
                   term_style_off(term, s));
        rest = str_trim(str_from(rest, line.size));
        if (rest.size)
            buf_printf(into, "\n%*s", (int)before, "");
    } while (rest.size);
}

/* What is left of the terminal's width behind the other columns; 0: nobody looks at a terminal, or too little
 * is left for words to stand in. */
static uint32_t fold_width(const struct table *t, const struct term *term, const uint32_t *widths,
                           size_t last, uint32_t *ret_before)
{
    uint32_t before = 0;
    for (size_t c = 0; c < last; c++)
        if (t->wide || !t->columns[c].wide)
            before += widths[c] + 2;
    *ret_before = before;
    if (!term->tty || t->columns[last].right || before + FOLD_COLUMNS_MIN > term->width)
        return 0;
    return term->width - before;
}

void table_write(const struct table *t, const struct term *term, struct buf *into)
{
    uint32_t widths[TABLE_COLUMNS_MAX];
    uint32_t before;
    size_t last = 0;

    ASSERT(t->cell_count % t->column_count == 0);
    for (size_t c = 0; c < t->column_count; c++) {
        widths[c] = term_columns(str_of(t->columns[c].header));
        for (size_t i = c; i < t->cell_count; i += t->column_count)
            widths[c] = MAX(widths[c], term_columns(str_of(t->cells[i].text)));
        if (t->wide || !t->columns[c].wide)
            last = c;
    }
    uint32_t fold = fold_width(t, term, widths, last, &before);
    for (size_t i = 0; i < t->cell_count + t->column_count; i++) {
        size_t c = i % t->column_count;
        const struct table_column *column = &t->columns[c];
        if (t->wide || !column->wide) {
            const struct table_cell *cell =
                i < t->column_count ? NULL : &t->cells[i - t->column_count];
            const char *text = cell ? cell->text : column->header;
            enum style s = cell ? cell->style : STYLE_DIM;
            if (c == last && fold)
                put_folded(into, term, text, s, before, fold);
            else
                put(into, term, text, s, widths[c], column->right, c == last);
        }
        if (c + 1 == t->column_count)
            buf_text(into, "\n");
    }
}
