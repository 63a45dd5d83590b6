#include "cli/put.h"

#include "cli/human.h"
#include "cli/objects.h"
#include "cli/output.h"
#include "cli/redeploy.h"
#include "cli/remote.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

enum { POLL_FIRST_MS = 20, POLL_LAST_MS = 500, QUIET_MS = 300, CAUSE_SIZE = 512 };

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

static int service_check(const json_t *service, struct err *e)
{
    const char *kind = object_text(service, "kind"), *version = object_text(service, "apiVersion");
    if (strcmp(kind, "Service") != 0 || strcmp(version, "serving.knative.dev/v1") != 0)
        return err_set(
            e, CODE_INVALID,
            "%s %s: only Service of serving.knative.dev/v1 can be applied; kubectl applies the "
            "other kinds, see: hob kubeconfig -h",
            version[0] ? version : "an object without apiVersion", kind[0] ? kind : "(no kind)");
    if (!object_text(service, "metadata.name")[0])
        return err_set(e, CODE_INVALID, "Service: metadata.name is missing");
    return 0;
}

static int replace(struct cli *c, const char *target, json_t *service, const json_t *old,
                   bool redeploy, json_t **ret, const char **ret_verb, struct err *e)
{
    const char *seen = object_text(old, "metadata.resourceVersion");
    redeploy_mark(c, old, service, redeploy);
    if (seen[0] && !json_text_at(service, "metadata.resourceVersion"))
        json_object_set_new(json_at(service, "metadata"), "resourceVersion", json_string(seen));
    int r = remote_send(c, "PUT", target, service, ret, e);
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

static int bring(struct cli *c, const char *ns, const char *name, json_t *service, bool redeploy,
                 json_t **ret, const char **ret_verb, struct err *e)
{
    AUTO_FREE char *all = remote_target(REMOTE_KNATIVE "/namespaces/", ns, "/services", NULL);
    AUTO_FREE char *one =
        remote_target(REMOTE_KNATIVE "/namespaces/", ns, "/services/", name, NULL);
    AUTO_JSON json_t *old = NULL;
    struct err missing = { 0 };
    int r = remote_get(c, one, &old, &missing);
    if (r == 0)
        return replace(c, one, service, old, redeploy, ret, ret_verb, e);
    if (r != -CODE_NOT_FOUND) {
        *e = missing;
        return r;
    }
    *ret_verb = "created";
    server_owned_drop(service);
    return remote_send(c, "POST", all, service, ret, e);
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
static int verdict(const json_t *service, int64_t generation, const char *name, struct err *e)
{
    struct object_condition ready = object_condition(service, "Ready");
    if (json_int_at(service, "status.observedGeneration", 0) < generation)
        return 0;
    if (strcmp(ready.status, "False") == 0)
        return err_set(e, CODE_PRECONDITION, "service %s: not ready: %s%s%s", name, ready.reason,
                       ready.message[0] ? ": " : "", ready.message);
    return strcmp(ready.status, "True") == 0;
}

static int not_in_time(const json_t *service, const char *name, uint32_t timeout_ms, struct err *e)
{
    struct str why = str_of(object_condition(service, "Ready").message);
    if (why.size && why.at[why.size - 1] == '.')
        why.size--;
    return err_set(e, CODE_DEADLINE,
                   "service %s: not ready after %s%s" STR_FMT "; it goes on, see: hob describe %s",
                   name, human_us((int64_t)timeout_ms * 1000, HUMAN), why.size ? ": " : "",
                   STR_ARG(why), name);
}

static int wait_ready(struct cli *c, const char *ns, const char *name, int64_t generation,
                      uint32_t timeout_ms, json_t **service, struct err *e)
{
    AUTO_FREE char *target =
        remote_target(REMOTE_KNATIVE "/namespaces/", ns, "/services/", name, NULL);
    int64_t begin_ms = clock_ms(), poll_ms = POLL_FIRST_MS;
    char said[CAUSE_SIZE] = "";
    int r;
    while ((r = verdict(*service, generation, name, e)) == 0) {
        json_t *now = NULL;
        if (clock_ms() - begin_ms >= timeout_ms)
            return not_in_time(*service, name, timeout_ms, e);
        if (json_int_at(*service, "status.observedGeneration", 0) >= generation)
            cause(c, *service, name, said);
        progress(c, *service, name, clock_ms() - begin_ms);
        pause_ms(poll_ms);
        poll_ms = MIN(poll_ms * 3 / 2, POLL_LAST_MS);
        r = remote_get(c, target, &now, e);
        if (r < 0)
            return r;
        json_decref(*service);
        *service = now;
    }
    return MIN(r, 0);
}

int put_service(struct cli *c, json_t *service, const struct put_options *o, struct err *e)
{
    AUTO_JSON json_t *now = NULL;
    const char *verb = NULL;
    int r = service_check(service, e);
    if (r < 0)
        return r;
    const char *name = object_text(service, "metadata.name");
    const char *own_ns = object_text(service, "metadata.namespace");
    const char *ns = own_ns[0] ? own_ns : c->global.ns;

    r = bring(c, ns, name, service, o->redeploy, &now, &verb, e);
    if (r < 0)
        return err_wrap(e, "service %s/%s", ns, name);
    if (o->wait) {
        cli_on_interrupt(
            "hob: interrupted; the service goes on becoming ready (hob get shows it)\n");
        r = wait_ready(c, ns, name, json_int_at(now, "metadata.generation", 0), o->timeout_ms, &now,
                       e);
        cli_on_interrupt(NULL);
        progress_end(c);
    }
    if (o->output)
        output_tree(c, output_of(c, o->output), now);
    else
        buf_printf(&c->out, "service.serving.knative.dev/%s %s\n", name, verb);
    return r;
}
