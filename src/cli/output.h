/* output.h -- one tree in the format that -o names. */
#pragma once

#include "cli/cli.h"
#include "codec/json.h"

enum output { OUTPUT_TABLE, OUTPUT_WIDE, OUTPUT_JSON, OUTPUT_JSONL, OUTPUT_YAML, OUTPUT_NAME };

/* For option rows: the choices, and the row itself. */
#define OUTPUT_ALL  "table|wide|json|jsonl|yaml|name"
#define OUTPUT_DATA "table|json|jsonl|yaml"
#define OUTPUT_ONE  "text|json|yaml"
#define OUTPUT_ROW(type, formats) \
    { \
        "output", 'o', OPT_CHOICE, offsetof(type, output), "FORMAT", formats, formats, 0, 0, \
            OPT_COMPLETE_CHOICES \
    }

/* `--json` says the same as `-o json`; format NULL: a table. */
enum output output_of(const struct cli *c, const char *format);

/* Appends to c->out: json, jsonl, yaml or name. A list (an object with `items`) gives one line per
 * item for jsonl and name. */
void output_tree(struct cli *c, enum output o, const json_t *j);
