#include "cli/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct table_cell {
    char *text;
    enum style style;
};
enum { CELL_BYTES_MAX = 4096 };

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

void table_cell(struct table *t, enum style s, const char *fmt, ...)
{
    char text[CELL_BYTES_MAX];
    struct buf clean;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    buf_init(&clean, CELL_BYTES_MAX);
    term_clean(&clean, str_of(text), false);
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

void table_write(const struct table *t, const struct term *term, struct buf *into)
{
    uint32_t widths[TABLE_COLUMNS_MAX];
    size_t last = 0;

    ASSERT(t->cell_count % t->column_count == 0);
    for (size_t c = 0; c < t->column_count; c++) {
        widths[c] = term_columns(str_of(t->columns[c].header));
        for (size_t i = c; i < t->cell_count; i += t->column_count)
            widths[c] = MAX(widths[c], term_columns(str_of(t->cells[i].text)));
        if (t->wide || !t->columns[c].wide)
            last = c;
    }
    for (size_t i = 0; i < t->cell_count + t->column_count; i++) {
        size_t c = i % t->column_count;
        const struct table_column *column = &t->columns[c];
        if (t->wide || !column->wide) {
            const struct table_cell *cell =
                i < t->column_count ? NULL : &t->cells[i - t->column_count];
            put(into, term, cell ? cell->text : column->header, cell ? cell->style : STYLE_DIM,
                widths[c], column->right, c == last);
        }
        if (c + 1 == t->column_count)
            buf_text(into, "\n");
    }
}
