#include "serving/status.h"
#include "serving/pins.h"

#include <stdio.h>
#include <stdlib.h>

/* Days to a date of the Gregorian calendar, by eras of 400 years that begin on a March 1st. */
static void civil(int64_t days, int64_t *ret_year, unsigned *ret_month, unsigned *ret_day)
{
    days += 719468; /* from 0000-03-01 to 1970-01-01 */
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    unsigned of_era = (unsigned)(days - era * 146097);
    unsigned year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    unsigned of_year = of_era - (365 * year + year / 4 - year / 100);
    unsigned month = (5 * of_year + 2) / 153;
    *ret_day = of_year - (153 * month + 2) / 5 + 1;
    *ret_month = month < 10 ? month + 3 : month - 9;
    *ret_year = (int64_t)year + era * 400 + (*ret_month <= 2);
}

void status_time(int64_t wall_ms, char into[STATUS_TIME])
{
    const int64_t year_9999_ms = INT64_C(253402300799000);
    int64_t seconds = MAX(0, MIN(wall_ms, year_9999_ms)) / 1000, year;
    unsigned month, day, of_day = (unsigned)(seconds % 86400);
    civil(seconds / 86400, &year, &month, &day);
    (void)snprintf(into, STATUS_TIME, "%04u-%02u-%02uT%02u:%02u:%02uZ", (unsigned)year % 10000,
                   month % 100, day % 100, of_day / 3600, of_day / 60 % 60, of_day % 60);
}

int64_t status_time_read(const char *text)
{
    static const int before[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334 };
    int year, month, day, hour, minute, second, size = 0;
    if (!text || sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2dZ%n", &year, &month, &day, &hour, &minute, &second, &size) != 6 ||
        text[size] || size == 0 || year < 1970 || month < 1 || month > 12)
        return 0;
    int64_t whole = year - (month <= 2); /* years whose leap day has been */
    int64_t leaps = whole / 4 - whole / 100 + whole / 400 - (1969 / 4 - 1969 / 100 + 1969 / 400);
    int64_t days = (year - INT64_C(1970)) * 365 + leaps + before[month - 1] + day - 1;
    return (((days * 24 + hour) * 60 + minute) * 60 + second) * 1000;
}

/* ---- conditions ---- */

struct condition {
    const char *type; /* NULL: not there */
    enum status_ready status;
    const char *reason, *message; /* NULL: none */
    const char *severity;         /* NULL: an error when it is False */
};

static const char *ready_name(enum status_ready status)
{
    static const char *const names[] = { [STATUS_UNKNOWN] = "Unknown",
                                         [STATUS_TRUE] = "True",
                                         [STATUS_FALSE] = "False" };
    return names[status];
}

static const json_t *condition_find(const json_t *status, const char *type)
{
    const json_t *conditions = json_object_get(status, "conditions");
    for (size_t i = 0; i < json_array_size(conditions); i++) {
        const json_t *c = json_array_get(conditions, i);
        const char *name = json_text_at(c, "type");
        if (name && strcmp(name, type) == 0)
            return c;
    }
    return NULL;
}

enum status_ready status_ready(const json_t *status)
{
    const char *is = json_text_at(condition_find(status, "Ready"), "status");
    return !is                       ? STATUS_UNKNOWN
           : strcmp(is, "True") == 0 ? STATUS_TRUE
           : strcmp(is, "False") == 0 ? STATUS_FALSE
                                      : STATUS_UNKNOWN;
}

static void set_text(json_t *object, const char *key, const char *text)
{
    if (text && *text)
        (void)json_object_set_new(object, key, json_string(text));
}

static json_t *condition_json(const struct condition *c, const json_t *before, const char *now)
{
    const json_t *old = condition_find(before, c->type);
    const char *was = json_text_at(old, "status"), *since = json_text_at(old, "lastTransitionTime");
    bool same = was && since && strcmp(was, ready_name(c->status)) == 0;
    json_t *j = json_object();
    set_text(j, "lastTransitionTime", same ? since : now);
    set_text(j, "message", c->message);
    set_text(j, "reason", c->reason);
    set_text(j, "severity", c->severity);
    set_text(j, "status", ready_name(c->status));
    set_text(j, "type", c->type);
    return j;
}

/* False before Unknown before True, and one that says why before one that does not. */
static int weight(const struct condition *c)
{
    int by_status = c->status == STATUS_FALSE ? 4 : c->status == STATUS_UNKNOWN ? 2 : 0;
    return by_status + (by_status && c->message);
}

static struct condition conjunction(const struct condition *set, size_t count)
{
    struct condition ready = { "Ready", STATUS_TRUE, NULL, NULL, NULL };
    for (size_t i = 0; i < count; i++)
        if (set[i].type && !set[i].severity && weight(&set[i]) > weight(&ready))
            ready = (struct condition){ "Ready", set[i].status, set[i].reason, set[i].message, NULL };
    return ready;
}

