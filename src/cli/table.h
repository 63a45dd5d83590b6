/* table.h -- aligned columns. Receives cells row by row (copied; one line each, cleaned of what
 * steers a terminal), emits text: headers, two blanks between columns, no blanks at the end of a line. On a
 * terminal a last column that is wider than what is left of it goes on below itself; elsewhere a row is a
 * line. Refuses more than TABLE_COLUMNS_MAX columns (ASSERT). */
#pragma once

#include "cli/term.h"

enum { TABLE_COLUMNS_MAX = 16 };

struct table_column {
    const char *header;
    bool right; /* aligned */
    bool wide;  /* only shown with -o wide */
};
struct table {
    const struct table_column *columns;
    size_t column_count;
    bool wide;
    struct table_cell *cells;
    size_t cell_count;
};

void table_init(struct table *t, const struct table_column *columns, size_t count, bool wide);
void table_done(struct table *t);
/* Cells come in column order, every one of each row, the hidden ones too. */
void table_cell(struct table *t, enum style s, const char *fmt, ...) PRINTF_LIKE(3, 4);
void table_write(const struct table *t, const struct term *term, struct buf *into);
