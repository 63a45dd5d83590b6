#include "cli/complete.h"

enum { NAMES_BYTES_MAX = 1 << 20 };

struct state {
    const struct cli_command *command;
    const struct complete_source *source;
    struct str typed;
    struct buf *out;
};

static void offer(const struct state *s, struct str candidate, const char *what)
{
    if (str_starts(candidate, s->typed) && candidate.size)
        buf_printf(s->out, STR_FMT "\t%s\n", STR_ARG(candidate), what ? what : "");
}

static void offer_choices(const struct state *s, const char *choices)
{
    struct str rest = str_of(choices ? choices : ""), choice;
    while (opt_choice_next(&rest, &choice))
        offer(s, choice, NULL);
}

static void offer_names(const struct state *s, enum opt_complete of)
{
    struct buf names;
    buf_init(&names, NAMES_BYTES_MAX);
    s->source->names(s->source->ctx, of, &names);
    struct str rest = buf_str(&names);
    while (rest.size)
        offer(s, str_cut(&rest, '\n'), NULL);
    buf_done(&names);
}

static void offer_commands(const struct state *s)
{
    for (size_t i = 0; i < cli_command_count; i++)
        if (!cli_commands[i]->hidden)
            offer(s, str_of(cli_commands[i]->name), cli_commands[i]->summary);
}

static void offer_place(const struct state *s, enum opt_complete of, const char *choices)
{
    switch (of) {
    case OPT_COMPLETE_NONE: return;
    case OPT_COMPLETE_FILES: buf_text(s->out, ":files\n"); return;
    case OPT_COMPLETE_COMMANDS: offer_commands(s); return;
    case OPT_COMPLETE_CHOICES: offer_choices(s, choices); return;
    case OPT_COMPLETE_SERVICES:
    case OPT_COMPLETE_REVISIONS:
    case OPT_COMPLETE_INSTANCES:
    case OPT_COMPLETE_MODELS:
    case OPT_COMPLETE_RECORDS: offer_names(s, of); return;
    }
}

static void offer_options(const struct state *s, const struct opt *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char name[64] = "--";
        strncat(name, rows[i].name, sizeof name - 3);
        offer(s, str_of(name), rows[i].help);
    }
}

static const struct opt *row_find(const struct opt *rows, size_t count, struct str word)
{
    bool is_long = str_starts(word, STR("--"));
    for (size_t i = 0; i < count; i++)
        if ((is_long && str_is(str_from(word, 2), rows[i].name)) ||
            (!is_long && word.size == 2 && word.at[0] == '-' && rows[i].letter == word.at[1]))
            return &rows[i];
    return NULL;
}

/* The option whose value comes next, if the word is one that takes a value. */
static const struct opt *waiting_for(const struct state *s, const char *word)
{
    const struct opt *o = NULL;
    if (word[0] == '-' && s->command)
        o = row_find(s->command->opts, s->command->opt_count, str_of(word));
    if (word[0] == '-' && !o)
        o = row_find(cli_global_opts, cli_global_opt_count, str_of(word));
    return o && o->kind != OPT_FLAG ? o : NULL;
}

/* `--output=js`: the value is completed, and offered with the option in front, as shells want it. */
static bool offer_joined(const struct state *s)
{
    struct str value = s->typed, name = str_cut(&value, '=');
    if (!str_starts(name, STR("--")) || name.size == s->typed.size)
        return false;
    AUTO_FREE char *word = xstrndup(name.at, name.size);
    const struct opt *o = waiting_for(s, word);
    struct str rest = str_of(o && o->choices ? o->choices : ""), choice;
    while (opt_choice_next(&rest, &choice))
        if (str_starts(choice, value))
            buf_printf(s->out, "%s=" STR_FMT "\t\n", word, STR_ARG(choice));
    return true;
}

void complete_write(const char *const *words, size_t count, const struct complete_source *source,
                    struct buf *into)
{
    struct state s = { .source = source,
                       .out = into,
                       .typed = str_of(count ? words[count - 1] : "") };
    const struct opt *waiting = NULL;
    size_t given = 0; /* words of the command so far */
    bool only_words = false;

    for (size_t i = 0; i + 1 < count; i++) {
        if (waiting) {
            waiting = NULL;
        } else if (!only_words && strcmp(words[i], "--") == 0) {
            only_words = true;
        } else if (!only_words && words[i][0] == '-') {
            waiting = waiting_for(&s, words[i]);
        } else if (s.command) {
            given++;
        } else {
            s.command = cli_command_find(str_of(words[i]));
            if (!s.command)
                return; /* not a command: nothing is known about what follows */
        }
    }
    if (waiting) {
        offer_place(&s, waiting->complete, waiting->choices);
    } else if (!only_words && s.typed.size && s.typed.at[0] == '-') {
        if (offer_joined(&s))
            return;
        if (s.command)
            offer_options(&s, s.command->opts, s.command->opt_count);
        offer_options(&s, cli_global_opts, cli_global_opt_count);
    } else if (!s.command) {
        offer_commands(&s);
    } else {
        if (given == 0)
            offer_choices(&s, s.command->choices);
        if (given < s.command->words_max)
            offer_place(&s, s.command->complete, s.command->choices);
    }
}
