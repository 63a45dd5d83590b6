/* hob invoke: one call of a function, through the ingress like any caller's. */
#include "base/hist.h"
#include "cli/commands.h"
#include "cli/human.h"
#include "cli/remote.h"
#include "net/http_client.h"
#include "os/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
    DATA_BYTES_MAX = 64 << 20,   /* held in memory here; larger bodies are for curl -T */
    ANSWER_BYTES_MAX = 64 << 20, /* of refusals; what a function streams is not held */
    TIMEOUT_MS = 600000,         /* as request_timeout_s_max's default: the server is the judge */
    REPEAT_MAX = 1000000,
    PROBLEM_TEXT = 48,
};

struct args {
    const char *data, *method, *path;
    struct opt_list headers;
    bool head, verbose, async;
    uint32_t timeout_ms, repeat, wait_ms, deadline_ms;
    const char *key, *callback;
};
static const struct args defaults = { .path = "/", .timeout_ms = TIMEOUT_MS, .repeat = 1 };

static const struct opt opts[] = {
#define AT(field) offsetof(struct args, field)
    { "data", 'd', OPT_TEXT, AT(data), "DATA", "body: the text itself, @FILE, or - for stdin",
      .complete = OPT_COMPLETE_FILES },
    { "method", 'X', OPT_TEXT, AT(method), "METHOD", "GET; POST where there is data" },
    { "header", 'H', OPT_LIST, AT(headers), "LINE", "'Name: value'; may be repeated" },
    { "path", 'p', OPT_TEXT, AT(path), "PATH", "with its query (default /)" },
    { "timeout", 0, OPT_MS, AT(timeout_ms), "TIME",
      "without a byte, before giving up (default 10m)" },
    { "include", 'i', OPT_FLAG, AT(head), NULL, "print the head of the answer too" },
    { "verbose", 'v', OPT_FLAG, AT(verbose), NULL, "say on stderr where the time went" },
    { "async", 0, OPT_FLAG, AT(async), NULL, "durable: print its id once it is written down, do not wait for its end" },
    { "key", 'k', OPT_TEXT, AT(key), "KEY", "durable: runs once under this Idempotency-Key, and answers the same again" },
    { "wait", 'w', OPT_MS, AT(wait_ms), "TIME", "with --async or --key: so long for the end" },
    { "deadline", 0, OPT_MS, AT(deadline_ms), "TIME", "after which no attempt begins any more" },
    { "callback", 0, OPT_TEXT, AT(callback), "URL", "durable: who is told of the end, signed" },
    { "repeat", 0, OPT_U32, AT(repeat), "N",
      "call N times, one after another, and say how long each took", .min = 1, .max = REPEAT_MAX },
#undef AT
};

struct call {
    struct cli *c;
    const char *address, *host, *name;
    struct buf headers, data;
    struct http_client_answer answer;
    struct err e; /* of writing to stdout */
    bool head_shown;
};

/* ---- what is sent ---- */

static bool token(struct str s)
{
    static const char marks[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < s.size; i++) {
        char c = s.at[i];
        bool alphanumeric = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
        if (!alphanumeric && (c == '\0' || !strchr(marks, c)))
            return false;
    }
    return s.size > 0;
}

static bool printable(struct str s, bool spaces)
{
    for (size_t i = 0; i < s.size; i++)
        if ((unsigned char)s.at[i] < 0x20 || s.at[i] == 0x7f || (s.at[i] == ' ' && !spaces))
            return false;
    return true;
}

static int headers_build(const struct args *args, struct buf *into, struct err *e)
{
    bool typed = false;
    for (size_t i = 0; i < args->headers.count; i++) {
        struct str line = str_of(args->headers.at[i]), value = line, name = str_cut(&value, ':');
        if (!memchr(line.at, ':', line.size) || !token(name) || !printable(value, true))
            return err_set(e, CODE_INVALID, "--header: '%.100s' is not 'Name: value'", line.at);
        typed |= str_eq_nocase(name, STR("content-type"));
        value = str_trim(value);
        buf_printf(into, STR_FMT ": " STR_FMT "\r\n", STR_ARG(name), STR_ARG(value));
    }
    if (args->async || args->wait_ms) {
        buf_printf(into, "Prefer: %s%s", args->async ? "respond-async" : "", args->async && args->wait_ms ? ", " : "");
        if (args->wait_ms)
            buf_printf(into, "wait=%u.%03u", args->wait_ms / 1000, args->wait_ms % 1000);
        buf_text(into, "\r\n");
    }
    if (args->key)
        buf_printf(into, "Idempotency-Key: %s\r\n", args->key);
    if (args->deadline_ms)
        buf_printf(into, "Hob-Deadline: %u\r\n", args->deadline_ms);
    if (args->callback)
        buf_printf(into, "Hob-Callback: %s\r\n", args->callback);
    if (args->data && !typed) {
        const char *first = args->data + strspn(args->data, " \t\r\n");
        bool json = *first == '{' || *first == '[' || strstr(args->data, ".json");
        buf_printf(into, "Content-Type: %s\r\n",
                   json ? "application/json" : "application/octet-stream");
    }
    return 0;
}

