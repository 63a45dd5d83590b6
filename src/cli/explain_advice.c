/* What a cold start teaches: rules over one record. Each says only what the record shows, and names
 * only knobs that exist. See explain.h. */
#include "cli/explain.h"

#include "cli/human.h"

#include <stdio.h>

enum {
    WORTH_PERMILLE = 100,     /* of the wait: below a tenth, changing it changes little */
    WORTH_US = 1000,          /* nobody tunes less than a millisecond here */
    ACCOUNTED_PERMILLE = 990, /* the promise; below it the record itself is in question */
    RESIDENT_PERMILLE = 900,
};

#define KEEP_WARM "keep one instance warm: autoscaling.knative.dev/min-scale: \"1\""

struct context {
    const struct invocation_record *r;
    const struct explain *x;
    const struct explain_row *row;
};

static enum cache_state cache_of(const struct context *c, enum cache which)
{
    return c->r->start.caches[which];
}

static bool reported(const struct context *c, enum phase p)
{
    return c->r->start.phases[p].outcome != PHASE_ABSENT;
}

#define FINDING(a, ...) snprintf((a)->finding, sizeof(a)->finding, __VA_ARGS__)
#define CHANGE(a, ...)  snprintf((a)->change, sizeof(a)->change, __VA_ARGS__)

static const char *volume(const struct explain_row *row, char into[96])
{
    char rate[HUMAN_TEXT], size[HUMAN_TEXT];
    if (row->bytes)
        snprintf(into, 96, "%s at %s", human_bytes(row->bytes, size),
                 human_rate(row->bytes, row->duration_us, rate));
    else
        snprintf(into, 96, "an unknown amount");
    return into;
}

static void on_queue(const struct context *c, struct explain_advice *a)
{
    if (c->r->cold) {
        FINDING(a, "the request waited before hob decided to start an instance");
        CHANGE(a, "see in `hob limits` whether instances_max or starts_max was reached");
    } else {
        FINDING(a, "no instance had room; the request waited for one");
        CHANGE(a, "raise containerConcurrency if the function can do more at once, or max-scale");
    }
}

static void on_schedule(const struct context *c, struct explain_advice *a)
{
    (void)c;
    FINDING(a, "the start waited for its turn on this machine");
    CHANGE(a, "see in `hob limits` whether starts_max or instances_max was reached");
}

static void on_image(const struct context *c, struct explain_advice *a)
{
    FINDING(
        a,
        "the image was not in the store: %s copied and checked; paid once per digest and machine",
        volume(c->row, (char[96]){ 0 }));
    CHANGE(a, "later starts here do not pay it; a smaller image makes the first one faster");
}

static void on_model_fetch(const struct context *c, struct explain_advice *a)
{
    FINDING(a,
            "the model was not in the store: %s from its origin; paid once per digest and machine",
            volume(c->row, (char[96]){ 0 }));
    CHANGE(a,
           "later starts here do not pay it; to spare the first caller too, deploy and invoke once "
           "before the traffic comes");
}

static void on_model_verify(const struct context *c, struct explain_advice *a)
{
    uint32_t resident = c->r->start.page_cache_permille;
    char volume_text[96];
    FINDING(a, "the weights were hashed before use: %s", volume(c->row, volume_text));
    if (cache_of(c, CACHE_PAGE_CACHE) == CACHE_UNKNOWN)
        return;
    FINDING(a, "the weights were hashed before use: %s, %s of them in memory beforehand",
            volume_text, human_permille(resident, HUMAN));
    if (resident < RESIDENT_PERMILLE)
        CHANGE(
            a,
            "the disk sets the pace: leave the machine free memory for the page cache, shrink the "
            "model, or " KEEP_WARM);
}

static void on_sandbox(const struct context *c, struct explain_advice *a)
{
    if (cache_of(c, CACHE_SANDBOX_POOL) == CACHE_MISS) {
        FINDING(a, "no sandbox was ready, so this start made one");
        CHANGE(a, "keep more ready: `hob serve --limit sandbox_pool=N` (see `hob limits`)");
    } else {
        FINDING(a, "the sandbox took long to fill, so the machine was busy");
    }
}

static void on_runtime_init(const struct context *c, struct explain_advice *a)
{
    FINDING(a, "the function's own start, from exec until it answered its readiness probe");
    if (!reported(c, PHASE_MODEL_LOAD) && cache_of(c, CACHE_MODEL) > CACHE_NONE)
        CHANGE(a,
               "write `model_load begin` and `model_load end` to HOB_PHASES_FD to see the model's "
               "part of it; import less before listening; or " KEEP_WARM);
    else
        CHANGE(a, "import and build less before listening, give it more cpu, or " KEEP_WARM);
}

static void on_model_load(const struct context *c, struct explain_advice *a)
{
    FINDING(a, "the function loaded its model: %s", volume(c->row, (char[96]){ 0 }));
    CHANGE(a,
           "map the weights (mmap) instead of reading them: all instances then share one copy; or "
           "use a smaller model");
}

static void on_own_work(const struct context *c, struct explain_advice *a)
{
    FINDING(a, "the function reported this as %s", explain_what_name(c->row->what));
    CHANGE(a, "do less of it before listening, or " KEEP_WARM);
}

static void on_ready(const struct context *c, struct explain_advice *a)
{
    (void)c;
    FINDING(a, "the instance was ready and the request still waited: others were served first");
    CHANGE(a, "raise containerConcurrency if the function can do more at once, or max-scale");
}

