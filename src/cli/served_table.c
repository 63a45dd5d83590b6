#include "cli/served_table.h"

#include "cli/objects.h"
#include "cli/table.h"

#include <ctype.h>
#include <stdio.h>

enum { HEADER_SIZE = 64 };

struct heads {
    struct table_column columns[TABLE_COLUMNS_MAX];
    char texts[TABLE_COLUMNS_MAX][HEADER_SIZE];
    size_t count; /* with the namespace in front */
};

static void heads_read(const json_t *table, bool namespaces, struct heads *h)
{
    json_t *one;
    size_t i;
    h->columns[0] = (struct table_column){ .header = "NAMESPACE", .wide = !namespaces };
    h->count = 1;
    json_array_foreach(json_at(table, "columnDefinitions"), i, one) {
        if (h->count == TABLE_COLUMNS_MAX)
            return;
        char *text = h->texts[h->count];
        snprintf(text, HEADER_SIZE, "%s", object_text(one, "name"));
        for (char *at = text; *at; at++)
            *at = (char)toupper((unsigned char)*at);
        h->columns[h->count++] = (struct table_column){
            .header = text, .wide = json_int_at(one, "priority", 0) > 0,
            .right = strcmp(object_text(one, "type"), "integer") == 0 };
    }
}

static void cell(struct table *t, const json_t *value, size_t column)
{
    enum style s = column == 1 ? STYLE_BOLD : STYLE_PLAIN;
    if (json_is_string(value))
        table_cell(t, s, "%s", json_string_value(value));
    else if (json_is_integer(value))
        table_cell(t, s, "%lld", (long long)json_integer_value(value));
    else if (json_is_boolean(value))
        table_cell(t, s, "%s", json_is_true(value) ? "true" : "false");
    else
        table_cell(t, s, "%s", "");
}

static void rows_add(struct table *t, const json_t *table, bool namespaces, size_t columns)
{
    json_t *row;
    size_t i;
    json_array_foreach(json_at(table, "rows"), i, row) {
        if (namespaces)
            table_cell(t, STYLE_PLAIN, "%s", object_text(row, "object.metadata.namespace"));
        for (size_t k = 1; k < columns; k++)
            cell(t, json_array_get(json_at(row, "cells"), k - 1), k);
    }
}

bool served_table_show(struct cli *c, const json_t *tables, bool namespaces, bool wide)
{
    const json_t *list = json_at(tables, "items"), *first = list ? json_array_get(list, 0) : tables;
    struct heads heads;
    struct table t;
    json_t *one;
    size_t i;
    heads_read(first, namespaces, &heads);
    /* -o wide shows the hidden columns, but a namespace is none of them where there is none to show. */
    size_t skip = namespaces ? 0 : 1;
    table_init(&t, heads.columns + skip, heads.count - skip, wide);
    if (list) {
        json_array_foreach(list, i, one)
            rows_add(&t, one, namespaces, heads.count);
    } else {
        rows_add(&t, tables, namespaces, heads.count);
    }
    bool any = t.cell_count > 0;
    if (any)
        table_write(&t, &c->out_term, &c->out);
    table_done(&t);
    return any;
}
