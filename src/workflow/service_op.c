#include "workflow/service_impl.h"

#include <stdio.h>
#include <stdlib.h>

bool uuid_none(const struct uuid *u)
{
    static const struct uuid none;
    return !memcmp(u, &none, sizeof(none));
}

bool service_run_parse(const char *text, struct uuid *ret)
{
    *ret = (struct uuid){ 0 };
    return !text || !*text || uuid_parse(str_of(text), ret);
}

struct journal_key service_key(const char *ns, const char *id, const struct uuid *run)
{
    return (struct journal_key){ JOURNAL_WORKFLOW, str_of(ns), str_of(id), *run };
}

Tp__WorkflowExecution *service_execution(const char *id, const struct uuid *run)
{
    char text[UUID_TEXT];
    uuid_format(run, text);
    Tp__WorkflowExecution *x = proto_new(&tp__workflow_execution__descriptor);
    proto_set_text(&x->workflow_id, id);
    proto_set_text(&x->run_id, text);
    return x;
}

static int not_found(struct refusal *no, const char *fmt, const char *id)
{
    char text[sizeof(no->text)];
    snprintf(text, sizeof(text), "%s%s", fmt, id);
    return refuse_with(no, CODE_NOT_FOUND, "temporal.api.errordetails.v1.NotFoundFailure",
                       proto_new(&tp__not_found_failure__descriptor), "%s", text);
}

int op_missing(struct op *op) { return not_found(&op->no, "workflow not found for ID: ", op->id); }

static void op_apply(struct durable_input *in, const struct durable_view *v)
{
    struct op *op = CONTAINER_OF(in, struct op, in);
    proto_free(TAKE(op->answer));
    refusal_done(&op->no);
    op->run = v->run;
    op->act(op, v);
}

static void op_done(struct durable_input *in, int r, const struct err *e)
{
    struct op *op = CONTAINER_OF(in, struct op, in);
    if (r == -CODE_NOT_FOUND)
        op_missing(op);
    else if (r < 0)
        refuse(&op->no, -(enum code)r, "%s", e->text);
    if (op->no.code) {
        if (op->failed) {
            op->failed(op);
            return;
        }
        if (op->c)
            service_refuse(op->c, &op->no);
        op_free(op);
        return;
    }
    if (op->then) {
        op->then(op);
        return;
    }
    if (op->c)
        service_reply(op->c, op->answer);
    op_free(op);
}

void op_free(struct op *op)
{
    if (op->done)
        op->done(op);
    proto_free(op->answer);
    refusal_done(&op->no);
    free(op->ns);
    free(op->id);
    free(op);
}

static int id_check(const char *id, const char *run, struct uuid *ret, struct refusal *no)
{
    if (!id || !*id)
        return refuse(no, CODE_INVALID, "WorkflowId is not set on request.");
    if (strlen(id) > SERVICE_ID_BYTES_MAX)
        return refuse(no, CODE_INVALID, "WorkflowId length exceeds limit.");
    if (!service_run_parse(run, ret))
        return refuse(no, CODE_INVALID, "Invalid RunId.");
    return 0;
}

void *op_new(struct service *s, struct service_call *c, size_t size, const char *ns, const char *id,
             const char *run, void (*act)(struct op *op, const struct durable_view *v))
{
    struct uuid at;
    struct refusal no = { 0 };
    if (id_check(id, run, &at, &no) < 0) {
        if (c)
            service_refuse(c, &no);
        refusal_done(&no);
        return NULL;
    }
    struct op *op = xcalloc(1, size);
    *op = (struct op){ .s = s, .c = c, .act = act, .ns = xstrdup(ns), .id = xstrdup(id) };
    op->in.apply = op_apply;
    op->in.done = op_done;
    op->in.key = service_key(op->ns, op->id, &at);
    return op;
}

void op_send(struct op *op) { durable_send(op->s->host, &op->in); }
