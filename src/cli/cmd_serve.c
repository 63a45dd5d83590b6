/* hob serve: the only command that is not a client; its process parses for itself. */
#include "cli/commands.h"
#include "cli/serve_opts.h"

const struct cli_command cmd_serve = {
    .name = "serve",
    .summary = "start hob on this machine",
    .words = "",
    .examples = "hob serve --file-root /srv/hob  on 127.0.0.1, data in ./hob-data\n"
                "hob serve --data /var/lib/hob  somewhere else\n"
                "hob serve --limit sandbox_pool=8  with another limit\n"
                "hob serve --api-insecure  kubectl --server=http://127.0.0.1:8081 needs no token",
    .notes = "`hob` itself reaches it through a unix socket. For kubectl: `hob kubeconfig`.",
    .opts = serve_opts,
    .opt_count = SERVE_OPTS,
    .args_size = sizeof(struct serve_settings),
    .local = true,
    .run_raw = serve_main,
};
