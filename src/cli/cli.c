#include "cli/cli.h"

#include "cli/help.h"
#include "base/suggest.h"
#include "os/fault.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { OUT_BYTES_MAX = 256 << 20 };

const struct opt cli_global_opts[] = {
#define AT(field) offsetof(struct cli_global, field)
    { "namespace", 'n', OPT_TEXT, AT(ns), "NAME", "the namespace (HOB_NAMESPACE, else default)" },
    { "server", 's', OPT_TEXT, AT(server), "ADDRESS",
      "the API: host:port or unix:/path; a port of this machine by its socket (HOB_SERVER, else " CLI_SERVER_DEFAULT ")" },
    { "json", 0, OPT_FLAG, AT(json), NULL, "the same as -o json" },
    { "quiet", 'q', OPT_FLAG, AT(quiet), NULL, "no remarks, only data and errors" },
    { "color", 0, OPT_CHOICE, AT(colour), "WHEN", "auto, always or never (NO_COLOR: never)",
      "auto|always|never", 0, 0, OPT_COMPLETE_CHOICES },
    { "help", 'h', OPT_FLAG, AT(help), NULL, "show examples and options" },
#undef AT
};
const size_t cli_global_opt_count = COUNT_OF(cli_global_opts);

const struct cli_command *cli_command_find(struct str name)
{
    for (size_t i = 0; i < cli_command_count; i++)
        if (str_is(name, cli_commands[i]->name))
            return cli_commands[i];
    return NULL;
}

/* ---- output ---- */

int cli_flush(struct cli *c, struct err *e)
{
    if (c->out.overflow)
        return err_set(e, CODE_EXHAUSTED, "output: more than %d MiB", OUT_BYTES_MAX >> 20);
    while (c->out.size) {
        ssize_t wrote = fault_hit("write") ? -1 : write(STDOUT_FILENO, buf_at(&c->out), c->out.size);
        if (wrote < 0 && errno == EPIPE) {
            signal(SIGPIPE, SIG_DFL);
            raise(SIGPIPE);
        }
        if (wrote < 0 && errno != EINTR)
            return err_sys(e, "stdout");
        buf_consume(&c->out, (size_t)MAX(wrote, 0));
    }
    return 0;
}

void cli_note(const struct cli *c, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    if (c->global.quiet)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fprintf(stderr, "hob: %s\n", text);
}

/* ---- signals ---- */

static const char *volatile interrupt_text;
static volatile bool interrupt_clears_line;

/* Dies of the signal itself, so that a shell loop around hob ends too; the shell shows 130. */
static void on_interrupt(int signo)
{
    const char *text = interrupt_text;
    ssize_t ignored = 0;
    if (interrupt_clears_line)
        ignored = write(STDERR_FILENO, "\r\033[K", 4);
    if (text)
        ignored = write(STDERR_FILENO, text, strlen(text));
    (void)ignored;
    raise(signo); /* SA_RESETHAND: the default now */
}

void cli_on_interrupt(const char *text) { interrupt_text = text; }

