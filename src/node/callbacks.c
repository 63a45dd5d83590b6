#include "node/callbacks.h"
#include "codec/base64.h"
#include "codec/json.h"

#include <stdio.h>
#include <stdlib.h>

struct callbacks {
    struct callbacks_world world;
    struct courier *courier;
    struct list calls;
};

struct call {
    struct list_node node;
    struct callbacks *home;
    struct courier_try *y;
    struct courier_answer answer;
};

/* ---- the secret ----------------------------------------------------------------------------- */

/* Of a base64 text, which is wiped: it is one more copy of a secret. */
static int value_read(json_t *value, struct buf *into, struct err *e)
{
    if (!json_is_string(value))
        return err_set(e, CODE_NOT_FOUND, "the Secret that signs callbacks does not have the key");
    bool good = base64_read((struct str){ json_string_value(value), json_string_length(value) }, into) && !into->overflow;
    explicit_bzero((char *)(uintptr_t)json_string_value(value), json_string_length(value));
    return good ? 0 : err_set(e, CODE_INVALID, "the secret that signs callbacks is longer than %d bytes", CALLBACK_KEY_MAX);
}

static int op_secret(void *ctx, const char *ns, const char *name, struct buf *into, struct err *e)
{
    const struct config_source *s = &((const struct callbacks *)ctx)->world.secrets;
    struct str key = str_of(name), object = str_cut(&key, '/');
    AUTO_FREE char *secret = xstrndup(object.at, object.size);
    const char *text = s->find(s->ctx, true, ns, secret);
    if (!text)
        return err_set(e, CODE_NOT_FOUND, "there is no Secret %s/%.100s to sign callbacks with", ns, secret);
    AUTO_JSON json_t *j = json_loads(text, 0, NULL);
    int r = value_read(json_object_get(json_object_get(j, "data"), key.at), into, e);
    return r < 0 ? err_wrap(e, "Secret %s/%.100s", ns, name) : 0;
}

/* ---- calls ---------------------------------------------------------------------------------- */

static void on_head(void *ctx, const struct transfer_head *h)
{
    struct call *l = ctx;
    l->answer.status = h->status;
    l->answer.retry_after_ms = h->retry_after_ms > 0 ? (uint64_t)h->retry_after_ms : 0;
}

static void on_end(void *ctx, int r, const struct err *e)
{
    struct call *l = ctx;
    if (l->answer.status == 0)
        l->answer.why = r < 0 ? e->text : "no answer came";
    list_remove(&l->home->calls, &l->node);
    courier_answered(l->y, &l->answer);
    free(l);
}

static int op_post(void *ctx, struct courier_try *y, const char *url, struct str headers, struct str body, struct err *e)
{
    struct callbacks *c = ctx;
    struct call *l = xcalloc(1, sizeof *l);
    l->home = c;
    l->y = y;
    int r = fetcher_link_call(c->world.fetcher, url, headers, body,
                              &(struct transfer_request){ .on_head = on_head, .on_end = on_end, .ctx = l }, e);
    if (r < 0)
        free(l);
    else
        list_push(&c->calls, &l->node);
    return r;
}

static const struct courier_ops ops = { op_secret, op_post };

/* ---- life ----------------------------------------------------------------------------------- */

struct callbacks *callbacks_new(const struct callbacks_world *w)
{
    struct callbacks *c = xcalloc(1, sizeof *c);
    c->world = *w;
    list_init(&c->calls);
    c->courier = courier_new(&(struct courier_world){ .loop = w->loop, .limits = w->limits, .ops = &ops, .ctx = c,
                                                      .wall_ns = w->wall_ns, .seed = w->seed });
    return c;
}

struct courier *callbacks_courier(const struct callbacks *c) { return c->courier; }

void callbacks_free(struct callbacks *c)
{
    if (!c)
        return;
    courier_free(c->courier);
    LIST_EACH(&c->calls, n, tmp)
        free(CONTAINER_OF(n, struct call, node));
    free(c);
}

size_t callbacks_values(const struct callbacks *c, struct metrics_value *into, size_t max)
{
    size_t count = 0;
    struct courier_counts n = courier_counts(c->courier);
#define VALUE(text, why, is_counter, number)                                                        \
    do {                                                                                             \
        if (count < max)                                                                             \
            into[count++] = (struct metrics_value){ text, why, is_counter, (double)(number) };       \
    } while (0)
    VALUE("durable_callbacks_sent_total", "Times that the end of a durable invocation was told, or tried to be.", true, n.tries);
    VALUE("durable_callbacks_taken_total", "Ends that the receiver took.", true, n.taken);
    VALUE("durable_callbacks_given_up_total", "Ends that nobody took.", true, n.given_up);
    VALUE("durable_callbacks_put_off_total", "Tries that could not be made at the moment.", true, n.put_off);
    VALUE("durable_callbacks_waiting", "Ends that wait to be told.", false, n.waiting);
    VALUE("durable_callbacks_running", "Ends being told.", false, n.running);
#undef VALUE
    return count;
}
