#include "cli/output.h"

enum output output_of(const struct cli *c, const char *format)
{
    static const struct {
        const char *name;
        enum output output;
    } rows[] = { { "table", OUTPUT_TABLE }, { "text", OUTPUT_TABLE },  { "wide", OUTPUT_WIDE },
                 { "json", OUTPUT_JSON },   { "jsonl", OUTPUT_JSONL }, { "yaml", OUTPUT_YAML },
                 { "name", OUTPUT_NAME } };
    if (!format)
        return c->global.json ? OUTPUT_JSON : OUTPUT_TABLE;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (strcmp(rows[i].name, format) == 0)
            return rows[i].output;
    UNREACHABLE("opt_parse checked the choice");
}

/* kubectl's: kind.group/name; what has no kind has an id or a digest. */
static void name_of(const json_t *j, struct buf *b)
{
    static const char *const ids[] = { "metadata.name", "name", "id", "digest" };
    const char *kind = json_text_at(j, "kind"), *version = json_text_at(j, "apiVersion");
    if (kind && version && json_text_at(j, "metadata.name")) {
        struct str group = str_of(version), rest = group;
        group = str_cut(&rest, '/');
        if (rest.size == 0) /* "v1": the core has no group */
            group.size = 0;
        for (const char *at = kind; *at; at++)
            buf_printf(b, "%c", *at >= 'A' && *at <= 'Z' ? *at | 0x20 : *at);
        buf_printf(b, "%s" STR_FMT "/", group.size ? "." : "", STR_ARG(group));
    }
    for (size_t i = 0; i < COUNT_OF(ids); i++)
        if (json_text_at(j, ids[i])) {
            buf_printf(b, "%s\n", json_text_at(j, ids[i]));
            return;
        }
}

static void one(struct cli *c, enum output o, const json_t *j)
{
    if (o == OUTPUT_NAME) {
        name_of(j, &c->out);
    } else {
        json_write(j, &c->out);
        buf_text(&c->out, "\n");
    }
}

void output_tree(struct cli *c, enum output o, const json_t *j)
{
    const json_t *items = json_at(j, "items");
    json_t *item;
    size_t i;
    switch (o) {
    case OUTPUT_YAML: yaml_write(j, &c->out); return;
    case OUTPUT_JSONL:
    case OUTPUT_NAME:
        if (!json_is_array(items)) {
            one(c, o, j);
            return;
        }
        json_array_foreach(items, i, item)
            one(c, o, item);
        return;
    case OUTPUT_JSON:
    case OUTPUT_TABLE:
    case OUTPUT_WIDE:
        json_write_pretty(j, &c->out);
        if (c->out.size && buf_at(&c->out)[c->out.size - 1] != '\n')
            buf_text(&c->out, "\n");
        return;
    }
}