static void signals_set(const struct cli *c)
{
    const struct sigaction on = { .sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND };
    struct sigaction before;
    interrupt_clears_line = c->err_term.tty;
    interrupt_text = NULL;
    /* Ignored already: a shell started this in the background, and means it. */
    if (sigaction(SIGINT, NULL, &before) == 0 && before.sa_handler != SIG_IGN)
        sigaction(SIGINT, &on, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* ---- one run ---- */

static void report(const struct cli *c, const struct err *e)
{
    struct buf clean;
    buf_init(&clean, 4 * sizeof e->text); /* a word of the server's may be in any error */
    term_clean_lines(&clean, str_of(e->text), 2);
    AUTO_FREE char *text = buf_take_text(&clean);
    fprintf(stderr, "%shob%s%s:%s %s\n", term_style_on(&c->err_term, STYLE_BAD),
            c->command ? " " : "", c->command ? c->command->name : "",
            term_style_off(&c->err_term, STYLE_BAD), text);
}

int cli_usage(const struct cli *c, const struct err *e)
{
    report(c, e);
    if (c->command)
        fprintf(stderr, "  see: hob %s -h\n", c->command->name);
    else
        fprintf(stderr, "  see: hob -h\n");
    return EXITS_USAGE;
}

static int unknown_command(const struct cli *c, const char *name)
{
    struct suggest near = suggest_begin(str_of(name));
    struct err e = { 0 };
    for (size_t i = 0; i < cli_command_count; i++)
        if (!cli_commands[i]->hidden)
            suggest_offer(&near, str_of(cli_commands[i]->name));
    err_set(&e, CODE_INVALID, "no command is called '%s'%s", name,
            suggest_phrase(&near, (char[SUGGEST_TEXT]){ 0 }));
    return cli_usage(c, &e);
}

static int words_check(const struct cli *c, struct err *e)
{
    const struct cli_command *command = c->command;
    if (c->words.count < command->words_min)
        return err_set(e, CODE_INVALID, "a name is missing: hob %s %s", command->name,
                       command->words);
    if (c->words.count > command->words_max)
        return err_set(e, CODE_INVALID, "'%s' is one word too many: hob %s%s%s",
                       c->words.at[command->words_max], command->name, command->words[0] ? " " : "",
                       command->words);
    return 0;
}

/* NULL where it could not be a header's value. */
static const char *token_given(void)
{
    const char *token = getenv("HOB_TOKEN");
    return token && token[0] && !strpbrk(token, " \r\n\t") ? token : NULL;
}

static void defaults_set(struct cli *c)
{
    const char *server = getenv("HOB_SERVER"), *ns = getenv("HOB_NAMESPACE");
    c->global.server = server && server[0] ? server : CLI_SERVER_DEFAULT;
    c->global.ns = ns && ns[0] ? ns : "default";
    c->global.token = token_given();
    limits_default(&c->limits);
    for (size_t i = 0; i < limit_row_count; i++)
        if (strcmp(limit_rows[i].name, "json_nodes_max") == 0)
            c->limits.json_nodes_max = limit_rows[i].max; /* long lists of our own server's */
    buf_init(&c->out, OUT_BYTES_MAX);
}

static void terms_set(struct cli *c)
{
    c->out_term = term_of_fd(STDOUT_FILENO, c->global.colour);
    c->err_term = term_of_fd(STDERR_FILENO, c->global.colour);
}

/* An exit status: what can fail here is the writing, not the asking. */
static int help(struct cli *c, struct err *e)
{
    if (c->command)
        help_command(c->command, &c->out_term, &c->out);
    else
        help_overview(&c->out_term, &c->out);
    if (cli_flush(c, e) == 0)
        return EXITS_OK;
    report(c, e);
    return (int)exits_of_code(e->code);
}

/* The command's own error comes first; output that could not be written is the second worst. */
static int execute(struct cli *c, struct err *e)
{
    struct err unwritten = { 0 };
    signals_set(c);
    if (!c->command->local)
        c->global.server = reach_server(c->global.server, c->socket);
    int r = c->command->run(c, e);
    int flushed = cli_flush(c, &unwritten);
    if (r < 0 || flushed < 0) {
        const struct err *why = r < 0 ? e : &unwritten;
        report(c, why);
        return (int)exits_of_code(why->code);
    }
    return r;
}

static int run_command(struct cli *c, int argc, const char *const *argv, struct err *e)
{
    const struct opt_set sets[] = {
        { c->command->opts, c->command->opt_count, c->args },
        { cli_global_opts, cli_global_opt_count, &c->global },
    };
    int r = opt_parse(sets, COUNT_OF(sets), argc, argv, false, &c->words, e);
    terms_set(c);
    if (r >= 0 && !c->global.help)
        r = words_check(c, e);
    if (r < 0)
        r = cli_usage(c, e);
    else
        r = c->global.help ? help(c, e) : execute(c, e);
    opt_lists_done(sets, 1);
    return r;
}

static int cli_run(struct cli *c, int argc, const char *const *argv, struct err *e)
{
    const struct opt_set global = { cli_global_opts, cli_global_opt_count, &c->global };
    /* What is typed first at a tool that nobody knows yet. */
    static const char *const version[] = { "version" };
    if (argc == 1 && strcmp(argv[0], "--version") == 0)
        argv = version;
    int used = opt_parse(&global, 1, argc, argv, true, &c->words, e);
    terms_set(c);
    if (used < 0)
        return cli_usage(c, e);
    if (used == argc && !c->global.help) {
        help_overview(&c->err_term, &c->out);
        fprintf(stderr, STR_FMT, STR_ARG(buf_str(&c->out)));
        buf_clear(&c->out);
        return EXITS_USAGE;
    }
    if (used == argc || (strcmp(argv[used], "help") == 0 && used + 1 == argc))
        return help(c, e);
    if (strcmp(argv[used], "help") == 0) {
        used++;
        c->global.help = true;
    }
    c->command = cli_command_find(str_of(argv[used]));
    if (!c->command)
        return unknown_command(c, argv[used]);
    c->args = xcalloc(1, MAX(c->command->args_size, 1));
    if (c->command->defaults)
        memcpy(c->args, c->command->defaults, c->command->args_size);
    return run_command(c, argc - used - 1, argv + used + 1, e);
}

int cli_main(int argc, char **argv)
{
    struct cli c = { 0 };
    struct err e = { 0 };

    /* Its descriptors and signals are its own: nothing of this room runs before it. */
    if (argc > 1) {
        const struct cli_command *command = cli_command_find(str_of(argv[1]));
        if (command && command->run_raw) {
            argv[1] = argv[0];
            return command->run_raw(argc - 1, argv + 1);
        }
    }
    fault_arm_outside("client");
    defaults_set(&c);
    int status = cli_run(&c, MAX(argc - 1, 0), (const char *const *)argv + MIN(argc, 1), &e);
    free(c.args);
    buf_done(&c.out);
    return status;
}