enum { CONDITIONS_MAX = 8 };

/* Adds Ready, and sorts: the order never says anything, so it never changes. */
static json_t *conditions_json(const struct condition *set, size_t count, const json_t *before,
                               int64_t now_ms)
{
    struct condition all[CONDITIONS_MAX];
    char now[STATUS_TIME];
    json_t *list = json_array();
    ASSERT(count < CONDITIONS_MAX);
    memcpy(all, set, count * sizeof *set);
    all[count] = conjunction(set, count);
    count++;
    status_time(now_ms, now);
    for (const char *last = "";;) {
        const struct condition *next = NULL;
        for (size_t i = 0; i < count; i++)
            if (all[i].type && strcmp(all[i].type, last) > 0 &&
                (!next || strcmp(all[i].type, next->type) < 0))
                next = &all[i];
        if (!next)
            return list;
        last = next->type;
        (void)json_array_append_new(list, condition_json(next, before, now));
    }
}

/* ---- Revision ---- */

struct failure {
    bool of_container; /* ContainerHealthy, else ResourcesAvailable */
    const char *reason;
    char reason_room[24];
    char *message;
};

static void failure_of(const struct status_revision *s, struct failure *ret)
{
    const struct catalog_facts *f = &s->facts;
    const char *why = f->message && *f->message ? f->message : "no cause was given";
    *ret = (struct failure){ .message = NULL };
    if (f->config_reason) {
        ret->reason = f->config_reason;
        ret->message = xstrdup(why);
        return;
    }
    switch (f->failed_phase) {
    case PHASE_IMAGE_PULL:
    case PHASE_IMAGE_UNPACK:
        ret->of_container = true;
        ret->reason = "ContainerMissing";
        ret->message = xasprintf("Unable to fetch image \"%s\": %s", s->image, why);
        return;
    case PHASE_MODEL_FETCH:
    case PHASE_MODEL_VERIFY:
    case PHASE_MODEL_COMPILE:
        ret->reason = "ModelMissing";
        ret->message = xasprintf("Unable to fetch model: %s", why);
        return;
    case PHASE_QUEUE:
    case PHASE_SCHEDULE:
    case PHASE_SANDBOX:
        /* What no other try mends is the container's own: its program is not there, or is not one. */
        ret->of_container = !f->retryable && f->failed_phase == PHASE_SANDBOX;
        ret->reason = ret->of_container ? "ContainerCannotRun" : "Unschedulable";
        ret->message = xstrdup(why);
        return;
    default: break;
    }
    ret->of_container = true;
    if (f->exit_status >= 0) {
        (void)snprintf(ret->reason_room, sizeof ret->reason_room, "ExitCode%d", f->exit_status);
        ret->reason = ret->reason_room;
        ret->message = xasprintf("Container failed with: %s", why);
    } else {
        ret->reason = "NotReady";
        ret->message = xstrdup(why);
    }
}

static struct condition active_condition(const struct catalog_facts *f)
{
    struct condition c = { "Active", STATUS_UNKNOWN, "Deploying", NULL, "Info" };
    if (f->ready_once && f->active && f->actual > 0 && !f->activating)
        return (struct condition){ "Active", STATUS_TRUE, NULL, NULL, "Info" };
    if (f->ready_once && f->active) {
        c.reason = "Queued";
        c.message = "Requests to the target are being buffered as resources are provisioned.";
    } else if (f->timed_out) {
        c.status = STATUS_FALSE;
        c.reason = "TimedOut";
        c.message = "The target could not be activated.";
    } else if (f->ready_once) {
        c.status = STATUS_FALSE;
        c.reason = "NoTraffic";
        c.message = "The target is not receiving traffic.";
    }
    return c;
}

enum { OF_CONTAINER, OF_RESOURCES, OF_ACTIVATION, OF_ACTIVE, OF_BUDGET, OF_LIMITS, REVISION_CONDITIONS };

static void revision_conditions(const struct status_revision *s, const struct failure *why,
                                struct condition set[REVISION_CONDITIONS])
{
    const struct catalog_facts *f = &s->facts;
    const char *waiting = f->image_digest && *f->image_digest ? "Deploying" : "ResolvingDigests";
    /* As in Knative: a container that ended by itself is not healthy, though it is started again. */
    bool exited = why->of_container && f->exit_status >= 0;
    bool failed = f->failing && !f->ready_once;
    bool final = failed && (!f->retryable || s->late || exited);
    struct condition *at = &set[why->of_container ? OF_CONTAINER : OF_RESOURCES];