static int data_read(const char *given, struct buf *into, struct err *e)
{
    bool stdin_data = strcmp(given, "-") == 0 || strcmp(given, "@-") == 0;
    const char *path = stdin_data ? "stdin" : given + 1;
    if (!stdin_data && given[0] != '@') {
        buf_text(into, given);
        return 0;
    }
    AUTO_CLOSE int opened = stdin_data || fault_hit("open") ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (!stdin_data && opened < 0)
        return err_sys(e, "%s", path);
    for (;;) {
        size_t room;
        char *at = buf_reserve(into, KIB(64), &room);
        if (room == 0)
            return err_set(e, CODE_EXHAUSTED, "%s: more than %d MiB", path, DATA_BYTES_MAX >> 20);
        ssize_t got = fault_hit("read") ? -1 : read(stdin_data ? STDIN_FILENO : opened, at, room);
        if (got == 0)
            return 0;
        if (got < 0 && errno != EINTR)
            return err_sys(e, "%s", path);
        buf_commit(into, (size_t)MAX(got, 0));
    }
}

/* ---- what comes back ---- */

static void head_show(struct call *k)
{
    const struct args *args = k->c->args;
    if (args->head && !k->head_shown)
        buf_str_append(&k->c->out, buf_str(&k->answer.head));
    k->head_shown = true;
}

/* It is written down, and has no end yet: what a script wants is its id. */
static bool accepted(const struct call *k)
{
    const struct args *args = k->c->args;
    return args->async && k->answer.status == 202 && str_starts(http_client_header(&k->answer, "location"), STR("/v1/invocations/"));
}

static int on_body(void *ctx, struct str piece)
{
    struct call *k = ctx;
    head_show(k);
    if (accepted(k))
        return 0;
    buf_str_append(&k->c->out, piece);
    return cli_flush(k->c, &k->e);
}

/* The name after urn:hob:problem: when hob itself answered, else NULL. */
static const char *problem_of(struct call *k, char into[PROBLEM_TEXT], uint32_t *ret_retry_s)
{
    static const char urn[] = "urn:hob:problem:";
    struct err ignored = { 0 };
    AUTO_JSON json_t *j = NULL;
    struct str type = http_client_header(&k->answer, "content-type");
    if (k->answer.status < 400 || !str_starts(type, STR("application/problem+json")) ||
        json_read(buf_str(&k->answer.body), &k->c->limits, &j, &ignored) < 0)
        return NULL;
    const char *name = json_text_at(j, "type");
    if (!name || strncmp(name, urn, sizeof urn - 1) != 0)
        return NULL;
    *ret_retry_s = (uint32_t)MIN(MAX(json_int_at(j, "retry_after_s", 0), 0), INT32_MAX);
    snprintf(into, PROBLEM_TEXT, "%s", name + sizeof urn - 1);
    return into;
}

static struct str invocation_id(const struct call *k)
{
    return http_client_header(&k->answer, "hob-invocation-id");
}

static void problem_show(struct call *k, enum exits status, uint32_t retry_s)
{
    struct err e = { 0 };
    struct str id = invocation_id(k);
    (void)remote_error(k->answer.status, buf_str(&k->answer.body), &k->c->limits, &e);
    if (status == EXITS_NOT_FOUND)
        remote_suggest_service(k->c, k->name, &e);
    fprintf(stderr, "hob invoke: %s: %s (%d)\n", k->name, e.text, k->answer.status);
    if (retry_s)
        fprintf(stderr, "  try again in %u s\n", retry_s);
    if (status == EXITS_AMBIGUOUS && id.size)
        fprintf(stderr, "  it may have run; see: hob explain " STR_FMT "\n", STR_ARG(id));
    else if (status != EXITS_NOT_FOUND && id.size) /* what reached no function is not on record */
        fprintf(stderr, "  see: hob explain " STR_FMT "\n", STR_ARG(id));
}

