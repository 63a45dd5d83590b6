/* hob logs: what a function wrote to stdout and stderr. */
#include "cli/commands.h"
#include "cli/human.h"
#include "cli/remote.h"
#include "net/http_client.h"

#include <stdio.h>

enum {
    TAIL_DEFAULT = 100,
    LINE_BYTES_MAX = 1 << 20,
    FOLLOW_SILENCE_MS = 0 /* a quiet function is no error */
};

struct args {
    const char *revision, *instance, *container;
    bool follow, plain, all;
    uint32_t tail;
};
static const struct args defaults = { .tail = TAIL_DEFAULT };

static const struct opt opts[] = {
#define AT(field) offsetof(struct args, field)
    { "follow", 'f', OPT_FLAG, AT(follow), NULL, "go on with what comes" },
    { "tail", 't', OPT_U32, AT(tail), "LINES", "the last of those kept (default 100)", .min = 1,
      .max = 1000000 },
    { "revision", 0, OPT_TEXT, AT(revision), "NAME", "only of this revision",
      .complete = OPT_COMPLETE_REVISIONS },
    { "instance", 0, OPT_TEXT, AT(instance), "NAME", "only of this instance",
      .complete = OPT_COMPLETE_INSTANCES },
    { "container", 'c', OPT_TEXT, AT(container), "NAME",
      "only of this container, where there are several (default: the one that serves)" },
    { "all-containers", 0, OPT_FLAG, AT(all), NULL, "of all containers, init containers among them" },
    { "plain", 'p', OPT_FLAG, AT(plain), NULL,
      "only what the function wrote, without time and name" },
#undef AT
};

struct reader {
    struct cli *c;
    struct buf line; /* begun and not ended */
    bool any;        /* a line was shown */
    struct err e;
};

/* "2026-11-23T11:00:00.123Z instance text" */
static void line_show(struct reader *r, struct str whole)
{
    const struct args *args = r->c->args;
    const struct term *t = &r->c->out_term;
    r->any = true;
    struct str text = whole, when = str_cut(&text, ' '), instance = str_cut(&text, ' ');

    if (!args->plain && t->tty && when.size >= 23) {
        term_styled(t, &r->c->out, STYLE_DIM, "%.12s", when.at + 11);
        buf_text(&r->c->out, " ");
    } else if (!args->plain) {
        buf_printf(&r->c->out, STR_FMT " ", STR_ARG(when));
    }
    if (!args->plain) {
        buf_text(&r->c->out, term_style_on(t, STYLE_SANDBOX));
        term_clean(&r->c->out, instance, false);
        buf_printf(&r->c->out, "%s ", term_style_off(t, STYLE_SANDBOX));
    }
    /* A function must not steer its operator's terminal; a file or a program gets the bytes. */
    if (t->tty)
        term_clean(&r->c->out, text, t->colour);
    else
        buf_str_append(&r->c->out, text);
    buf_text(&r->c->out, "\n");
}

static int on_body(void *ctx, struct str piece)
{
    struct reader *r = ctx;
    while (piece.size) {
        const char *end = memchr(piece.at, '\n', piece.size);
        size_t size = end ? (size_t)(end - piece.at) : piece.size;
        buf_append(&r->line, piece.at, size);
        piece = str_from(piece, size + (end != NULL));
        if (end || r->line.overflow) {
            line_show(r, buf_str(&r->line));
            buf_clear(&r->line);
        }
    }
    return cli_flush(r->c, &r->e);
}

/* NULL: of all, or there is only one. */
static const char *container_of(const struct args *args, const json_t *service)
{
    const json_t *pod = json_at(service, "spec.template.spec");
    const json_t *containers = json_object_get(pod, "containers");
    if (args->all || args->container)
        return args->all ? NULL : args->container;
    for (size_t i = 0; i < json_array_size(containers); i++)
        if (json_array_size(json_object_get(json_array_get(containers, i), "ports")) > 0)
            return json_text_at(json_array_get(containers, i), "name");
    return json_text_at(json_array_get(containers, 0), "name");
}

/* "the init container warm, the container web": of its newest template. */
static char *containers_said(const json_t *service, const char *wanted, bool *ret_found)
{
    static const char *const lists[] = { "spec.template.spec.initContainers", "spec.template.spec.containers" };
    struct buf b;
    buf_init(&b, KIB(64));
    *ret_found = false;
    for (size_t l = 0; l < COUNT_OF(lists); l++) {
        json_t *one;
        size_t i;
        json_array_foreach(json_at(service, lists[l]), i, one) {
            const char *name = json_text_at(one, "name");
            *ret_found |= name && strcmp(name, wanted) == 0;
            if (name)
                buf_printf(&b, "%s%s%s", b.size ? ", " : "", name, l == 0 ? " (init)" : "");
        }
    }
    return buf_take_text(&b);
}

