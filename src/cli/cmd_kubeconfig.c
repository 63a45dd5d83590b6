/* hob kubeconfig: what kubectl and kn need to reach this hob. */
#include "cli/commands.h"
#include "cli/objects.h"
#include "cli/remote.h"

#include <limits.h>
#include <stdlib.h>

struct args {
    const char *address, *ca;
};

static const struct opt opts[] = {
#define AT(field) offsetof(struct args, field)
    { "address", 0, OPT_TEXT, AT(address), "ADDRESS",
      "where the API is reached from there: host:port, or https://host:port where something in front of hob speaks "
      "TLS (as the server says)" },
    { "ca", 0, OPT_TEXT, AT(ca), "FILE", "certificates (PEM) that the https:// address is checked with (the system's)",
      .complete = OPT_COMPLETE_FILES },
#undef AT
};

/* kubectl sends no token over plain HTTP, whatever a kubeconfig says, but it does send what stands in the URL. */
static void write_config(struct buf *b, const char *address, const char *ca, const char *token)
{
    bool tls = str_starts(str_of(address), STR("https://"));
    buf_text(b, "apiVersion: v1\nkind: Config\nclusters:\n- name: hob\n  cluster:\n    server: ");
    if (!tls)
        buf_printf(b, "http://%s%s%s", token[0] ? "hob:" : "", token, token[0] ? "@" : "");
    buf_printf(b, "%s\n", address);
    if (ca)
        buf_printf(b, "    certificate-authority: '%s'\n", ca);
    buf_text(b, "users:\n- name: hob\n  user:");
    if (tls && token[0])
        buf_printf(b, "\n    token: %s\n", token);
    else
        buf_text(b, " {}\n");
    buf_text(b, "contexts:\n- name: hob\n  context:\n    cluster: hob\n"
                "    user: hob\n    namespace: default\ncurrent-context: hob\n");
}

static int run(struct cli *c, struct err *e)
{
    const struct args *args = c->args;
    char ca[PATH_MAX]; /* kubectl would look for a relative one beside the kubeconfig */
    if (args->ca && !realpath(args->ca, ca))
        return err_sys(e, "--ca %s", args->ca);
    AUTO_JSON json_t *version = NULL, *access = NULL;
    int r = remote_get(c, "/version", &version, e);
    if (r == 0)
        r = remote_get(c, "/v1/token", &access, e);
    if (r < 0)
        return r;
    const char *address = args->address ? args->address : object_text(version, "api");
    write_config(&c->out, address, args->ca ? ca : NULL, object_text(access, "token"));
    return EXITS_OK;
}

const struct cli_command cmd_kubeconfig = {
    .name = "kubeconfig",
    .summary = "what kubectl and kn need to reach hob",
    .words = "",
    .examples = "(umask 077; hob kubeconfig > ~/.kube/hob)  it holds the token\n"
                "KUBECONFIG=~/.kube/hob kubectl get ksvc\n"
                "hob kubeconfig --address https://hob.example:443  behind a TLS proxy",
    .notes = "Over http:// the token is sent in clear text (use it on this machine, or through a tunnel) and stands\n"
             "in the server's URL, because kubectl sends none from elsewhere: `kubectl cluster-info` and -v=6 show it.\n"
             "With an https:// address it is the user's token, and kubectl shows it nowhere.",
    .opts = opts,
    .opt_count = COUNT_OF(opts),
    .args_size = sizeof(struct args),
    .run = run,
};
