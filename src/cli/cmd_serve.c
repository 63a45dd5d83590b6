/* hob serve: the only command that is not a client; it parses for itself. */
#include "cli/commands.h"

const struct cli_command cmd_serve = {
    .name = "serve",
    .summary = "start hob on this machine",
    .words = "[options]",
    .examples = "hob serve  on 127.0.0.1, data in ./hob-data\n"
                "hob serve --data /var/lib/hob  somewhere else\n"
                "hob serve --limit sandbox_pool=8  with another limit",
    .notes = "`hob serve --help` lists its options.",
    .local = true,
    .run_raw = serve_main,
};
