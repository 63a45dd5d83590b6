/* hob doctor: what this machine and the server lack, and what that costs. */
#include "cli/commands.h"
#include "cli/objects.h"
#include "cli/output.h"
#include "cli/remote.h"
#include "net/http_client.h"
#include "sandbox/doctor.h"

struct args {
    const char *output;
};

static const struct opt opts[] = { OUTPUT_ROW(struct args, OUTPUT_ONE) };

/* state: "ok", "worse" (works, at a cost), "missing". */
static void finding(json_t *checks, const char *name, const char *state, const char *detail,
                    const char *fix)
{
    json_array_append_new(checks, json_pack("{s:s, s:s, s:s, s:s}", "name", name, "state", state,
                                            "detail", detail, "fix", fix));
}

static void server_checks(struct cli *c, json_t *checks)
{
    struct err e = { 0 };
    AUTO_JSON json_t *version = NULL;
    struct http_client_answer ready = { 0 };
    const struct http_client_call call = { .address = c->global.server,
                                           .token = c->global.token,
                                           .method = "GET",
                                           .target = "/readyz",
                                           .timeout_ms = REMOTE_TIMEOUT_MS,
                                           .body_bytes_max = KIB(64) };
    if (remote_get(c, "/version", &version, &e) < 0) {
        finding(checks, "server", "missing", e.text, "hob serve");
        return;
    }
    const char *own = HOB_VERSION, *theirs = object_text(version, "version");
    bool same = strcmp(own, theirs) == 0;
    AUTO_FREE char *text = xasprintf("version %s at %s%s%s", theirs, c->global.server,
                                     same ? "" : ", while this program is ", same ? "" : own);
    finding(checks, "server", same ? "ok" : "worse", text, same ? "" : "use one version for both");
    if (http_client_do(&call, &ready, &e) < 0) {
        finding(checks, "ready", "missing", e.text, "");
        return;
    }
    struct str body = str_trim(buf_str(&ready.body));
    AUTO_FREE char *why =
        xasprintf("%d " STR_FMT, ready.status, (int)MIN(body.size, 300), body.at ? body.at : "");
    finding(checks, "ready", ready.status < 400 ? "ok" : "missing",
            ready.status < 400 ? "the server takes requests" : why,
            ready.status < 400 ? "" : "see the server's log");
    http_client_answer_done(&ready);
}

static void on_finding(void *ctx, const struct doctor_finding *f)
{
    static const char *const states[] = {
        [DOCTOR_OK] = "ok", [DOCTOR_WARN] = "worse", [DOCTOR_FAIL] = "missing"
    };
    AUTO_FREE char *text = xasprintf("%s%s%s", f->detail, f->cost[0] ? ": " : "", f->cost);
    finding(ctx, f->name, states[f->state], text, f->fix);
}

static void show(struct cli *c, const json_t *checks)
{
    const struct term *t = &c->out_term;
    json_t *one;
    size_t i;
    json_array_foreach(checks, i, one) {
        const char *state = object_text(one, "state"), *fix = object_text(one, "fix");
        enum style s = strcmp(state, "ok") == 0      ? STYLE_GOOD
                       : strcmp(state, "worse") == 0 ? STYLE_WARN
                                                     : STYLE_BAD;
        term_styled(t, &c->out, s, "%-9s", state);
        term_styled(t, &c->out, STYLE_BOLD, "%-21s", object_text(one, "name"));
        term_clean(&c->out, str_of(object_text(one, "detail")), false);
        buf_text(&c->out, "\n");
        if (fix[0])
            buf_printf(&c->out, "%30s%s %s\n", "", t->utf8 ? "→" : ">", fix);
    }
}

static int run(struct cli *c, struct err *e)
{
    const struct args *args = c->args;
    enum output o = output_of(c, args->output);
    AUTO_JSON json_t *checks = json_array();
    int status = EXITS_OK;
    json_t *one;
    size_t i;
    (void)e;

    doctor_run(on_finding, checks); /* this machine, as this user */
    server_checks(c, checks);
    json_array_foreach(checks, i, one)
        if (strcmp(object_text(one, "state"), "missing") == 0)
            status = EXITS_FAILED;
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
    .notes = "Exit status 1 when something is missing without which hob does not work.",
    .opts = opts,
    .opt_count = COUNT_OF(opts),
    .args_size = sizeof(struct args),
    .run = run,
};
