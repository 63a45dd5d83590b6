#include "cli/opt.h"

#include "base/suggest.h"

#include <stdlib.h>

struct parser {
    const struct opt_set *sets;
    size_t set_count;
    int argc, at;
    const char *const *argv;
};

bool opt_choice_next(struct str *rest, struct str *ret_choice)
{
    if (rest->size == 0)
        return false;
    *ret_choice = str_cut(rest, '|');
    return true;
}

bool opt_duration_ms(struct str text, uint32_t *ret_ms)
{
    static const struct {
        const char *suffix;
        uint64_t ms;
    } units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "", 1000 } };
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        struct str suffix = str_of(units[i].suffix);
        uint64_t n;
        if (!str_ends(text, suffix))
            continue;
        if (!str_u64(str_head(text, text.size - suffix.size), &n) ||
            __builtin_mul_overflow(n, units[i].ms, &n) || n > UINT32_MAX)
            return false;
        *ret_ms = (uint32_t)n;
        return true;
    }
    return false;
}

static void *field_of(const struct opt_set *set, const struct opt *o)
{
    return (char *)set->into + o->offset;
}

static int choice_check(const struct opt *o, const char *value, struct err *e)
{
    struct str rest = str_of(o->choices), choice;
    struct suggest near = suggest_begin(str_of(value));
    while (opt_choice_next(&rest, &choice)) {
        if (str_is(choice, value))
            return 0;
        suggest_offer(&near, choice);
    }
    return err_set(e, CODE_INVALID, "--%s: '%s' is none of %s%s", o->name, value, o->choices,
                   suggest_phrase(&near, (char[SUGGEST_TEXT]){ 0 }));
}

static int list_add(struct opt_list *list, const struct opt *o, const char *value, struct err *e)
{
    if (list->count == OPT_LIST_MAX)
        return err_set(e, CODE_INVALID, "--%s: given more than %d times", o->name, OPT_LIST_MAX);
    list->at = xrealloc(list->at, list->count + 1, sizeof *list->at);
    list->at[list->count++] = value;
    return 0;
}

static int number_set(const struct opt *o, uint32_t *field, const char *value, struct err *e)
{
    uint32_t max = o->max ? o->max : UINT32_MAX;
    uint64_t n;
    if (!str_u64(str_of(value), &n) || n < o->min || n > max)
        return err_set(e, CODE_INVALID, "--%s: '%s' is not a whole number from %u to %u", o->name,
                       value, o->min, max);
    *field = (uint32_t)n;
    return 0;
}

