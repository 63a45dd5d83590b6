#include "codec/temporal.h"
#include "tap.h"

TEST(times_go_there_and_back)
{
    static const int64_t ns[] = { 0, 1, -1, 999999999, 1000000000, -1000000000, -1500000000, INT64_C(1700000000123456789),
                                  INT64_MAX, INT64_MIN };
    for (size_t i = 0; i < COUNT_OF(ns); i++) {
        Tp__Duration *d = temporal_duration_new(ns[i]);
        Tp__Timestamp *t = temporal_time_new(ns[i]);
        CHECK_EQ(temporal_duration_ns(d), ns[i]);
        CHECK_EQ(temporal_time_ns(t), ns[i]);
        CHECK(t->nanos >= 0 && t->nanos < 1000000000);
        CHECK((d->nanos < 0) == (d->nanos != 0 && ns[i] < 0) && (d->seconds <= 0 || d->nanos >= 0));
        temporal_set_duration(&d, 5);
        temporal_set_time(&t, 6);
        CHECK(temporal_duration_ns(d) == 5 && temporal_time_ns(t) == 6);
        proto_free(d);
        proto_free(t);
    }
    CHECK(temporal_duration_ns(NULL) == 0 && temporal_time_ns(NULL) == 0 && temporal_duration_ms(NULL) == 0);
}

TEST(times_beyond_reach_are_the_ends_of_reach)
{
    Tp__Duration *d = temporal_duration_new(0);
    d->seconds = INT64_C(315576000000);
    CHECK_EQ(temporal_duration_ns(d), INT64_MAX);
    d->seconds = -d->seconds;
    CHECK_EQ(temporal_duration_ns(d), INT64_MIN);
    d->seconds = INT64_MAX / 1000000000;
    d->nanos = 999999999;
    CHECK_EQ(temporal_duration_ns(d), INT64_MAX);
    d->seconds = 0;
    d->nanos = 1;
    CHECK_EQ(temporal_duration_ms(d), 1);
    d->nanos = 1000000;
    CHECK_EQ(temporal_duration_ms(d), 1);
    d->nanos = -1;
    CHECK_EQ(temporal_duration_ms(d), 0);
    proto_free(d);
}

TEST(a_path_names_its_messages)
{
    struct temporal_method m = { 0 };
    CHECK(temporal_method_find(STR("/temporal.api.workflowservice.v1.WorkflowService/PollActivityTaskQueue"), &m));
    CHECK_STR(m.name, "PollActivityTaskQueue");
    CHECK(m.input == &tp__poll_activity_task_queue_request__descriptor &&
          m.output == &tp__poll_activity_task_queue_response__descriptor);
    CHECK(temporal_method_find(STR("/grpc.health.v1.Health/Check"), &m) && m.input == &tp__health_check_request__descriptor);
    CHECK(temporal_method_find(STR("/temporal.api.operatorservice.v1.OperatorService/DeleteNamespace"), &m));
    m.name = "kept";
    CHECK(!temporal_method_find(STR("/temporal.api.workflowservice.v1.WorkflowService/PollNexusTaskQueue"), &m));
    CHECK(!temporal_method_find(STR("/temporal.api.workflowservice.v1.WorkflowService/"), &m));
    CHECK(!temporal_method_find(STR("/temporal.api.workflowservice.v1.WorkflowService"), &m));
    CHECK(!temporal_method_find(STR("temporal.api.workflowservice.v1.WorkflowService/PollActivityTaskQueue"), &m));
    CHECK(!temporal_method_find(STR("/tp.WorkflowService/PollActivityTaskQueue"), &m));
    CHECK(!temporal_method_find(STR(""), &m));
    CHECK_STR(m.name, "kept");
}

TEST(an_error_carries_its_detail_under_its_official_name)
{
    Tp__NamespaceNotFoundFailure *f = proto_new(&tp__namespace_not_found_failure__descriptor);
    struct buf b;
    ProtobufCMessage *m = NULL;
    struct err e = { 0 };
    buf_init(&b, 4096);
    proto_set_text(&f->namespace_, "nowhere");
    temporal_status_encode(CODE_NOT_FOUND, "namespace nowhere is not found", f, &b);
    CHECK_EQ(proto_decode_new(&tp__rpc_status__descriptor, buf_str(&b), 4096, &m, &e), 0);
    const Tp__RpcStatus *s = (const Tp__RpcStatus *)m;
    CHECK_EQ(s->code, 5);
    CHECK_STR(s->message, "namespace nowhere is not found");
    CHECK_EQ(s->n_details, 1);
    CHECK_STR(s->details[0]->type_url, "type.googleapis.com/temporal.api.errordetails.v1.NamespaceNotFoundFailure");
    CHECK(temporal_any_is(s->details[0], &tp__namespace_not_found_failure__descriptor));
    CHECK(!temporal_any_is(s->details[0], &tp__not_found_failure__descriptor));
    CHECK(!temporal_any_is(s->details[0], &tp__duration__descriptor));
    ProtobufCMessage *inner = NULL;
    CHECK_EQ(proto_decode_new(f->base.descriptor, proto_bytes(&s->details[0]->value), 4096, &inner, &e), 0);
    CHECK(proto_equal(inner, f));
    proto_free(inner);
    proto_free(m);
    proto_free(f);
    buf_clear(&b);
    temporal_status_encode(CODE_INTERNAL, "no detail", NULL, &b);
    CHECK(b.size > 0 && !memmem(buf_at(&b), b.size, "type.", 5));
    buf_done(&b);
}

TEST_MAIN()