static void on_handler(const struct context *c, struct explain_advice *a)
{
    int64_t delta_us = explain_first_request_us(c->r);
    FINDING(a, "the function's own work on this request");
    if (delta_us * 3 > c->row->duration_us && delta_us > WORTH_US) {
        FINDING(a, "the function's own work; %s of it only because this was its first request",
                human_us(delta_us, HUMAN));
        CHANGE(a,
               "do the lazy part (imports, caches, first inference) before listening, as warmup");
    }
}

static void on_beside(const struct context *c, struct explain_advice *a)
{
    FINDING(a, "the request waited for %s%s", c->row->name, c->row->what == EXPLAIN_INIT ? " to end" : " to be ready");
    CHANGE(a, "%s", c->row->what == EXPLAIN_INIT
                        ? "it runs at every start: put what it prepares into an image or a model, or keep one instance warm"
                        : "its readinessProbe decides: let it listen sooner, or probe it more often");
}

static void (*const rules[EXPLAIN_KINDS])(const struct context *c, struct explain_advice *a) = {
    [PHASE_QUEUE] = on_queue,
    [PHASE_SCHEDULE] = on_schedule,
    [PHASE_IMAGE_PULL] = on_image,
    [PHASE_IMAGE_UNPACK] = on_image,
    [PHASE_MODEL_FETCH] = on_model_fetch,
    [PHASE_MODEL_VERIFY] = on_model_verify,
    [PHASE_MODEL_COMPILE] = on_own_work,
    [PHASE_SANDBOX] = on_sandbox,
    [PHASE_RUNTIME_INIT] = on_runtime_init,
    [PHASE_MODEL_LOAD] = on_model_load,
    [PHASE_ALLOCATE] = on_own_work,
    [PHASE_WARMUP] = on_own_work,
    [PHASE_READY] = on_ready,
    [EXPLAIN_HANDLER] = on_handler,
    [EXPLAIN_INIT] = on_beside,
    [EXPLAIN_SIDECAR] = on_beside,
};

static bool advise_failure(const struct invocation_record *r, struct explain_advice *a)
{
    *a = (struct explain_advice){ .what = EXPLAIN_KINDS };
    if (r->has_start && r->start.failed) {
        FINDING(a, "the start failed in %s: %.180s", phase_name(r->start.failed_phase),
                r->start.error[0] ? r->start.error : "no reason was recorded");
        CHANGE(a, "`hob describe %s` shows the condition, `hob logs %s` what the function said",
               r->service, r->service);
    } else if (r->outcome == INVOCATION_REFUSED) {
        FINDING(a, "hob refused the request: %.180s",
                r->error[0] ? r->error : "its queue was full");
        CHANGE(a,
               "the caller may retry after Retry-After; hob.dev/queue-depth and max-scale set how "
               "much waits and how much runs");
    } else if (r->outcome == INVOCATION_TIMEOUT) {
        FINDING(a, "the deadline passed: %.180s",
                r->error[0] ? r->error : "no answer came in time");
        CHANGE(a, "raise timeoutSeconds if the work needs it");
    } else if (r->outcome == INVOCATION_FAILED || r->outcome == INVOCATION_CLIENT_GONE) {
        FINDING(a, "%.200s",
                r->error[0]                       ? r->error
                : r->outcome == INVOCATION_FAILED ? "no instance gave an answer"
                                                  : "the client left before the answer");
        if (r->outcome == INVOCATION_FAILED)
            CHANGE(a, "`hob logs %s` shows what the function said", r->service);
    } else {
        return false;
    }
    return true;
}

static bool advise_unaccounted(const struct invocation_record *r, struct explain_advice *a)
{
    if (!r->cold || r->first_byte_us == 0 || r->coverage_permille >= ACCOUNTED_PERMILLE)
        return false;
    int64_t missing_us = (int64_t)r->first_byte_us * (1000 - (int64_t)r->coverage_permille) / 1000;
    *a = (struct explain_advice){ .what = EXPLAIN_KINDS, .cost_us = missing_us };
    FINDING(a, "no phase accounts for this part of the wait, so take the shares above with care");
    return true;
}

static const struct explain_row *dearest_below(const struct explain *x,
                                               const struct explain_row *above)
{
    const struct explain_row *best = NULL;
    for (size_t i = 0; i < x->row_count; i++) {
        const struct explain_row *row = &x->rows[i];
        bool below = !above || row->blame_us < above->blame_us ||
                     (row->blame_us == above->blame_us && row > above);
        if (below && (!best || row->blame_us > best->blame_us))
            best = row;
    }
    return best;
}

size_t explain_advise(const struct invocation_record *r, const struct explain *x,
                      struct explain_advice into[EXPLAIN_ADVICE_MAX])
{
    enum { DEAREST_MAX = EXPLAIN_ADVICE_MAX - 2 };
    size_t count = 0, dear = 0;
    if (advise_failure(r, &into[count]))
        count++;
    if (count && r->first_byte_us == 0)
        return count; /* what it cost to fail is not what to change */
    for (const struct explain_row *row = NULL;
         dear < DEAREST_MAX && (row = dearest_below(x, row)) != NULL; dear++) {
        const struct context c = { r, x, row };
        if (row->blame_us < WORTH_US || row->blame_us * 1000 < x->wait_us * WORTH_PERMILLE ||
            !rules[row->what])
            break;
        into[count] = (struct explain_advice){ .what = row->what, .cost_us = row->blame_us };
        rules[row->what](&c, &into[count++]);
    }
    if (advise_unaccounted(r, &into[count]))
        count++;
    ASSERT(count <= EXPLAIN_ADVICE_MAX);
    return count;
}