    enum status_ready all = f->ready_once ? STATUS_TRUE : STATUS_UNKNOWN;
    set[OF_CONTAINER] =
        (struct condition){ "ContainerHealthy", all, f->ready_once ? NULL : waiting, NULL, NULL };
    set[OF_RESOURCES] =
        (struct condition){ "ResourcesAvailable", all, f->ready_once ? NULL : waiting, NULL, NULL };
    set[OF_ACTIVE] = active_condition(f);
    set[OF_ACTIVATION] = set[OF_BUDGET] = set[OF_LIMITS] = (struct condition){ 0 };
    if (f->unenforced)
        set[OF_LIMITS] = (struct condition){ STATUS_LIMITS_ENFORCED, STATUS_FALSE, "NoControlGroup", f->unenforced, "Warning" };
    if (f->late_starts && *f->late_starts)
        set[OF_BUDGET] = (struct condition){ STATUS_BUDGET_MET, STATUS_FALSE, "StartBudgetMissed", f->late_starts,
                                             "Warning" };
    if (failed) {
        at->status = final ? STATUS_FALSE : STATUS_UNKNOWN;
        at->reason = why->reason;
        at->message = why->message;
    } else if (s->late && !f->ready_once) {
        set[OF_RESOURCES].status = STATUS_FALSE;
        set[OF_RESOURCES].reason = "ProgressDeadlineExceeded";
        set[OF_RESOURCES].message = why->message;
    } else if (!f->ready_once && f->message && *f->message) {
        set[OF_CONTAINER].message = f->message; /* slow so far: where it hangs */
    } else if (f->failing) {
        /* Ready stays: it says that the Revision could run. That it cannot now is said beside it. */
        set[OF_ACTIVATION] = (struct condition){ "ActivationHealthy", STATUS_FALSE, why->reason,
                                                 why->message, "Warning" };
    }
}

json_t *status_of_revision(const struct status_revision *s, const json_t *before, int64_t now_ms)
{
    struct condition set[REVISION_CONDITIONS];
    struct failure why = { 0 };
    const char *hangs = s->facts.message && *s->facts.message ? s->facts.message : NULL;
    if (s->facts.failing)
        failure_of(s, &why);
    else if (s->late)
        why.message = xasprintf("Initial scale was never achieved%s%s", hangs ? ": " : "", hangs ? hangs : "");
    revision_conditions(s, &why, set);
    json_t *status = json_object();
    (void)json_object_set_new(status, "actualReplicas", json_integer(s->facts.actual));
    (void)json_object_set_new(status, "conditions",
                              conditions_json(set, REVISION_CONDITIONS, before, now_ms));
    (void)json_object_set_new(status, "desiredReplicas", json_integer(s->facts.desired));
    pins_write(status, s->pod, s->facts.image_digest, s->facts.pins);
    (void)json_object_set_new(status, "observedGeneration", json_integer(1));
    free(why.message);
    return status;
}

/* ---- Configuration ---- */

static void put(json_t *status, const char *key, json_t *take_value)
{
    (void)json_object_set_new(status, key, take_value);
}

json_t *status_of_configuration(const struct status_configuration *s, const json_t *before,
                                int64_t now_ms)
{
    const json_t *made = condition_find(s->created_status, "Ready");
    enum status_ready created = status_ready(s->created_status);
    const char *why = json_text_at(made, "message"), *reason = json_text_at(made, "reason");
    AUTO_FREE char *failed = xasprintf("Revision \"%s\" failed with message: %s.", s->latest_created,
                                       why ? why : reason ? reason : "");
    /* A start that hangs keeps the reason of one under way; one that failed has its own. */
    bool hangs = reason && (strcmp(reason, "Deploying") == 0 || strcmp(reason, "ResolvingDigests") == 0);
    AUTO_FREE char *failing = xasprintf("Revision \"%s\" is %s: %s.", s->latest_created,
                                        hangs ? "not ready yet" : "tried again, so far", why ? why : "");
    struct condition ready = { "Ready", created, NULL, NULL, NULL };
    if (created == STATUS_FALSE) {
        ready.reason = "RevisionFailed";
        ready.message = failed;
    } else if (created == STATUS_UNKNOWN && why) { /* tried again, but whoever waits may know why */
        ready.reason = reason;
        ready.message = failing;
    }
    char now[STATUS_TIME];
    status_time(now_ms, now);
    json_t *status = json_object(), *conditions = json_array();
    (void)json_array_append_new(conditions, condition_json(&ready, before, now));
    put(status, "conditions", conditions);
    set_text(status, "latestCreatedRevisionName", s->latest_created);
    set_text(status, "latestReadyRevisionName", s->latest_ready);
    put(status, "observedGeneration", json_integer(s->generation));
    return status;
}

/* ---- Route ---- */

enum { OF_TRAFFIC, OF_INGRESS, OF_CERTIFICATE, ROUTE_CONDITIONS };

