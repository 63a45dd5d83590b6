#include "cli/help.h"

#include <stdio.h>

enum { OPTION_COLUMNS = 30, EXAMPLE_COLUMNS = 50, NAME_COLUMNS = 12 };

const struct help_variable help_variables[] = {
    { "HOB_SERVER", "as `--server`" },
    { "HOB_TOKEN", "the API's token, where it is reached over TCP" },
    { "HOB_RUNTIME_DIR", "the folder of the API's unix sockets (root: /run/hob)" },
    { "HOB_NAMESPACE", "as `--namespace`" },
    { "HOB_INGRESS", "where functions are called, host:port; else the server says it" },
    { "NO_COLOR", "no colour" },
    { "COLUMNS", "width of the picture when the output is not a terminal" },
};
const size_t help_variable_count = COUNT_OF(help_variables);

static void heading(const struct term *t, struct buf *b, const char *text)
{
    buf_text(b, "\n");
    term_styled(t, b, STYLE_BOLD, "%s", text);
    buf_text(b, "\n");
}

/* A line of examples: the command, two blanks, what it is for. */
static void example(const struct term *t, struct buf *b, struct str line)
{
    const char *gap = line.size ? memmem(line.at, line.size, "  ", 2) : NULL;
    if (!gap) {
        buf_printf(b, "  " STR_FMT "\n", STR_ARG(line));
        return;
    }
    struct str command = { line.at, (size_t)(gap - line.at) };
    struct str what = str_trim(str_from(line, command.size));
    buf_printf(b, "  %-*.*s  ", EXAMPLE_COLUMNS, STR_ARG(command));
    term_styled(t, b, STYLE_DIM, STR_FMT, STR_ARG(what));
    buf_text(b, "\n");
}

static void examples(const struct term *t, struct buf *b, const char *lines)
{
    struct str rest = str_of(lines);
    while (rest.size)
        example(t, b, str_cut(&rest, '\n'));
}

static const char *option_name(const struct opt *o, char into[80])
{
    char letter[8] = "    ";
    if (o->letter)
        snprintf(letter, sizeof letter, "-%c, ", o->letter);
    snprintf(into, 80, "%s--%s%s%s", letter, o->name, o->value ? " " : "",
             o->value ? o->value : "");
    return into;
}

static void options(struct buf *b, const struct opt *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char name[80];
        option_name(&rows[i], name);
        if (strlen(name) > OPTION_COLUMNS)
            buf_printf(b, "  %s\n  %-*s  %s\n", name, OPTION_COLUMNS, "", rows[i].help);
        else
            buf_printf(b, "  %-*s  %s\n", OPTION_COLUMNS, name, rows[i].help);
    }
}

void help_overview(const struct term *t, struct buf *b)
{
    buf_text(b, "hob runs functions and the models they need, from zero, isolated, and says where "
                "the time goes\n");
    heading(t, b, "examples");
    examples(t, b,
             "hob serve                   start hob here\n"
             "hob apply -f service.yaml   deploy what a Knative Service describes\n"
             "hob invoke greeter -d hello  call it\n"
             "hob explain greeter         why its last cold start took what it took");
    heading(t, b, "commands");
    for (size_t i = 0; i < cli_command_count; i++) {
        const struct cli_command *command = cli_commands[i];
        if (!command->hidden)
            buf_printf(b, "  %-*s  %s\n", NAME_COLUMNS, command->name, command->summary);
    }
    heading(t, b, "options of every command");
    options(b, cli_global_opts, cli_global_opt_count);
    buf_text(b, "\n`hob COMMAND -h` shows a command's examples and options.\n");
}

void help_command(const struct cli_command *command, const struct term *t, struct buf *b)
{
    buf_printf(b, "hob %s: %s\n", command->name, command->summary);
    if (command->examples) {
        heading(t, b, "examples");
        examples(t, b, command->examples);
    }
    heading(t, b, "usage");
    buf_printf(b, "  hob %s%s%s%s\n", command->name, command->words[0] ? " " : "", command->words,
               command->opt_count ? " [options]" : "");
    if (command->opt_count) {
        heading(t, b, "options");
        options(b, command->opts, command->opt_count);
    }
    if (command->notes)
        buf_printf(b, "\n%s\n", command->notes);
    if (command->run_raw) /* it has only its own */
        return;
    heading(t, b, "options of every command");
    options(b, cli_global_opts, cli_global_opt_count);
}

static void escaped(struct buf *b, const char *text)
{
    for (; *text; text++)
        buf_printf(b, "%s%c", *text == '|' || *text == '<' ? "\\" : "", *text);
}

static void markdown_options(struct buf *b, const struct opt *rows, size_t count)
{
    buf_text(b, "| option | what |\n|---|---|\n");
    for (size_t i = 0; i < count; i++) {
        char name[80];
        buf_printf(b, "| `%s` | ", str_trim(str_of(option_name(&rows[i], name))).at);
        escaped(b, rows[i].help);
        buf_text(b, " |\n");
    }
    buf_text(b, "\n");
}

void help_markdown(struct buf *b)
{
    buf_text(b, "# hob, the command line\n\n"
                "Made from the command tables by `hob __docs cli`; do not edit.\n\n"
                "Data goes to stdout, everything else to stderr. Colour and bars appear on a "
                "terminal only (`NO_COLOR` and\n`--color never` switch them off).\n\n"
                "## Exit status\n\n| status | meaning |\n|---|---|\n");
    for (size_t i = 0; i < exits_row_count; i++)
        buf_printf(b, "| %d | %s |\n", exits_rows[i].status, exits_rows[i].meaning);
    buf_text(b, "\n## Environment\n\n| variable | what |\n|---|---|\n");
    for (size_t i = 0; i < help_variable_count; i++)
        buf_printf(b, "| `%s` | %s |\n", help_variables[i].name, help_variables[i].what);
    buf_text(b, "\n## Options of every command\n\n");
    markdown_options(b, cli_global_opts, cli_global_opt_count);
    for (size_t i = 0; i < cli_command_count; i++) {
        const struct cli_command *command = cli_commands[i];
        if (command->hidden)
            continue;
        buf_printf(b, "## hob %s\n\n%s.\n\n", command->name, command->summary);
        if (command->examples)
            buf_printf(b, "```\n%s\n```\n\n", command->examples);
        buf_printf(b, "Usage: `hob %s%s%s%s`\n\n", command->name, command->words[0] ? " " : "",
                   command->words, command->opt_count ? " [options]" : "");
        if (command->opt_count)
            markdown_options(b, command->opts, command->opt_count);
        if (command->notes)
            buf_printf(b, "%s\n\n", command->notes);
    }
}
