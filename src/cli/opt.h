/* opt.h -- command-line options from a table: parsing, and the same rows for --help and completion.
 *
 * Receives argv and tables of rows; each row names the field of a struct that its value goes to.
 * Owns nothing but the arrays of OPT_LIST fields (opt_lists_done()); texts are borrowed from argv.
 * Emits filled structs and the words that are no options, in order.
 * Refuses unknown options (and says which one is near), missing or superfluous values, values out of
 * range. Pure: no output, no environment, no exit.
 *
 * Forms, as GNU getopt_long has them: --name value, --name=value, -n value, -nvalue, -ab, and `--`
 * ends the options. A flag also takes --name=true|false and --no-name. Options may follow words.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

enum opt_kind {
    OPT_FLAG,   /* bool */
    OPT_TEXT,   /* const char * */
    OPT_LIST,   /* struct opt_list; may be repeated */
    OPT_U32,    /* uint32_t within [min, max] */
    OPT_MS,     /* uint32_t milliseconds: 500ms, 30s, 2m, 1h; a plain number is seconds */
    OPT_CHOICE, /* const char *, one of `choices` */
};

enum { OPT_LIST_MAX = 256, OPT_WORDS_MAX = 256 };

struct opt_list {
    const char **at;
    size_t count;
};

/* What can stand at a place, for completion. */
enum opt_complete {
    OPT_COMPLETE_NONE,
    OPT_COMPLETE_FILES,
    OPT_COMPLETE_SERVICES,
    OPT_COMPLETE_REVISIONS,
    OPT_COMPLETE_INSTANCES,
    OPT_COMPLETE_MODELS,
    OPT_COMPLETE_RECORDS, /* invocation ids and services */
    OPT_COMPLETE_COMMANDS,
    OPT_COMPLETE_CHOICES, /* the row's own */
};

struct opt {
    const char *name; /* long, without the dashes */
    char letter;      /* 0: none */
    enum opt_kind kind;
    size_t offset;
    const char *value;   /* what --help calls the value: "FILE"; NULL for flags */
    const char *help;    /* lower case, no full stop; may name the default */
    const char *choices; /* "table|wide|json" */
    uint32_t min, max;   /* OPT_U32, OPT_MS; max 0: no bound but the type's */
    enum opt_complete complete;
};

struct opt_set { /* one table and the struct its offsets point into */
    const struct opt *rows;
    size_t count;
    void *into;
};

struct opt_words {
    const char *at[OPT_WORDS_MAX];
    size_t count;
};

/* Parses argv[0..argc) (no program name). until_word: stops before the first word that is no option
 * and returns how many elements were used; else returns argc. Fields of options that do not occur
 * keep what the caller put there. */
int opt_parse(const struct opt_set *sets, size_t set_count, int argc, const char *const *argv,
              bool until_word, struct opt_words *words, struct err *e) MUST_USE;
void opt_lists_done(const struct opt_set *sets, size_t set_count);

bool opt_duration_ms(struct str text, uint32_t *ret_ms);
/* Calls back for each of "a|b|c". */
bool opt_choice_next(struct str *rest, struct str *ret_choice);
