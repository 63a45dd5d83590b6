#include "cli/put.h"

#include "cli/human.h"
#include "cli/kinds.h"
#include "cli/objects.h"
#include "cli/output.h"
#include "cli/redeploy.h"
#include "cli/remote.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

enum { POLL_FIRST_MS = 20, POLL_LAST_MS = 500, QUIET_MS = 300, CAUSE_SIZE = 512, TRIES_MAX = 5 };

static int64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void pause_ms(int64_t ms)
{
    const struct timespec span = { ms / 1000, ms % 1000 * 1000000 };
    (void)nanosleep(&span, NULL);
}

/* ---- bringing it there ---- */

struct errand { /* one object on its way */
    const struct kube_resource *kind;
    const char *ns, *name;
    json_t *object;
    bool pinned; /* the manifest itself says which version it is about */
    const struct put_options *options;
};

static char *target_of(const struct errand *w, const char *name, bool change)
{
    AUTO_FREE char *target = kinds_target(w->kind, w->ns, name);
    return xasprintf("%s%s", target, change && w->options->dry_run ? "?dryRun=All" : "");
}

static bool is_service(const struct errand *w)
{
    return w->kind == kinds_of_word(STR("ksvc"));
}

static int replace(struct cli *c, const struct errand *w, const json_t *old, json_t **ret, const char **ret_verb,
                   struct err *e)
{
    const char *seen = object_text(old, "metadata.resourceVersion");
    AUTO_FREE char *target = target_of(w, w->name, true);
    if (is_service(w))
        redeploy_mark(c, old, w->object, w->options->redeploy);
    if (seen[0] && !w->pinned)
        json_object_set_new(json_at(w->object, "metadata"), "resourceVersion", json_string(seen));
    int r = remote_send(c, "PUT", target, w->object, ret, e);
    if (r < 0)
        return r;
    bool same = strcmp(seen, object_text(*ret, "metadata.resourceVersion")) == 0;
    *ret_verb = same ? "unchanged" : "configured";
    return 0;
}

/* What `hob get -o yaml` printed may be applied where the object is gone: what the server wrote into
 * it was about that one, and a create that claims it is refused. */
static void server_owned_drop(json_t *service)
{
    static const char *const of_metadata[] = { "resourceVersion",   "uid",
                                               "creationTimestamp", "generation",
                                               "managedFields",     "selfLink",
                                               "deletionTimestamp", "deletionGracePeriodSeconds" };
    for (size_t i = 0; i < COUNT_OF(of_metadata); i++)
        json_object_del(json_at(service, "metadata"), of_metadata[i]);
    json_object_del(service, "status");
}

static int create(struct cli *c, const struct errand *w, json_t **ret, const char **ret_verb, struct err *e)
{
    AUTO_FREE char *all = target_of(w, NULL, true);
    *ret_verb = "created";
    server_owned_drop(w->object);
    return remote_send(c, "POST", all, w->object, ret, e);
}

static int bring_once(struct cli *c, const struct errand *w, json_t **ret, const char **ret_verb, struct err *e)
{
    AUTO_FREE char *one = target_of(w, w->name, false);
    AUTO_JSON json_t *old = NULL;
    struct err missing = { 0 };
    int r = remote_get(c, one, &old, &missing);
    if (r == 0)
        return replace(c, w, old, ret, ret_verb, e);
    if (r == -CODE_NOT_FOUND)
        return create(c, w, ret, ret_verb, e);
    *e = missing;
    return r;
}

/* The server itself writes into an object while it becomes ready, so between the look and the change it may be
 * another: looked at again, unless the manifest names the version that it is about. */
static int bring(struct cli *c, const struct errand *w, json_t **ret, const char **ret_verb, struct err *e)
{
    int r = bring_once(c, w, ret, ret_verb, e);
    for (int again = 1; again < TRIES_MAX && !w->pinned && (r == -CODE_ABORTED || r == -CODE_EXISTS); again++) {
        *e = (struct err){ 0 };
        pause_ms(POLL_FIRST_MS * again);
        r = bring_once(c, w, ret, ret_verb, e);
    }
    return r;
}

/* ---- waiting ---- */

/* What keeps it from being ready, as a line of its own that stays, once for each cause: its figures, as the
 * seconds that passed, make no new one. */
static void cause(const struct cli *c, const json_t *service, const char *name, char said[CAUSE_SIZE])
{
    char now[CAUSE_SIZE];
    size_t used = 0;
    const char *why = object_condition(service, "ConfigurationsReady").message;
    for (const char *at = why; *at && used < sizeof now - 1; at++)
        if (*at < '0' || *at > '9')
            now[used++] = *at;
    now[used] = '\0';
    if (!*now || c->global.quiet || strcmp(now, said) == 0)
        return;
    snprintf(said, CAUSE_SIZE, "%s", now);
    struct buf clean;
    buf_init(&clean, 4096);
    term_clean(&clean, str_of(why), false);
    AUTO_FREE char *text = buf_take_text(&clean);
    fprintf(stderr, "%shob: %s: %s\n", c->err_term.tty ? "\r\033[K" : "", name, text);
}