/* `queue;dur=0.012, handler;dur=1.5` as lines. */
static void timing_show(const struct call *k)
{
    struct str rest = http_client_header(&k->answer, "server-timing");
    while (rest.size) {
        struct str entry = str_cut(&rest, ','), value = str_trim(entry),
                   name = str_cut(&value, ';');
        char *end, number[32];
        if (!str_starts(value, STR("dur=")))
            continue;
        snprintf(number, sizeof number, STR_FMT, STR_ARG(str_from(value, 4)));
        double ms = strtod(number, &end);
        if (end != number && ms >= 0 && ms < 1e9)
            fprintf(stderr, "  %-20.*s %s\n", STR_ARG(name), human_us((int64_t)(ms * 1000), HUMAN));
    }
}

static void verbose_show(const struct call *k, int64_t took_us)
{
    struct str id = invocation_id(k), caches = http_client_header(&k->answer, "cache-status");
    struct buf clean;
    buf_init(&clean, KIB(16));
    term_clean(&clean, id, false);
    buf_text(&clean, "\n");
    term_clean(&clean, caches, false);
    AUTO_FREE char *both = buf_take_text(&clean);
    char *second = strchr(both, '\n');
    *second++ = '\0';
    fprintf(stderr, "answered %d in %s\n", k->answer.status, human_us(took_us, HUMAN));
    timing_show(k);
    if (second[0])
        fprintf(stderr, "  caches               %s\n", second);
    if (both[0])
        fprintf(stderr, "  see                  hob explain %s\n", both);
}

/* ---- one call ---- */

static int64_t clock_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int answered(struct call *k, int64_t took_us, struct err *e)
{
    const struct args *args = k->c->args;
    char name[PROBLEM_TEXT];
    uint32_t retry_s = 0;
    const char *problem = problem_of(k, name, &retry_s);
    enum exits status = exits_of_invocation(k->answer.status, problem);

    head_show(k);
    if (problem)
        problem_show(k, status, retry_s);
    else if (accepted(k))
        buf_printf(&k->c->out, STR_FMT "\n", STR_ARG(invocation_id(k)));
    else
        buf_str_append(&k->c->out, buf_str(&k->answer.body)); /* a function's own 4xx or 5xx */
    int r = cli_flush(k->c, e);
    if (k->c->out_term.tty && !problem)
        fputs("\n", stderr); /* the body may not end a line; the prompt should begin one */
    if (args->verbose)
        verbose_show(k, took_us);
    return r < 0 ? r : (int)status;
}

static int call_once(struct call *k, int64_t *ret_us, struct err *e)
{
    const struct args *args = k->c->args;
    const struct http_client_call spec = {
        .address = k->address,
        .method = args->method ? args->method
                  : args->data ? "POST"
                               : "GET",
        .target = args->path,
        .host = k->host,
        .headers = k->headers.size ? buf_at(&k->headers) : NULL,
        .body = args->data ? (struct str){ k->data.size ? buf_at(&k->data) : "", k->data.size }
                           : (struct str){ 0 },
        .timeout_ms = args->timeout_ms,
        .body_bytes_max = ANSWER_BYTES_MAX,
        .on_body = on_body,
        .collect_refusals = true,
        .ctx = k,
    };
    int64_t begin_us = clock_us();
    k->head_shown = false;
    int r = http_client_do(&spec, &k->answer, e);
    *ret_us = clock_us() - begin_us;
    if (r < 0 && k->e.code != CODE_OK) {
        *e = k->e;
        return r;
    }
    if (r < 0 && e->code != CODE_INVALID &&
        !(e->code == CODE_UNAVAILABLE && e->sys_errno != ECONNRESET)) {
        char why[256];
        snprintf(why, sizeof why, "%.255s", e->text);
        return err_set(e, CODE_DEADLINE, "%s; it may have run: hob explain %s --warm", why,
                       k->name);
    }
    if (r == 0)
        r = answered(k, *ret_us, e);
    http_client_answer_done(&k->answer);
    return r;
}