/* Another revision may have had other containers: only of the newest is it known here. */
static int container_check(const struct cli *c, const json_t *service, struct err *e)
{
    const struct args *args = c->args;
    bool found = false;
    if (!args->container || args->revision || args->instance)
        return 0;
    AUTO_FREE char *all = containers_said(service, args->container, &found);
    if (found || !all[0])
        return 0;
    return err_set(e, CODE_NOT_FOUND, "service %s/%s: no container '%s'; there are: %s", c->global.ns,
                   c->words.at[0], args->container, all);
}

/* Nothing from the one that serves: while an init container fails, what there is to read is elsewhere. */
static void elsewhere_note(const struct cli *c, const json_t *service, const char *of)
{
    const struct args *args = c->args;
    bool found;
    size_t count = json_array_size(json_at(service, "spec.template.spec.initContainers")) +
                   json_array_size(json_at(service, "spec.template.spec.containers"));
    if (!of || args->container || args->follow || count < 2)
        return;
    AUTO_FREE char *all = containers_said(service, of, &found);
    cli_note(c, "nothing yet from container %s; with --all-containers, or -c NAME, those of: %s", of, all);
}

static char *target_of(struct cli *c, const char *of)
{
    const struct args *args = c->args;
    char tail[16];
    snprintf(tail, sizeof tail, "%u", args->tail);
    AUTO_FREE char *base = remote_target("/v1/services/", c->global.ns, "/", c->words.at[0],
                                         "/logs?tail=", tail, NULL);
    AUTO_FREE char *revision =
        remote_target("&revision=", args->revision ? args->revision : "", NULL);
    AUTO_FREE char *instance =
        remote_target("&instance=", args->instance ? args->instance : "", NULL);
    AUTO_FREE char *container = remote_target("&container=", of ? of : "", NULL);
    return xasprintf("%s%s%s%s%s", base, args->follow ? "&follow=true" : "",
                     args->revision ? revision : "", args->instance ? instance : "", of ? container : "");
}

static int stream(struct cli *c, const char *target, struct reader *reader, struct err *e)
{
    const struct args *args = c->args;
    struct http_client_answer answer = { 0 };
    const struct http_client_call call = {
        .address = c->global.server,
        .token = c->global.token,
        .method = "GET",
        .target = target,
        .headers = "Accept: text/plain\r\n",
        .timeout_ms = args->follow ? FOLLOW_SILENCE_MS : REMOTE_TIMEOUT_MS,
        .body_bytes_max = KIB(64),
        .on_body = on_body,
        .collect_refusals = true,
        .ctx = reader,
    };
    int r = http_client_do(&call, &answer, e);
    if (r == 0 && answer.status >= 400)
        r = remote_error(answer.status, buf_str(&answer.body), &c->limits, e);
    else if (r == 0 && reader->line.size)
        line_show(reader, buf_str(&reader->line)); /* the last line needs no end */
    http_client_answer_done(&answer);
    return r;
}

static int run(struct cli *c, struct err *e)
{
    AUTO_JSON json_t *service = NULL;
    int r = remote_service(c, c->words.at[0], &service, e);
    if (r < 0)
        return r;
    r = container_check(c, service, e);
    if (r < 0)
        return r;
    struct reader reader = { .c = c };
    const char *of = container_of(c->args, service);
    AUTO_FREE char *target = target_of(c, of);
    buf_init(&reader.line, LINE_BYTES_MAX);
    r = stream(c, target, &reader, e);
    if (r < 0 && reader.e.code != CODE_OK)
        *e = reader.e; /* our own stdout, not the server */
    else if (r >= 0 && !reader.any)
        elsewhere_note(c, service, of);
    buf_done(&reader.line);
    return r < 0 ? r : EXITS_OK;
}

const struct cli_command cmd_logs = {
    .name = "logs",
    .summary = "what a function wrote to stdout and stderr",
    .words = "NAME",
    .examples = "hob logs greeter  the last lines\n"
                "hob logs greeter -f  and what comes\n"
                "hob logs greeter --plain --tail 1000 > out.log  only the function's own text",
    .notes =
        "A line is `time instance text`; of an instance with several containers, `time instance/container text`. On a terminal, what could steer it is replaced.",
    .opts = opts,
    .opt_count = COUNT_OF(opts),
    .args_size = sizeof(struct args),
    .defaults = &defaults,
    .words_min = 1,
    .words_max = 1,
    .complete = OPT_COMPLETE_SERVICES,
    .run = run,
};
