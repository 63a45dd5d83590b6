/* serve_form.h -- the commands that start hob differ in what they understand, not in what they start.
 *
 * Receives a command's own reading of its words. Owns nothing. Roles read the same words again: `read` has no effects; what has
 * some (a temporary folder) is `begin`, which only the launcher does. */
#pragma once

#include "cli/cli.h"
#include "cli/serve_opts.h"

struct serve_form {
    const struct cli_command *command;
    int (*read)(struct serve_settings *s, int argc, const char *const *argv, struct err *e);
    int (*begin)(struct serve_settings *s, struct err *e); /* in the launcher, before anything else; may be NULL */
    void (*end)(struct serve_settings *s);                 /* in the launcher, at the end, whatever it was; may be NULL */
};
int serve_as(const struct serve_form *form, int argc, char **argv);
