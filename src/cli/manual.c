/* The manual page hob(1), from the command table: what `make install` puts beside the program. */
#include "cli/help.h"

/* Text as it is: a hyphen that can be copied, no request at a line's beginning. */
static void plain(struct buf *b, const char *text)
{
    bool first = true;
    for (; *text; text++) {
        if (first && (*text == '.' || *text == '\''))
            buf_text(b, "\\&");
        if (*text == '\\')
            buf_text(b, "\\e");
        else if (*text == '-')
            buf_text(b, "\\-");
        else
            buf_printf(b, "%c", *text);
        first = *text == '\n';
    }
}

static void request(struct buf *b, const char *name, const char *text)
{
    buf_printf(b, "%s ", name);
    plain(b, text);
    buf_text(b, "\n");
}

static void options(struct buf *b, const struct opt *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buf_text(b, ".TP\n");
        if (rows[i].letter)
            buf_printf(b, "\\fB\\-%c\\fR, ", rows[i].letter);
        buf_text(b, "\\fB\\-\\-");
        plain(b, rows[i].name);
        buf_text(b, "\\fR");
        if (rows[i].value) {
            buf_text(b, " \\fI");
            plain(b, rows[i].value);
            buf_text(b, "\\fR");
        }
        buf_text(b, "\n");
        plain(b, rows[i].help);
        buf_text(b, "\n");
    }
}

/* Line by line: the command, two blanks, what it is for. */
static void examples(struct buf *b, const char *lines)
{
    struct str rest = str_of(lines);
    buf_text(b, ".PP\n.RS\n.nf\n");
    while (rest.size) {
        struct str line = str_cut(&rest, '\n');
        const char *gap = memmem(line.at, line.size, "  ", 2);
        struct str what = gap ? str_trim(str_from(line, (size_t)(gap - line.at))) : STR("");
        AUTO_FREE char *comment = what.size ? xasprintf("# " STR_FMT, STR_ARG(what)) : NULL;
        AUTO_FREE char *command = xstrndup(line.at, gap ? (size_t)(gap - line.at) : line.size);
        if (comment) {
            plain(b, comment);
            buf_text(b, "\n");
        }
        plain(b, command);
        buf_text(b, "\n");
    }
    buf_text(b, ".fi\n.RE\n");
}

static void command_write(struct buf *b, const struct cli_command *command)
{
    AUTO_FREE char *title = xasprintf("hob %s%s%s%s", command->name, command->words[0] ? " " : "", command->words,
                                      command->opt_count ? " [options]" : "");
    request(b, ".SS", title);
    plain(b, command->summary);
    buf_text(b, ".\n");
    if (command->examples)
        examples(b, command->examples);
    options(b, command->opts, command->opt_count);
    if (command->notes) {
        buf_text(b, ".PP\n");
        plain(b, command->notes);
        buf_text(b, "\n");
    }
}

static void rows_write(struct buf *b, const char *name, const char *what)
{
    request(b, ".TP\n.B", name);
    plain(b, what);
    buf_text(b, "\n");
}

void help_manual(struct buf *b)
{
    buf_text(b, ".\\\" Made from the command tables by `hob __docs man`; do not edit.\n"
                ".TH HOB 1 \"\" \"hob " HOB_VERSION "\" \"User Commands\"\n.SH NAME\n"
                "hob \\- run functions and the models they need, from zero, isolated\n.SH SYNOPSIS\n"
                ".B hob\n\\fICOMMAND\\fR [\\fIWORD\\fR...] [\\fIoptions\\fR]\n.SH DESCRIPTION\n");
    plain(b, "hob takes a Knative Service, starts its function in a sandbox of its own when the first request comes, "
             "stops it when nobody calls, and keeps a record of where the time of every request went. `hob serve` is the "
             "server; every other command is a client of its API. Data goes to stdout, everything else to stderr.\n");
    buf_text(b, ".SH COMMANDS\n");
    for (size_t i = 0; i < cli_command_count; i++)
        if (!cli_commands[i]->hidden)
            command_write(b, cli_commands[i]);
    buf_text(b, ".SH OPTIONS OF EVERY COMMAND\n");
    options(b, cli_global_opts, cli_global_opt_count);
    buf_text(b, ".SH EXIT STATUS\n");
    for (size_t i = 0; i < exits_row_count; i++) {
        AUTO_FREE char *status = xasprintf("%d", exits_rows[i].status);
        rows_write(b, status, exits_rows[i].meaning);
    }
    buf_text(b, ".SH ENVIRONMENT\n");
    for (size_t i = 0; i < help_variable_count; i++)
        rows_write(b, help_variables[i].name, help_variables[i].what);
    buf_text(b, ".SH SEE ALSO\n.BR kubectl (1),\n.BR systemd.service (5)\n");
}
