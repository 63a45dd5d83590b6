/* hob doctor: what this machine and the server lack, and what that costs. */
#include "cli/commands.h"
#include "cli/objects.h"
#include "cli/output.h"
#include "cli/remote.h"
#include "net/http_client.h"
#include "sandbox/doctor.h"

#include <unistd.h>

struct args {
    const char *output;
};

static const struct opt opts[] = { OUTPUT_ROW(struct args, OUTPUT_ONE) };

#define HERE   "here"   /* what a hob would have that this user starts on this machine */
#define SERVER "server" /* what the one that runs has */

/* state: "ok", "worse" (works, at a cost), "missing". */
static void finding(json_t *checks, const char *of, const char *name, const char *state, const char *detail,
                    const char *fix)
{
    json_array_append_new(checks, json_pack("{s:s, s:s, s:s, s:s, s:s}", "of", of, "name", name, "state", state,
                                            "detail", detail, "fix", fix));
}

/* ---- the server ---- */

static void ready_check(struct cli *c, json_t *checks)
{
    struct err e = { 0 };
    struct http_client_answer ready = { 0 };
    const struct http_client_call call = { .address = c->global.server,
                                           .token = c->global.token,
                                           .method = "GET",
                                           .target = "/readyz",
                                           .timeout_ms = REMOTE_TIMEOUT_MS,
                                           .body_bytes_max = KIB(64) };
    if (http_client_do(&call, &ready, &e) < 0) {
        finding(checks, SERVER, "ready", "missing", e.text, "");
        return;
    }
    struct str body = str_trim(buf_str(&ready.body));
    AUTO_FREE char *why =
        xasprintf("%d " STR_FMT, ready.status, (int)MIN(body.size, 300), body.at ? body.at : "");
    finding(checks, SERVER, "ready", ready.status < 400 ? "ok" : "missing",
            ready.status < 400 ? "the server takes requests" : why,
            ready.status < 400 ? "" : "see the server's log");
    http_client_answer_done(&ready);
}

/* The launcher's own word: what a sandbox of that server really has, whoever asks. */
static void host_checks(struct cli *c, json_t *checks)
{
    static const struct {
        const char *at, *name, *good, *bad, *fix;
    } rows[] = {
        { "limits.memory", "memory-limit", "kept by a control group",
          "not kept: a function can use all memory of the host", "run it as root, or in a unit with Delegate=yes" },
        { "limits.cpu", "cpu-limit", "kept by a control group",
          "not kept: a busy function takes CPU time from the others", "run it as root, or in a unit with Delegate=yes" },
        { "limits.processes", "process-limit", "kept", "not kept: a function can fill the process table", "" },
        { "ownUsers", "users", "every sandbox has user ids of its own", "all sandboxes share one user id on the host",
          "run it as root" },
        { "landlock", "landlock", "on", "off: the mount namespace alone decides what files a function sees",
          "add landlock to the kernel's lsm= list" },
    };
    struct err e = { 0 };
    AUTO_JSON json_t *host = NULL;
    if (remote_get(c, "/v1/host", &host, &e) < 0) {
        finding(checks, SERVER, "sandboxes", "worse", e.text, "");
        return;
    }
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        bool good = json_is_true(json_at(host, rows[i].at));
        finding(checks, SERVER, rows[i].name, good ? "ok" : "worse", good ? rows[i].good : rows[i].bad,
                good ? "" : rows[i].fix);
    }
}

static void server_checks(struct cli *c, json_t *checks)
{
    struct err e = { 0 };
    AUTO_JSON json_t *version = NULL;
    if (remote_get(c, "/version", &version, &e) < 0) {
        finding(checks, SERVER, "server", "missing", e.text, "hob serve");
        return;
    }
    const char *own = HOB_VERSION, *theirs = object_text(version, "version");
    bool same = strcmp(own, theirs) == 0;
    AUTO_FREE char *text = xasprintf("version %s at %s%s%s", theirs, c->global.server,
                                     same ? "" : ", while this program is ", same ? "" : own);
    finding(checks, SERVER, "server", same ? "ok" : "worse", text, same ? "" : "use one version for both");
    ready_check(c, checks);
    host_checks(c, checks);
}

/* ---- this machine ---- */

static void on_finding(void *ctx, const struct doctor_finding *f)
{
    static const char *const states[] = {
        [DOCTOR_OK] = "ok", [DOCTOR_WARN] = "worse", [DOCTOR_FAIL] = "missing"
    };
    AUTO_FREE char *text = xasprintf("%s%s%s", f->detail, f->cost[0] ? ": " : "", f->cost);
    finding(ctx, HERE, f->name, states[f->state], text, f->fix);
}

static void show_of(struct cli *c, const json_t *checks, const char *of)
{
    const struct term *t = &c->out_term;
    json_t *one;
    size_t i;
    json_array_foreach(checks, i, one) {
        const char *state = object_text(one, "state"), *fix = object_text(one, "fix");
        enum style s = strcmp(state, "ok") == 0      ? STYLE_GOOD
                       : strcmp(state, "worse") == 0 ? STYLE_WARN
                                                     : STYLE_BAD;
        if (strcmp(object_text(one, "of"), of) != 0)
            continue;
        term_styled(t, &c->out, s, "%-9s", state);
        term_styled(t, &c->out, STYLE_BOLD, "%-21s", object_text(one, "name"));
        term_clean(&c->out, str_of(object_text(one, "detail")), false);
        buf_text(&c->out, "\n");
        if (fix[0])
            buf_printf(&c->out, "%30s%s %s\n", "", t->utf8 ? "→" : ">", fix);
    }
}

static void show(struct cli *c, const json_t *checks)
{
    term_styled(&c->out_term, &c->out, STYLE_BOLD, "the server at %s", c->global.server);
    buf_text(&c->out, "\n");
    show_of(c, checks, SERVER);
    buf_text(&c->out, "\n");
    term_styled(&c->out_term, &c->out, STYLE_BOLD, "this machine, for a hob that you start (%s)",
                geteuid() == 0 ? "as root" : "as an ordinary user");
    buf_text(&c->out, "\n");
    show_of(c, checks, HERE);
}

static bool lacks(const json_t *checks, const char *of)
{
    json_t *one;
    size_t i;
    json_array_foreach(checks, i, one)
        if (strcmp(object_text(one, "of"), of) == 0 && strcmp(object_text(one, "state"), "missing") == 0)
            return true;
    return false;
}

static int run(struct cli *c, struct err *e)
{
    const struct args *args = c->args;
    enum output o = output_of(c, args->output);
    AUTO_JSON json_t *checks = json_array();
    (void)e;

    server_checks(c, checks);
    doctor_run(on_finding, checks);
    /* Where one runs, what another would lack is no failure of it. */
    int status = lacks(checks, SERVER) ? EXITS_FAILED : EXITS_OK;
    if (o == OUTPUT_TABLE) {
        show(c, checks);
        return status;
    }
    AUTO_JSON json_t *all = json_pack("{s:b, s:O}", "ok", status == EXITS_OK, "checks", checks);
    output_tree(c, o, all);
    return status;
}

const struct cli_command cmd_doctor = {
    .name = "doctor",
    .summary = "what this machine and the server lack, and what that costs",
    .words = "",
    .examples = "hob doctor\nhob doctor -o json  for a program",
    .notes = "Two lists: what the server that runs has (it is asked), and what a hob would have that you start here, as\n"
             "the user you are. Exit status 1 when no server answers, or it does not serve.",
    .opts = opts,
    .opt_count = COUNT_OF(opts),
    .args_size = sizeof(struct args),
    .run = run,
};
