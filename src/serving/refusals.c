#include "serving/refusals.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void refusals_done(struct refusals *r)
{
    for (uint32_t i = 0; i < r->count; i++) {
        free(r->rows[i].message);
        free(r->rows[i].path);
        free(r->rows[i].details);
    }
    free(r->rows);
    *r = (struct refusals){ 0 };
}

void refusals_add(struct refusals *r, const char *path, const char *details, const char *fmt, ...)
{
    enum { MESSAGE_MAX = 1024 };
    char message[MESSAGE_MAX];
    va_list ap;
    if (r->count == REFUSALS_MAX) {
        r->dropped++;
        return;
    }
    va_start(ap, fmt);
    (void)vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    if (!r->rows)
        r->rows = xcalloc(REFUSALS_MAX, sizeof *r->rows);
    r->rows[r->count++] = (struct refusal_row){
        .message = xstrdup(message),
        .path = xstrdup(path),
        .details = details ? xstrdup(details) : NULL,
    };
}

struct refusal_path refusal_path(const char *fmt, ...)
{
    struct refusal_path path;
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(path.text, sizeof path.text, fmt, ap);
    va_end(ap);
    return path;
}

bool refusals_any(const struct refusals *r) { return r->count > 0; }

static int compare_line(const struct refusal_row *a, const struct refusal_row *b)
{
    int order = strcmp(a->message, b->message);
    return order ? order : strcmp(a->details ? a->details : "", b->details ? b->details : "");
}

static int compare(const void *left, const void *right)
{
    const struct refusal_row *a = left, *b = right;
    int order = compare_line(a, b);
    return order ? order : strcmp(a->path, b->path);
}

void refusals_text(struct refusals *r, struct buf *into)
{
    if (r->count > 1)
        qsort(r->rows, r->count, sizeof *r->rows, compare);
    for (uint32_t i = 0; i < r->count; i++) {
        const struct refusal_row *row = &r->rows[i], *last = i ? row - 1 : NULL;
        bool same_line = last && compare_line(last, row) == 0;
        if (same_line && strcmp(last->path, row->path) != 0)
            buf_printf(into, ", %s", row->path);
        else if (!same_line)
            buf_printf(into, "%s%s: %s", i ? "\n" : "", row->message, row->path);
        bool ends = i + 1 == r->count || compare_line(row, row + 1) != 0;
        if (ends && row->details)
            buf_printf(into, "\n%s", row->details);
    }
    if (r->dropped)
        buf_printf(into, "\nand %u more", r->dropped);
}
