/* hob completion: the scripts; and hob __complete, which they ask. The scripts know nothing of hob's
 * commands, so they never grow old. */
#include "cli/commands.h"
#include "cli/complete.h"
#include "cli/help.h"
#include "cli/objects.h"
#include "cli/remote.h"

static const char bash_script[] =
    "# bash completion for hob; load with: source <(hob completion bash)\n"
    "_hob() {\n"
    "    local line word candidates=() words=(\"${COMP_WORDS[@]:1:COMP_CWORD}\")\n"
    "    local cur=\"${COMP_WORDS[COMP_CWORD]}\"\n"
    "    # bash cuts words at '=' and ':'; hob wants them whole\n"
    "    if declare -F _get_comp_words_by_ref > /dev/null; then\n"
    "        local cword\n"
    "        _get_comp_words_by_ref -n =: -w words -i cword -c cur\n"
    "        words=(\"${words[@]:1:cword}\")\n"
    "    fi\n"
    "    COMPREPLY=()\n"
    "    while IFS= read -r line; do\n"
    "        word=\"${line%%$'\\t'*}\"\n"
    "        if [[ $word == :files ]]; then\n"
    "            compopt -o filenames 2> /dev/null\n"
    "            while IFS= read -r word; do COMPREPLY+=(\"$word\"); done < <(compgen -f -- \"$cur\")\n"
    "        else\n"
    "            candidates+=(\"$word\")\n"
    "        fi\n"
    "    done < <(\"${COMP_WORDS[0]}\" __complete -- \"${words[@]}\" 2> /dev/null)\n"
    "    COMPREPLY+=(\"${candidates[@]}\")\n"
    "    if declare -F __ltrim_colon_completions > /dev/null; then\n"
    "        __ltrim_colon_completions \"$cur\"\n"
    "    fi\n"
    "}\n"
    "complete -F _hob hob\n";

static const char zsh_script[] =
    "#compdef hob\n"
    "# zsh completion for hob; load with: source <(hob completion zsh)\n"
    "_hob() {\n"
    "    local line word what\n"
    "    local -a candidates\n"
    "    for line in \"${(@f)$(\"${words[1]}\" __complete -- \"${(@)words[2,$CURRENT]}\" 2> /dev/null)}\"; do\n"
    "        word=\"${line%%$'\\t'*}\"\n"
    "        what=\"${line#*$'\\t'}\"\n"
    "        if [[ $word == :files ]]; then\n"
    "            _files\n"
    "        elif [[ -n $word ]]; then\n"
    "            candidates+=(\"${word//:/\\\\:}${what:+:$what}\")\n"
    "        fi\n"
    "    done\n"
    "    (( ${#candidates} )) && _describe 'hob' candidates\n"
    "}\n"
    "if [[ $zsh_eval_context[-1] == loadautofunc ]]; then\n"
    "    _hob \"$@\"\n"
    "else\n"
    "    compdef _hob hob\n"
    "fi\n";

static const char fish_script[] =
    "# fish completion for hob; load with: hob completion fish | source\n"
    "function __hob_complete\n"
    "    set -l words (commandline -opc) (commandline -ct)\n"
    "    for line in ($words[1] __complete -- $words[2..-1] 2> /dev/null)\n"
    "        if test \"$line\" = ':files'\n"
    "            __fish_complete_path (commandline -ct)\n"
    "        else\n"
    "            echo $line\n"
    "        end\n"
    "    end\n"
    "end\n"
    "complete -c hob -f -a '(__hob_complete)'\n";

static int run_completion(struct cli *c, struct err *e)
{
    const char *shell = c->words.at[0];
    const char *script = strcmp(shell, "bash") == 0   ? bash_script
                         : strcmp(shell, "zsh") == 0  ? zsh_script
                         : strcmp(shell, "fish") == 0 ? fish_script
                                                      : NULL;
    if (!script) {
        err_set(e, CODE_INVALID, "shell '%s': it is bash, zsh or fish", shell);
        return cli_usage(c, e);
    }
    buf_text(&c->out, script);
    return EXITS_OK;
}

const struct cli_command cmd_completion = {
    .name = "completion",
    .summary = "completion for bash, zsh or fish",
    .words = "bash|zsh|fish",
    .examples = "source <(hob completion bash)  in ~/.bashrc\n"
                "source <(hob completion zsh)  in ~/.zshrc, after compinit\n"
                "hob completion fish | source  in config.fish",
    .words_min = 1,
    .words_max = 1,
    .choices = "bash|zsh|fish",
    .local = true,
    .run = run_completion,
};

