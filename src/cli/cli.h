/* cli.h -- the command line: a table of commands, and what each is given.
 *
 * Receives argv, the environment (HOB_SERVER, HOB_TOKEN, HOB_INGRESS, HOB_NAMESPACE) and answers of the API.
 * Owns the output of one run: data on stdout, all else on stderr.
 * Emits one exit status (cli/exits.h). Refuses what the tables do not know, before anything is done.
 * One file per command (cmd_*.c); help, completion and docs/reference/cli.md are made from the same
 * rows. A command is a client of the API like any other; only `serve` is not.
 */
#pragma once

#include "base/limits.h"
#include "cli/exits.h"
#include "cli/opt.h"
#include "cli/reach.h"
#include "cli/term.h"

/* `hob serve`, and the roles it starts itself in: gets argv[0] = "hob", then what followed `serve`. */
int serve_main(int argc, char **argv);
int server_main(int argc, char **argv);

#define CLI_SERVER_DEFAULT  "127.0.0.1:8081"
#define CLI_INGRESS_DEFAULT "127.0.0.1:8080"
#define CLI_TEMPORAL_DEFAULT "127.0.0.1:7233"

struct cli_global { /* what every command understands */
    const char *server, *ns, *colour;
    const char *token; /* HOB_TOKEN, for a server that is reached over TCP; NULL: none */
    bool help, quiet, json;
};

struct cli {
    const struct cli_command *command;
    struct cli_global global;
    char socket[REACH_SERVER_MAX]; /* what global.server became, when it has a socket here */
    struct term out_term, err_term;
    struct limits limits; /* of what this client reads */
    void *args;           /* the command's own struct */
    struct opt_words words;
    struct buf out; /* for stdout; cli_flush() writes it */
};

struct cli_command {
    const char *name, *summary;
    const char *words;    /* "NAME [NAME...]" */
    const char *examples; /* lines; what is behind two blanks explains */
    const char *notes;    /* a paragraph under the options, or NULL */
    const struct opt *opts;
    size_t opt_count, args_size;
    const void *defaults; /* of args; NULL: zero */
    uint32_t words_min, words_max;
    enum opt_complete complete; /* what a word can be */
    const char *choices;        /* of the first word: "services|revisions" */
    bool hidden, local;         /* local: never talks to a server */
    /* An exit status, or -code with e set. */
    int (*run)(struct cli *c, struct err *e);
    int (*run_raw)(int argc, char **argv); /* instead: parses for itself */
};
extern const struct cli_command *const cli_commands[];
extern const size_t cli_command_count;
extern const struct opt cli_global_opts[];
extern const size_t cli_global_opt_count;

const struct cli_command *cli_command_find(struct str name);
int cli_main(int argc, char **argv);

/* Writes c->out to stdout and empties it. A closed pipe ends the process quietly, as `head` expects;
 * any other failure (a full disk) is an error: data that did not arrive is not success. */
int cli_flush(struct cli *c, struct err *e) MUST_USE;
/* To stderr: for people. Not with --quiet. The text gets the command's name in front. */
void cli_note(const struct cli *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* For what a command finds wrong with its own words and options: reports e and says where help is.
 * Returns EXITS_USAGE. */
int cli_usage(const struct cli *c, const struct err *e);
/* What to print if Ctrl-C ends this run; must outlive it. NULL: nothing. */
void cli_on_interrupt(const char *text);
