/* hob kubeconfig: what kubectl and kn need to reach this hob. */
#include "cli/commands.h"
#include "cli/objects.h"
#include "cli/remote.h"

struct args {
    const char *address;
};

static const struct opt opts[] = {
    { "address", 0, OPT_TEXT, offsetof(struct args, address), "HOST:PORT",
      "where the API is reached from there (as the server says)" },
};

/* kubectl sends no token over plain HTTP, but it does send what stands in the URL. */
static void write_config(struct buf *b, const char *address, const char *token)
{
    buf_text(b, "apiVersion: v1\nkind: Config\nclusters:\n- name: hob\n  cluster:\n    server: http://");
    if (token[0])
        buf_printf(b, "hob:%s@", token);
    buf_printf(b, "%s\n", address);
    buf_text(b, "users:\n- name: hob\n  user: {}\ncontexts:\n- name: hob\n  context:\n    cluster: hob\n"
                "    user: hob\n    namespace: default\ncurrent-context: hob\n");
}

static int run(struct cli *c, struct err *e)
{
    const struct args *args = c->args;
    AUTO_JSON json_t *version = NULL, *access = NULL;
    int r = remote_get(c, "/version", &version, e);
    if (r == 0)
        r = remote_get(c, "/v1/token", &access, e);
    if (r < 0)
        return r;
    const char *address = args->address ? args->address : object_text(version, "api");
    write_config(&c->out, address, object_text(access, "token"));
    return EXITS_OK;
}

const struct cli_command cmd_kubeconfig = {
    .name = "kubeconfig",
    .summary = "what kubectl and kn need to reach hob",
    .words = "",
    .examples = "(umask 077; hob kubeconfig > ~/.kube/hob)  it holds the token\n"
                "KUBECONFIG=~/.kube/hob kubectl get ksvc",
    .notes = "The token is sent in clear text: use it on this machine, or through a tunnel.",
    .opts = opts,
    .opt_count = COUNT_OF(opts),
    .args_size = sizeof(struct args),
    .run = run,
};