/* ---- what the scripts ask ---- */

static void list_names(struct cli *c, const char *target, const char *path, struct buf *into)
{
    AUTO_JSON json_t *list = remote_peek(c, target);
    json_t *one;
    size_t i;
    json_array_foreach(json_at(list, "items"), i, one)
        if (object_text(one, path)[0])
            buf_printf(into, "%s\n", object_text(one, path));
}

static void names(void *ctx, enum opt_complete of, struct buf *into)
{
    struct cli *c = ctx;
    AUTO_FREE char *services =
        remote_target(REMOTE_KNATIVE "/namespaces/", c->global.ns, "/services", NULL);
    AUTO_FREE char *revisions =
        remote_target(REMOTE_KNATIVE "/namespaces/", c->global.ns, "/revisions", NULL);
    AUTO_FREE char *records =
        remote_target("/v1/invocations?limit=20&namespace=", c->global.ns, NULL);
    if (of == OPT_COMPLETE_SERVICES || of == OPT_COMPLETE_RECORDS)
        list_names(c, services, "metadata.name", into);
    if (of == OPT_COMPLETE_REVISIONS)
        list_names(c, revisions, "metadata.name", into);
    if (of == OPT_COMPLETE_RECORDS)
        list_names(c, records, "id", into);
    if (of == OPT_COMPLETE_INSTANCES)
        list_names(c, "/v1/instances", "id", into);
    if (of == OPT_COMPLETE_MODELS)
        list_names(c, "/v1/models", "digest", into);
}

/* Its words are a command line that is not finished, so nothing about them is an error; but a
 * namespace or a server named in them is what the names must come from. */
static void adopt_globals(struct cli *c)
{
    for (size_t i = 0; i + 2 < c->words.count; i++) {
        const char *word = c->words.at[i], *value = c->words.at[i + 1];
        if (strcmp(word, "-n") == 0 || strcmp(word, "--namespace") == 0)
            c->global.ns = value;
        else if (strcmp(word, "-s") == 0 || strcmp(word, "--server") == 0)
            c->global.server = value;
    }
    c->global.server = reach_server(c->global.server, c->socket);
}

static int run_complete(struct cli *c, struct err *e)
{
    const struct complete_source source = { names, c };
    (void)e;
    adopt_globals(c);
    complete_write(c->words.at, c->words.count, &source, &c->out);
    return EXITS_OK;
}

const struct cli_command cmd_complete = {
    .name = "__complete",
    .summary = "candidates for an unfinished command line",
    .words = "[WORD...]",
    .words_max = OPT_WORDS_MAX,
    .hidden = true,
    .run = run_complete,
};

/* ---- hob __docs: pages made from tables ---- */

static void limits_markdown(struct buf *b)
{
    buf_text(
        b,
        "# Limits\n\nMade from src/base/limits.h by `hob __docs limits`; do not edit. "
        "`hob limits` shows the values of a running server,\n`hob serve --limit name=value` "
        "changes one.\n\n| limit | default | unit | range | what for |\n|---|---|---|---|---|\n");
    for (size_t i = 0; i < limit_row_count; i++) {
        const struct limit_row *row = &limit_rows[i];
        buf_printf(b, "| `%s` | %llu | %s | %llu to %llu | %s |\n", row->name,
                   (unsigned long long)row->initial, row->unit, (unsigned long long)row->min,
                   (unsigned long long)row->max, row->help);
    }
}

static int run_docs(struct cli *c, struct err *e)
{
    if (strcmp(c->words.at[0], "cli") == 0)
        help_markdown(&c->out);
    else if (strcmp(c->words.at[0], "limits") == 0)
        limits_markdown(&c->out);
    else if (strcmp(c->words.at[0], "man") == 0)
        help_manual(&c->out);
    else
        return err_set(e, CODE_NOT_FOUND, "page '%s': it is cli, limits or man", c->words.at[0]);
    return EXITS_OK;
}

const struct cli_command cmd_docs = {
    .name = "__docs",
    .summary = "a page of docs/reference",
    .words = "cli|limits|man",
    .words_min = 1,
    .words_max = 1,
    .hidden = true,
    .local = true,
    .run = run_docs,
};
