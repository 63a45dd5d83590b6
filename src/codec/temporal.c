#include "codec/temporal.h"

enum { NS_PER_MS = 1000000 };
static const int64_t ns_per_s = 1000000000;
static const char any_prefix[] = "type.googleapis.com/";

/* ---- times -------------------------------------------------------------------------------- */

static int64_t saturated_ns(int64_t seconds, int32_t nanos)
{
    int64_t ns;
    if (__builtin_mul_overflow(seconds, ns_per_s, &ns) || __builtin_add_overflow(ns, (int64_t)nanos, &ns))
        return seconds < 0 ? INT64_MIN : INT64_MAX;
    return ns;
}

int64_t temporal_duration_ns(const Tp__Duration *d) { return d ? saturated_ns(d->seconds, d->nanos) : 0; }
int64_t temporal_time_ns(const Tp__Timestamp *t) { return t ? saturated_ns(t->seconds, t->nanos) : 0; }

int64_t temporal_duration_ms(const Tp__Duration *d)
{
    int64_t ns = temporal_duration_ns(d);
    return ns / NS_PER_MS + (ns % NS_PER_MS > 0);
}

/* Both parts have the same sign. */
Tp__Duration *temporal_duration_new(int64_t ns)
{
    Tp__Duration *d = proto_new(&tp__duration__descriptor);
    d->seconds = ns / ns_per_s;
    d->nanos = (int32_t)(ns % ns_per_s);
    return d;
}

/* The nanoseconds count forward, before 1970 too. */
Tp__Timestamp *temporal_time_new(int64_t ns)
{
    Tp__Timestamp *t = proto_new(&tp__timestamp__descriptor);
    int64_t rest = ns % ns_per_s;
    t->seconds = ns / ns_per_s - (rest < 0);
    t->nanos = (int32_t)(rest < 0 ? rest + ns_per_s : rest);
    return t;
}

void temporal_set_duration(Tp__Duration **field, int64_t ns) { proto_set_message(field, temporal_duration_new(ns)); }
void temporal_set_time(Tp__Timestamp **field, int64_t ns) { proto_set_message(field, temporal_time_new(ns)); }

/* ---- names -------------------------------------------------------------------------------- */

/* test_temporal_schema.py compares the rows with the comments in the schema. */
// clang-format off
#define NAMES(X)                                                                                   \
    X(tp__not_found_failure, "temporal.api.errordetails.v1.NotFoundFailure")                       \
    X(tp__workflow_execution_already_started_failure, "temporal.api.errordetails.v1.WorkflowExecutionAlreadyStartedFailure") \
    X(tp__namespace_not_active_failure, "temporal.api.errordetails.v1.NamespaceNotActiveFailure")   \
    X(tp__namespace_unavailable_failure, "temporal.api.errordetails.v1.NamespaceUnavailableFailure") \
    X(tp__namespace_invalid_state_failure, "temporal.api.errordetails.v1.NamespaceInvalidStateFailure") \
    X(tp__namespace_not_found_failure, "temporal.api.errordetails.v1.NamespaceNotFoundFailure")     \
    X(tp__namespace_already_exists_failure, "temporal.api.errordetails.v1.NamespaceAlreadyExistsFailure") \
    X(tp__client_version_not_supported_failure, "temporal.api.errordetails.v1.ClientVersionNotSupportedFailure") \
    X(tp__server_version_not_supported_failure, "temporal.api.errordetails.v1.ServerVersionNotSupportedFailure") \
    X(tp__cancellation_already_requested_failure, "temporal.api.errordetails.v1.CancellationAlreadyRequestedFailure") \
    X(tp__query_failed_failure, "temporal.api.errordetails.v1.QueryFailedFailure")                 \
    X(tp__permission_denied_failure, "temporal.api.errordetails.v1.PermissionDeniedFailure")       \
    X(tp__resource_exhausted_failure, "temporal.api.errordetails.v1.ResourceExhaustedFailure")     \
    X(tp__system_workflow_failure, "temporal.api.errordetails.v1.SystemWorkflowFailure")           \
    X(tp__workflow_not_ready_failure, "temporal.api.errordetails.v1.WorkflowNotReadyFailure")      \
    X(tp__newer_build_exists_failure, "temporal.api.errordetails.v1.NewerBuildExistsFailure")      \
    X(tp__multi_operation_execution_failure, "temporal.api.errordetails.v1.MultiOperationExecutionFailure") \
    X(tp__multi_operation_execution_aborted, "temporal.api.failure.v1.MultiOperationExecutionAborted") \
    X(tp__update_request, "temporal.api.update.v1.Request")                                        \
    X(tp__update_acceptance, "temporal.api.update.v1.Acceptance")                                  \
    X(tp__update_rejection, "temporal.api.update.v1.Rejection")                                    \
    X(tp__update_response, "temporal.api.update.v1.Response")