/* ---- many calls ---- */

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void summary(const struct call *k, int64_t *took_us, uint32_t count, uint32_t failed)
{
    qsort(took_us, count, sizeof *took_us, by_size);
    cli_note(k->c, "%u calls, %u failed; p50 %s, p99 %s, longest %s", count, failed,
             human_us(took_us[hist_rank(count, 50) - 1], HUMAN),
             human_us(took_us[hist_rank(count, 99) - 1], HUMAN),
             human_us(took_us[count - 1], HUMAN));
}

static int call_all(struct call *k, struct err *e)
{
    const struct args *args = k->c->args;
    AUTO_FREE int64_t *took_us = xcalloc(args->repeat, sizeof *took_us);
    uint32_t failed = 0, done = 0;
    int worst = EXITS_OK, r = 0;
    for (; done < args->repeat && r >= 0; done++) {
        r = call_once(k, &took_us[done], e);
        failed += r != EXITS_OK;
        worst = r > 0 && worst == EXITS_OK ? r : worst;
    }
    if (args->repeat > 1)
        summary(k, took_us, done, failed);
    return r < 0 ? r : worst;
}

static int usage_check(const struct args *args, struct err *e)
{
    if (args->method && !token(str_of(args->method)))
        return err_set(e, CODE_INVALID, "--method: '%s' is not a method", args->method);
    if (args->wait_ms && !args->async && !args->key)
        return err_set(e, CODE_INVALID, "--wait goes with --async or --key");
    if (args->callback && !args->async && !args->key)
        return err_set(e, CODE_INVALID, "--callback goes with --async or --key");
    if (args->repeat > 1 && args->key)
        return err_set(e, CODE_INVALID, "--repeat with --key asks for the same answer again; leave one out");
    if ((args->key && !printable(str_of(args->key), false)) || (args->callback && !printable(str_of(args->callback), false)))
        return err_set(e, CODE_INVALID, "--key, --callback: visible characters only");
    if (args->path[0] != '/' || !printable(str_of(args->path), false))
        return err_set(e, CODE_INVALID,
                       "--path: '%s' does not begin with / or holds blanks; encode them as %%20",
                       args->path);
    return 0;
}

static int run(struct cli *c, struct err *e)
{
    const struct args *args = c->args;
    struct call k = { .c = c, .name = c->words.at[0] };
    AUTO_FREE char *address = NULL;
    AUTO_FREE char *host = xasprintf("%s.%s.localhost", k.name, c->global.ns);
    buf_init(&k.headers, KIB(128));
    buf_init(&k.data, DATA_BYTES_MAX);
    int r = usage_check(args, e);
    if (r == 0 && !(token(str_of(k.name)) && token(str_of(c->global.ns))))
        r = err_set(e, CODE_INVALID, "service '%s': not a name", k.name);
    if (r == 0)
        r = headers_build(args, &k.headers, e);
    if (r < 0) {
        r = cli_usage(c, e);
    } else {
        buf_append(&k.headers, "", 1); /* the client takes a C string */
        r = args->data ? data_read(args->data, &k.data, e) : 0;
        if (r == 0)
            r = remote_ingress(c, &address, e);
        k.address = address;
        k.host = host;
        cli_on_interrupt("hob: interrupted; the function may have run\n");
        if (r == 0)
            r = call_all(&k, e);
    }
    buf_done(&k.headers);
    buf_done(&k.data);
    return r;
}

const struct cli_command cmd_invoke = {
    .name = "invoke",
    .summary = "call a function and print what it answers",
    .words = "NAME",
    .examples = "hob invoke greeter\n"
                "hob invoke greeter -d '{\"name\":\"Ada\"}'  with a body\n"
                "hob invoke cls -d @event.json -v  and where the time went\n"
                "hob invoke report --async -d @month.json  durable: its id, at once; see hob invocation\n"
                "hob invoke pay --key order-7 -d @order.json  durable: runs once, whoever asks again\n"
                "hob invoke api -X PUT --path /items/7 -H 'X-Key: 1' -d -  a whole request",
    .notes =
        "Exit status: 8 the function answered 5xx; 6 hob had no instance for the call, for now (429, 503);\n"
        "7 no answer in time, so it may have run.",
    .opts = opts,
    .opt_count = COUNT_OF(opts),
    .args_size = sizeof(struct args),
    .defaults = &defaults,
    .words_min = 1,
    .words_max = 1,
    .complete = OPT_COMPLETE_SERVICES,
    .run = run,
};
