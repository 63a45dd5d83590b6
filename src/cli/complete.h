/* complete.h -- what can stand at the end of an unfinished command line.
 *
 * Receives the words after `hob`, the last of them unfinished (maybe empty). Emits lines
 * `candidate<TAB>what it is`; the special line `:files` asks the shell for file names. Owns nothing.
 * Names of services and the like come through `names`, which may take its time only within reason.
 */
#pragma once

#include "cli/cli.h"

struct complete_source {
    /* Appends "name\n" lines for what `of` asks; nothing when they cannot be had. */
    void (*names)(void *ctx, enum opt_complete of, struct buf *into);
    void *ctx;
};
void complete_write(const char *const *words, size_t count, const struct complete_source *source,
                    struct buf *into);