static void progress(const struct cli *c, const json_t *service, const char *name, int64_t ms)
{
    char line[256];
    struct object_condition ready = object_condition(service, "Ready");
    struct buf clean;
    if (!c->err_term.tty || c->global.quiet || ms < QUIET_MS)
        return;
    snprintf(line, sizeof line, "%s: %s%s%.*s  %s", name,
             ready.reason[0] ? ready.reason : "waiting until it is ready",
             ready.message[0] ? ": " : "", (int)MIN(strcspn(ready.message, "\n"), sizeof line),
             ready.message, human_us(ms * 1000, HUMAN));
    buf_init(&clean, 4 * sizeof line);
    term_clean(&clean, str_of(line), false);
    AUTO_FREE char *text = buf_take_text(&clean);
    fprintf(stderr, "\r%.*s\033[K", (int)c->err_term.width - 1, text);
}

static void progress_end(const struct cli *c)
{
    if (c->err_term.tty)
        fprintf(stderr, "\r\033[K");
}

/* 1: ready; 0: not yet. Only what was said about this generation counts. */
static int verdict(const struct errand *w, const json_t *service, int64_t generation, struct err *e)
{
    struct object_condition ready = object_condition(service, "Ready");
    if (json_int_at(service, "status.observedGeneration", 0) < generation)
        return 0;
    if (strcmp(ready.status, "False") == 0)
        return err_set(e, CODE_PRECONDITION, "%s %s: not ready: %s%s%s", w->kind->singular, w->name, ready.reason,
                       ready.message[0] ? ": " : "", ready.message);
    return strcmp(ready.status, "True") == 0;
}

static int not_in_time(const struct errand *w, const json_t *object, struct err *e)
{
    struct str why = str_of(object_condition(object, "Ready").message);
    if (why.size && why.at[why.size - 1] == '.')
        why.size--;
    AUTO_FREE char *more = is_service(w) ? xasprintf("hob describe %s", w->name)
                                         : xasprintf("hob get %s/%s -o yaml", w->kind->singular, w->name);
    return err_set(e, CODE_DEADLINE, "%s %s: not ready after %s%s" STR_FMT "; it goes on, see: %s",
                   w->kind->singular, w->name, human_us((int64_t)w->options->timeout_ms * 1000, HUMAN),
                   why.size ? ": " : "", STR_ARG(why), more);
}

static int wait_ready(struct cli *c, const struct errand *w, json_t **object, struct err *e)
{
    AUTO_FREE char *target = target_of(w, w->name, false);
    int64_t generation = json_int_at(*object, "metadata.generation", 0);
    int64_t begin_ms = clock_ms(), poll_ms = POLL_FIRST_MS;
    char said[CAUSE_SIZE] = "";
    int r;
    while ((r = verdict(w, *object, generation, e)) == 0) {
        json_t *now = NULL;
        if (clock_ms() - begin_ms >= w->options->timeout_ms)
            return not_in_time(w, *object, e);
        if (json_int_at(*object, "status.observedGeneration", 0) >= generation)
            cause(c, *object, w->name, said);
        progress(c, *object, w->name, clock_ms() - begin_ms);
        pause_ms(poll_ms);
        poll_ms = MIN(poll_ms * 3 / 2, POLL_LAST_MS);
        r = remote_get(c, target, &now, e);
        if (r < 0)
            return r;
        json_decref(*object);
        *object = now;
    }
    return MIN(r, 0);
}

static void say(struct cli *c, const struct errand *w, const char *verb, const json_t *now)
{
    if (w->options->output) {
        output_tree(c, output_of(c, w->options->output), now);
        return;
    }
    kinds_write_name(w->kind, w->name, &c->out);
    buf_printf(&c->out, " %s%s\n", verb, w->options->dry_run ? " (server dry run)" : "");
}

int put_object(struct cli *c, json_t *object, const struct put_options *o, struct err *e)
{
    AUTO_JSON json_t *now = NULL;
    const char *verb = NULL;
    struct errand w = { .object = object, .options = o };
    int r = kinds_of_object(object, &w.kind, e);
    if (r < 0)
        return r;
    const char *own_ns = object_text(object, "metadata.namespace");
    w.name = object_text(object, "metadata.name");
    w.ns = own_ns[0] ? own_ns : c->global.ns;
    w.pinned = object_text(object, "metadata.resourceVersion")[0];

    r = bring(c, &w, &now, &verb, e);
    if (r < 0 && w.kind->namespaced)
        return err_wrap(e, "%s %s/%s", w.kind->singular, w.ns, w.name);
    if (r < 0)
        return err_wrap(e, "%s %s", w.kind->singular, w.name);
    if (o->wait && kinds_waited_for(w.kind)) {
        cli_on_interrupt(
            "hob: interrupted; the service goes on becoming ready (hob get shows it)\n");
        r = wait_ready(c, &w, &now, e);
        cli_on_interrupt(NULL);
        progress_end(c);
    }
    say(c, &w, verb, now);
    return r;
}
