/* help.h -- the pages made from the command table: `-h`, the overview, docs/reference/cli.md and hob(1).
 * Pure: rows in, text out. */
#pragma once

#include "cli/cli.h"

void help_overview(const struct term *t, struct buf *into);
void help_command(const struct cli_command *command, const struct term *t, struct buf *into);
void help_markdown(struct buf *into); /* docs/reference/cli.md */
void help_manual(struct buf *b); /* hob(1), as roff */

extern const struct help_variable { /* of the environment */
    const char *name, *what;
} help_variables[];
extern const size_t help_variable_count;
