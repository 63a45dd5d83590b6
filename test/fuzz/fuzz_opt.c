/* Any command line: what is parsed can be written in the one canonical form (--name=value for each
 * option, then -- and the words), and that form gives the same values. */
#include "cli/opt.h"

#include <stdio.h>
#include <stdlib.h>

struct values {
    bool follow, quiet;
    const char *file, *output;
    struct opt_list env;
    uint32_t tail, timeout_ms;
};
static const struct opt first[] = {
#define AT(field) offsetof(struct values, field)
    { "follow", 'f', OPT_FLAG, AT(follow), NULL, "" },
    { "file", 'F', OPT_TEXT, AT(file), "FILE", "" },
    { "env", 'e', OPT_LIST, AT(env), "X", "" },
    { "tail", 't', OPT_U32, AT(tail), "N", "", .min = 1, .max = 100 },
};
static const struct opt second[] = {
    { "timeout", 0, OPT_MS, AT(timeout_ms), "TIME", "" },
    { "output", 'o', OPT_CHOICE, AT(output), "FORMAT", "", "table|json|yaml" },
    { "quiet", 'q', OPT_FLAG, AT(quiet), NULL, "" },
#undef AT
};

static int parse(struct values *v, struct opt_words *words, int argc, const char *const *argv)
{
    const struct opt_set sets[] = { { first, COUNT_OF(first), v },
                                    { second, COUNT_OF(second), v } };
    struct err e = { 0 };
    *v = (struct values){ .tail = 1 };
    *words = (struct opt_words){ 0 };
    int r = opt_parse(sets, 2, argc, argv, false, words, &e);
    ASSERT(r == argc || (r == -CODE_INVALID && e.text[0]));
    return r;
}
static void done(struct values *v)
{
    const struct opt_set sets[] = { { first, COUNT_OF(first), v },
                                    { second, COUNT_OF(second), v } };
    opt_lists_done(sets, 2);
}

static bool same(const char *a, const char *b) { return a && b ? strcmp(a, b) == 0 : a == b; }

static void check_same(const struct values *a, const struct values *b, const struct opt_words *x,
                       const struct opt_words *y)
{
    ASSERT(a->follow == b->follow && a->quiet == b->quiet && a->tail == b->tail);
    ASSERT(a->timeout_ms == b->timeout_ms && same(a->file, b->file) && same(a->output, b->output));
    ASSERT(a->env.count == b->env.count && x->count == y->count);
    for (size_t i = 0; i < a->env.count; i++)
        ASSERT(same(a->env.at[i], b->env.at[i]));
    for (size_t i = 0; i < x->count; i++)
        ASSERT(same(x->at[i], y->at[i]));
}

static void canonical(const struct values *v, const struct opt_words *words)
{
    char *argv[OPT_LIST_MAX + OPT_WORDS_MAX + 16];
    struct values again;
    struct opt_words words_again;
    int argc = 0;
    argv[argc++] = xasprintf("--follow=%s", v->follow ? "true" : "false");
    argv[argc++] = xasprintf("--quiet=%s", v->quiet ? "true" : "false");
    argv[argc++] = xasprintf("--tail=%u", v->tail);
    argv[argc++] = xasprintf("--timeout=%ums", v->timeout_ms);
    if (v->file)
        argv[argc++] = xasprintf("--file=%s", v->file);
    if (v->output)
        argv[argc++] = xasprintf("--output=%s", v->output);
    for (size_t i = 0; i < v->env.count; i++)
        argv[argc++] = xasprintf("--env=%s", v->env.at[i]);
    argv[argc++] = xstrdup("--");
    for (size_t i = 0; i < words->count; i++)
        argv[argc++] = xstrdup(words->at[i]);
    ASSERT(parse(&again, &words_again, argc, (const char *const *)argv) == argc);
    check_same(v, &again, words, &words_again);
    done(&again);
    for (int i = 0; i < argc; i++)
        free(argv[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    enum { ARGS_MAX = 600 };
    const char *argv[ARGS_MAX];
    struct values v;
    struct opt_words words;
    int argc = 0;
    if (size > 1 << 16)
        return 0;
    AUTO_FREE char *text = xcalloc(size + 1, 1); /* arguments are separated by NUL or newline */
    if (size)
        memcpy(text, in, size);
    for (size_t i = 0; i < size && argc < ARGS_MAX; i++) {
        if (text[i] == '\n')
            text[i] = '\0';
        if (i == 0 || text[i - 1] == '\0')
            argv[argc++] = text + i;
    }
    if (parse(&v, &words, argc, argv) >= 0)
        canonical(&v, &words);
    done(&v);
    return 0;
}
