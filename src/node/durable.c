#include "node/durable.h"
#include "base/log.h"
#include "node/callbacks.h"
#include "node/invocations.h"

#include <stdlib.h>
#include <time.h>

struct durable {
    struct durable_config config;
    struct journal *journal;
    struct service *service;
    struct durable_host *host;
    struct invocations *invocations;
    struct callbacks *callbacks;
    struct durable_kind kinds[5];
    struct temporal *temporal;
    struct loop_timer again; /* set: something of the start failed, and is tried again */
    bool loaded, ready, stopped;
    struct err broken; /* why it is not ready yet */
};
enum { AGAIN_US = 1000000 };

static int64_t wall_ns(void *ctx)
{
    (void)ctx;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void on_limit(void *ctx, const char *limit)
{
    struct durable *d = ctx;
    d->config.on_limit(d->config.ctx, limit);
}

/* What is missing now (descriptors, memory, a disk that answers) may be there again in a moment; functions go on meanwhile. */
static void start_failed(struct durable *d, const struct err *e)
{
    if (d->stopped) /* nobody waits for it any more */
        return;
    if (d->broken.code == CODE_OK)
        log_event(LOG_ERROR, "durable.failed", "error=\"%s\"", LOG_QUOTED(e->text));
    d->broken = *e;
    loop_after(d->config.loop, &d->again, AGAIN_US);
}

/* Only when all is loaded do workers get tasks: what a run wants must be known before it is handed out. */
static void serve(struct durable *d)
{
    struct err e;
    if (d->stopped) /* told to before it was ready */
        return;
    if (d->config.temporal_fd >= 0 && temporal_listen(d->temporal, d->config.temporal_fd, &e) < 0) {
        start_failed(d, &e);
        return;
    }
    if (d->broken.code != CODE_OK)
        log_event(LOG_INFO, "durable.recovered", "after=\"%s\"", LOG_QUOTED(d->broken.text));
    d->broken = (struct err){ 0 };
    d->ready = true;
    d->config.on_ready(d->config.ctx, d->service, d->temporal);
}

static void on_ready(void *ctx, int r, const struct err *e)
{
    struct durable *d = ctx;
    d->loaded = r == 0;
    if (r < 0)
        start_failed(d, e);
    else
        serve(d);
}

static void on_again(struct loop_timer *t)
{
    struct durable *d = CONTAINER_OF(t, struct durable, again);
    struct err e;
    if (d->loaded)
        serve(d);
    else if (!d->stopped && durable_host_start(d->host, on_ready, d, &e) < 0)
        start_failed(d, &e);
}

static int attributes_make(struct durable *d, const char *ns, struct err *e)
{
    int r = 0;
    for (size_t i = 0; i < d->config.attribute_count && r == 0; i++) {
        char name[256];
        const char *text = d->config.attributes[i];
        struct str type = str_of(text), left = str_cut(&type, '=');
        if (left.size == 0 || left.size >= sizeof name || type.size == 0)
            return err_set(e, CODE_INVALID, "--search-attribute '%.100s': it is Name=Type", text);
        memcpy(name, left.at, left.size);
        name[left.size] = '\0';
        r = service_attribute_make(d->service, ns, name, type.at, e);
    }
    return r;
}

static int made_from_the_start(struct durable *d, struct err *e)
{
    int r = 0;
    for (size_t i = 0; i < d->config.namespace_count && r == 0; i++) {
        r = service_namespace_make(d->service, d->config.namespaces[i], e);
        if (r == 0)
            r = attributes_make(d, d->config.namespaces[i], e);
    }
    return r;
}

static int parts_open(struct durable *d, struct err *e)
{
    const struct durable_config *c = &d->config;
    int r = journal_open(c->loop, c->data_dir, c->limits, &d->journal, e);
    if (r < 0)
        return r;
    const struct service_world world = { .loop = c->loop, .store = c->store, .journal = d->journal, .limits = c->limits,
                                         .wall_ns = wall_ns, .seed = c->seed, .version = HOB_VERSION,
                                         .on_limit = on_limit, .ctx = d };
    r = service_open(&world, &d->service, e);
    if (r < 0)
        return r;
    d->kinds[0] = service_kind(d->service);
    d->kinds[1] = service_schedule_kind(d->service);
    d->invocations = invocations_new(&(struct invocations_world){ .loop = c->loop, .limits = c->limits, .ingress = c->ingress,
                                                                  .schedules = c->schedules, .schedules_ctx = c->schedules_ctx,
                                                                  .wall_ns = wall_ns, .seed = c->seed });
    d->kinds[2] = desk_kind(invocations_desk(d->invocations));
    d->kinds[3] = ticker_kind(invocations_ticker(d->invocations));
    d->kinds[4] = service_batch_kind(d->service);
    const struct durable_world host = { .loop = c->loop, .journal = d->journal, .limits = c->limits, .wall_ns = wall_ns,
                                        .seed = c->seed };
    r = durable_host_open(&host, d->kinds, COUNT_OF(d->kinds), &d->host, e);
    if (r < 0)
        return r;
    service_attach(d->service, d->host);
    desk_attach(invocations_desk(d->invocations), d->host);
    ticker_attach(invocations_ticker(d->invocations), invocations_desk(d->invocations), d->host);
    d->callbacks = callbacks_new(&(struct callbacks_world){ .loop = c->loop, .limits = c->limits, .fetcher = c->fetcher,
                                                            .secrets = c->secrets, .wall_ns = wall_ns, .seed = c->seed });
    courier_attach(callbacks_courier(d->callbacks), invocations_desk(d->invocations), d->host);
    const struct temporal_world face = { .loop = c->loop, .limits = c->limits, .service = d->service, .access = c->access, .on_limit = on_limit,
                                         .ctx = d };
    d->temporal = temporal_new(&face);
    r = made_from_the_start(d, e);
    return r < 0 ? r : durable_host_start(d->host, on_ready, d, e);
}

int durable_open(const struct durable_config *c, struct durable **ret, struct err *e)
{
    AUTO(durable) struct durable *d = xcalloc(1, sizeof *d);
    d->config = *c;
    d->again.on_due = on_again;
    int r = parts_open(d, e);
    if (r == 0)
        *ret = TAKE(d);
    return r;
}

void durable_stop(struct durable *d)
{
    if (d->stopped)
        return;
    d->stopped = true;
    temporal_shut(d->temporal);
    service_drain(d->service);
    invocations_stop(d->invocations);
    courier_stop(callbacks_courier(d->callbacks));
}

bool durable_idle(const struct durable *d)
{
    return temporal_idle(d->temporal) && invocations_idle(d->invocations) && courier_idle(callbacks_courier(d->callbacks));
}

struct desk *durable_desk(const struct durable *d) { return invocations_desk(d->invocations); }
struct ticker *durable_ticker(const struct durable *d) { return invocations_ticker(d->invocations); }
struct journal *durable_journal(const struct durable *d) { return d->journal; }

/* From the outside in. The journal's end calls back what was committed, so it comes before those it calls. */
void durable_free(struct durable *d)
{
    if (!d)
        return;
    d->stopped = true;
    if (d->temporal)
        temporal_free(d->temporal);
    if (d->invocations)
        invocations_stop(d->invocations); /* the gateway is gone */
    if (d->callbacks)
        courier_stop(callbacks_courier(d->callbacks));
    journal_free(d->journal); /* and what is still being read at the start comes back unread */
    loop_cancel(d->config.loop, &d->again);
    durable_host_free(d->host);
    callbacks_free(d->callbacks);
    invocations_free(d->invocations);
    service_free(d->service);
    free(d);
}

int durable_health(const struct durable *d, struct err *e)
{
    if (d->broken.code != CODE_OK) {
        *e = d->broken;
        return -(int)e->code;
    }
    if (!d->ready)
        return err_set(e, CODE_UNAVAILABLE, "durable work that was under way is still being read");
    return journal_health(d->journal, e);
}

size_t durable_values(const struct durable *d, struct metrics_value *into, size_t max)
{
    size_t count = 0;
    struct journal_counts j;
    struct durable_counts h;
    struct service_counts s;
    struct grpc_server_counts g = temporal_counts(d->temporal);
    journal_counts(d->journal, &j);
    durable_counts(d->host, &h);
    service_counts(d->service, &s);
#define VALUE(text, why, is_counter, number)                                                        \
    do {                                                                                             \
        if (count < max)                                                                             \
            into[count++] = (struct metrics_value){ text, why, is_counter, (double)(number) };       \
    } while (0)
    VALUE("journal_commits_total", "Durable changes committed.", true, j.commits);
    VALUE("journal_transactions_total", "Transactions that committed them, each with one fsync.", true, j.transactions);
    VALUE("journal_rows_written_total", "Rows written by them.", true, j.rows_written);
    VALUE("journal_written_bytes_total", "Bytes of states and histories written.", true, j.bytes_written);
    VALUE("journal_waiting", "Durable changes that wait for their commit.", false, j.waiting);
    VALUE("journal_checksum_failures_total", "Rows whose checksum did not fit: refused, and left as they are.", true,
          j.checksum_failures);
    VALUE("durable_turns_total", "Turns of durable entities.", true, h.turns);
    VALUE("durable_inputs_total", "Inputs applied in them.", true, h.inputs);
    VALUE("durable_loads_total", "Entities loaded.", true, h.loads);
    VALUE("durable_drops_total", "Turns that could not be committed.", true, h.drops);
    VALUE("durable_machines", "Entities in memory.", false, h.machines);
    VALUE("durable_memory_bytes", "Memory they take.", false, h.machine_bytes + h.history_bytes);
    VALUE("durable_waiting", "Inputs that wait.", false, h.waiting);
    VALUE("temporal_calls_total", "Calls of Temporal's API.", true, s.calls);
    VALUE("temporal_calls_waiting", "Calls that wait: polls, and who wants to hear of something.", false, s.waiting_calls);
    VALUE("temporal_polls_empty_total", "Polls that ended without a task.", true, s.polls_empty);
    VALUE("temporal_connections", "Connections of clients and workers.", false, g.connections);
#undef VALUE
    count += callbacks_values(d->callbacks, into + count, max - count);
    return count + invocations_values(d->invocations, into + count, max - count);
}
