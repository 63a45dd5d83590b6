/* hob version: of this program, and of the server if one answers. */
#include "cli/commands.h"
#include "cli/human.h"
#include "cli/objects.h"
#include "cli/output.h"
#include "cli/remote.h"

struct args {
    const char *output;
    bool client;
};

static const struct opt opts[] = {
    { "client", 0, OPT_FLAG, offsetof(struct args, client), NULL, "only of this program" },
    OUTPUT_ROW(struct args, OUTPUT_ONE),
};

static const char *server_version(const json_t *server)
{
    const char *version = object_text(server, "version");
    return version[0] ? version : object_text(server, "gitVersion");
}

static int run(struct cli *c, struct err *e)
{
    const struct args *args = c->args;
    enum output o = output_of(c, args->output);
    AUTO_JSON json_t *server = args->client ? NULL : remote_peek(c, "/version");
    (void)e;
    if (o != OUTPUT_TABLE) {
        AUTO_JSON json_t *j = json_pack("{s:{s:s}}", "client", "version", HOB_VERSION);
        if (server)
            json_object_set(j, "server", server);
        output_tree(c, o, j);
        return EXITS_OK;
    }
    int64_t up_s = server ? json_int_at(server, "node.uptime_s", 0) : 0; /* 0: it does not say */
    buf_printf(&c->out, "client  %s\n", HOB_VERSION);
    if (server)
        buf_printf(&c->out, "server  %s at %s%s%s\n", server_version(server), c->global.server,
                   up_s > 0 ? ", up " : "", up_s > 0 ? human_age(up_s, HUMAN) : "");
    else if (!args->client)
        cli_note(c, "no server at %s", c->global.server);
    return EXITS_OK;
}

const struct cli_command cmd_version = {
    .name = "version",
    .summary = "of this program and of the server",
    .words = "",
    .examples = "hob version\nhob version --client -o json  without asking the server",
    .opts = opts,
    .opt_count = COUNT_OF(opts),
    .args_size = sizeof(struct args),
    .run = run,
};