json_t *status_of_route(const struct status_route *s, const json_t *before, int64_t now_ms)
{
    struct condition set[ROUTE_CONDITIONS] = {
        { "AllTrafficAssigned", s->assigned, s->reason, s->message, NULL },
        { "IngressReady", s->assigned == STATUS_TRUE ? STATUS_TRUE : STATUS_UNKNOWN, NULL, NULL, NULL },
        { "CertificateProvisioned", STATUS_TRUE, "TLSNotEnabled", "external-domain-tls is not enabled", NULL },
    };
    if (s->assigned == STATUS_TRUE && s->rolling) {
        set[OF_INGRESS].status = STATUS_UNKNOWN;
        set[OF_INGRESS].reason = "RolloutInProgress";
        set[OF_INGRESS].message = "A gradual rollout of the latest revision(s) is in progress.";
    }
    AUTO_FREE char *taken = s->taken ? xasprintf("There is an existing placeholder Service \"%s\" that we do not own.", s->taken) : NULL;
    if (taken)
        set[OF_INGRESS] = (struct condition){ "IngressReady", STATUS_FALSE, "NotOwned", taken, NULL };
    json_t *status = json_object();
    put(status, "address", json_pack("{s:s}", "url", s->cluster_url));
    if (s->rolling)
        put(status, "annotations", json_pack("{s:s}", STATUS_ROLLING, s->rolling));
    put(status, "conditions", conditions_json(set, ROUTE_CONDITIONS, before, now_ms));
    put(status, "observedGeneration", json_integer(s->generation));
    if (s->traffic)
        put(status, "traffic", json_incref((json_t *)(uintptr_t)s->traffic));
    set_text(status, "url", s->url);
    return status;
}

/* ---- DomainMapping ---- */

json_t *status_of_domain(const struct status_domain *s, const json_t *before, int64_t now_ms)
{
    bool reached = s->claimed == STATUS_TRUE && s->resolved == STATUS_TRUE;
    const struct condition set[] = {
        { "CertificateProvisioned", STATUS_TRUE, "TLSNotEnabled", "external-domain-tls is not enabled", NULL },
        { "DomainClaimed", s->claimed, s->claim_reason, s->claim_message, NULL },
        { "IngressReady", reached ? STATUS_TRUE : STATUS_UNKNOWN, reached ? NULL : "IngressNotConfigured",
          reached ? NULL : "Ingress has not yet been reconciled.", NULL },
        { "ReferenceResolved", s->resolved, s->resolve_reason, s->resolve_message, NULL },
    };
    json_t *status = json_object();
    put(status, "address", json_pack("{s:s}", "url", s->url));
    put(status, "conditions", conditions_json(set, COUNT_OF(set), before, now_ms));
    put(status, "observedGeneration", json_integer(s->generation));
    set_text(status, "url", s->url);
    return status;
}

/* ---- Service ---- */

static struct condition ready_as(const char *type, const json_t *of)
{
    const json_t *c = condition_find(of, "Ready");
    return (struct condition){ type, status_ready(of), json_text_at(c, "reason"),
                               json_text_at(c, "message"), NULL };
}

static void carry(json_t *status, const json_t *from, const char *key)
{
    json_t *value = json_object_get(from, key);
    if (value)
        (void)json_object_set(status, key, value);
}

json_t *status_of_service(const struct status_service *s, const json_t *before, int64_t now_ms)
{
    struct condition set[5] = { ready_as("ConfigurationsReady", s->configuration),
                                ready_as("RoutesReady", s->route) };
    const json_t *activation = condition_find(s->serving_status, "ActivationHealthy");
    if (activation)
        set[2] = (struct condition){ "ActivationHealthy", STATUS_FALSE, json_text_at(activation, "reason"),
                                     json_text_at(activation, "message"), "Warning" };
    static const char *const beside[] = { STATUS_BUDGET_MET, STATUS_LIMITS_ENFORCED };
    for (size_t i = 0; i < COUNT_OF(beside); i++) {
        const json_t *one = condition_find(s->serving_status, beside[i]);
        if (one)
            set[3 + i] = (struct condition){ beside[i], STATUS_FALSE, json_text_at(one, "reason"),
                                             json_text_at(one, "message"), "Warning" };
    }
    char generation[24];
    (void)snprintf(generation, sizeof generation, "%lld",
                   (long long)json_int_at(s->configuration, "observedGeneration", 0));
    json_t *status = json_object();
    carry(status, s->route, "address");
    put(status, "annotations", json_pack("{s:s}", "hob.dev/configuration-generation", generation));
    put(status, "conditions", conditions_json(set, COUNT_OF(set), before, now_ms));
    carry(status, s->configuration, "latestCreatedRevisionName");
    carry(status, s->configuration, "latestReadyRevisionName");
    put(status, "observedGeneration", json_integer(s->generation));
    carry(status, s->route, "traffic");
    carry(status, s->route, "url");
    return status;
}