// clang-format on

static const struct {
    const ProtobufCMessageDescriptor *d;
    const char *name;
} names[] = {
#define X(type, official) { &type##__descriptor, official },
    NAMES(X)
#undef X
};

const char *temporal_name(const ProtobufCMessageDescriptor *d)
{
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (names[i].d == d)
            return names[i].name;
    return NULL;
}

static const struct {
    struct str name;
    const ProtobufCServiceDescriptor *d;
} services[] = {
    { STR("temporal.api.workflowservice.v1.WorkflowService"), &tp__workflow_service__descriptor },
    { STR("temporal.api.operatorservice.v1.OperatorService"), &tp__operator_service__descriptor },
    { STR("grpc.health.v1.Health"), &tp__health__descriptor },
};

bool temporal_method_find(struct str path, struct temporal_method *ret)
{
    if (!str_starts(path, STR("/")))
        return false;
    struct str method = str_from(path, 1), service = str_cut(&method, '/');
    for (size_t i = 0; i < COUNT_OF(services); i++)
        for (unsigned m = 0; str_eq(services[i].name, service) && m < services[i].d->n_methods; m++) {
            const ProtobufCMethodDescriptor *d = &services[i].d->methods[m];
            if (!str_is(method, d->name))
                continue;
            *ret = (struct temporal_method){ d->name, d->input, d->output };
            return true;
        }
    return false;
}

/* ---- Any ---------------------------------------------------------------------------------- */

static void set_encoded(ProtobufCBinaryData *field, const void *message)
{
    struct buf b;
    buf_init(&b, MAX(proto_size(message), (size_t)1));
    proto_encode(message, &b);
    proto_set_bytes(field, buf_str(&b));
    buf_done(&b);
}

Tp__Any *temporal_any_new(const void *message)
{
    const char *name = temporal_name(((const ProtobufCMessage *)message)->descriptor);
    ASSERT(name);
    Tp__Any *any = proto_new(&tp__any__descriptor);
    AUTO_FREE char *url = xasprintf("%s%s", any_prefix, name);
    proto_set_text(&any->type_url, url);
    set_encoded(&any->value, message);
    return any;
}

bool temporal_any_is(const Tp__Any *any, const ProtobufCMessageDescriptor *d)
{
    const char *name = temporal_name(d), *slash = strrchr(any->type_url, '/');
    return name && slash && strcmp(slash + 1, name) == 0;
}

void temporal_status_encode(enum code code, const char *text, const void *detail, struct buf *into)
{
    Tp__RpcStatus *s = proto_new(&tp__rpc_status__descriptor);
    s->code = (int32_t)code;
    proto_set_text(&s->message, text);
    if (detail)
        proto_push(&s->n_details, &s->details, temporal_any_new(detail));
    proto_encode(s, into);
    proto_free(s);
}

/* ---- payloads ----------------------------------------------------------------------------- */

Tp__Payload *temporal_payload_new(const char *encoding, struct str data)
{
    Tp__Payload *p = proto_new(&tp__payload__descriptor);
    Tp__Payload__MetadataEntry *m = proto_new(&tp__payload__metadata_entry__descriptor);
    proto_set_text(&m->key, "encoding");
    proto_set_bytes(&m->value, str_of(encoding));
    proto_push(&p->n_metadata, &p->metadata, m);
    proto_set_bytes(&p->data, data);
    return p;
}

Tp__Payloads *temporal_payloads_new(struct str json)
{
    Tp__Payloads *all = proto_new(&tp__payloads__descriptor);
    proto_push(&all->n_payloads, &all->payloads, temporal_payload_new("json/plain", json));
    return all;
}

struct str temporal_payload_meta(const Tp__Payload *p, const char *key)
{
    for (size_t i = 0; i < p->n_metadata; i++)
        if (strcmp(p->metadata[i]->key, key) == 0)
            return proto_bytes(&p->metadata[i]->value);
    return (struct str){ NULL, 0 };
}
