/* help.h -- the pages made from the command table: `-h`, the overview, and docs/reference/cli.md.
 * Pure: rows in, text out. */
#pragma once

#include "cli/cli.h"

void help_overview(const struct term *t, struct buf *into);
void help_command(const struct cli_command *command, const struct term *t, struct buf *into);
void help_markdown(struct buf *into); /* docs/reference/cli.md */