static int value_set(const struct opt_set *set, const struct opt *o, const char *value,
                     struct err *e)
{
    void *field = field_of(set, o);
    int r;
    switch (o->kind) {
    case OPT_FLAG:
        if (value && strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
            return err_set(e, CODE_INVALID, "--%s: '%s' is neither true nor false", o->name, value);
        *(bool *)field = !value || value[0] == 't';
        return 0;
    case OPT_CHOICE:
        r = choice_check(o, value, e);
        if (r < 0)
            return r;
        *(const char **)field = value;
        return 0;
    case OPT_TEXT: *(const char **)field = value; return 0;
    case OPT_LIST: return list_add(field, o, value, e);
    case OPT_U32: return number_set(o, field, value, e);
    case OPT_MS:
        if (!opt_duration_ms(str_of(value), field))
            return err_set(e, CODE_INVALID,
                           "--%s: '%s' is not a duration; write 500ms, 30s, 2m or 1h", o->name,
                           value);
        return 0;
    }
    UNREACHABLE("every kind returns");
}

static const struct opt *find_name(const struct parser *p, struct str name,
                                   const struct opt_set **ret_set)
{
    for (size_t s = 0; s < p->set_count; s++)
        for (size_t i = 0; i < p->sets[s].count; i++)
            if (str_is(name, p->sets[s].rows[i].name)) {
                *ret_set = &p->sets[s];
                return &p->sets[s].rows[i];
            }
    return NULL;
}

static const struct opt *find_letter(const struct parser *p, char letter,
                                     const struct opt_set **ret_set)
{
    for (size_t s = 0; s < p->set_count; s++)
        for (size_t i = 0; i < p->sets[s].count; i++)
            if (letter && p->sets[s].rows[i].letter == letter) {
                *ret_set = &p->sets[s];
                return &p->sets[s].rows[i];
            }
    return NULL;
}

static int unknown_name(const struct parser *p, struct str name, struct err *e)
{
    struct suggest near = suggest_begin(name);
    for (size_t s = 0; s < p->set_count; s++)
        for (size_t i = 0; i < p->sets[s].count; i++)
            suggest_offer(&near, str_of(p->sets[s].rows[i].name));
    if (near.best.size)
        return err_set(e, CODE_INVALID,
                       "no option is called --" STR_FMT "; did you mean --" STR_FMT "?",
                       STR_ARG(name), STR_ARG(near.best));
    return err_set(e, CODE_INVALID, "no option is called --" STR_FMT, STR_ARG(name));
}

static int missing_value(const struct opt *o, struct err *e)
{
    return err_set(e, CODE_INVALID, "--%s: a value must follow (%s)", o->name, o->value);
}

static int long_option(struct parser *p, struct err *e)
{
    const char *word = p->argv[p->at++] + 2;
    const char *equals = strchr(word, '=');
    struct str name = { word, equals ? (size_t)(equals - word) : strlen(word) };
    const char *value = equals ? equals + 1 : NULL;
    const struct opt_set *set = NULL;

    const struct opt *o = find_name(p, name, &set);
    if (!o && str_starts(name, STR("no-"))) {
        o = find_name(p, str_from(name, 3), &set);
        if (o && (o->kind != OPT_FLAG || value))
            o = NULL;
        value = "false";
    }
    if (!o)
        return unknown_name(p, name, e);
    if (o->kind == OPT_FLAG || value)
        return value_set(set, o, value, e);
    if (p->at == p->argc)
        return missing_value(o, e);
    return value_set(set, o, p->argv[p->at++], e);
}

static int short_options(struct parser *p, struct err *e)
{
    const char *word = p->argv[p->at++] + 1;
    for (; *word; word++) {
        const struct opt_set *set = NULL;
        const struct opt *o = find_letter(p, *word, &set);
        int r;
        if (!o)
            return err_set(e, CODE_INVALID, "no option is called -%c", *word);
        if (o->kind == OPT_FLAG) {
            r = value_set(set, o, NULL, e);
            if (r < 0)
                return r;
            continue;
        }
        if (word[1])
            return value_set(set, o, word + 1 + (word[1] == '='), e);
        if (p->at == p->argc)
            return missing_value(o, e);
        return value_set(set, o, p->argv[p->at++], e);
    }
    return 0;
}

int opt_parse(const struct opt_set *sets, size_t set_count, int argc, const char *const *argv,
              bool until_word, struct opt_words *words, struct err *e)
{
    struct parser p = { sets, set_count, argc, 0, argv };
    bool only_words = false;
    int r = 0;
    while (r == 0 && p.at < argc) {
        const char *word = argv[p.at];
        if (!only_words && strcmp(word, "--") == 0) {
            only_words = true;
            p.at++;
        } else if (!only_words && word[0] == '-' && word[1] == '-') {
            r = long_option(&p, e);
        } else if (!only_words && word[0] == '-' && word[1]) {
            r = short_options(&p, e);
        } else if (until_word) {
            return p.at;
        } else if (words->count == OPT_WORDS_MAX) {
            return err_set(e, CODE_INVALID, "more than %d names", OPT_WORDS_MAX);
        } else {
            words->at[words->count++] = word;
            p.at++;
        }
    }
    return r < 0 ? r : argc;
}

void opt_lists_done(const struct opt_set *sets, size_t set_count)
{
    for (size_t s = 0; s < set_count; s++)
        for (size_t i = 0; i < sets[s].count; i++)
            if (sets[s].rows[i].kind == OPT_LIST) {
                struct opt_list *list = field_of(&sets[s], &sets[s].rows[i]);
                free(list->at);
                *list = (struct opt_list){ 0 };
            }
}
