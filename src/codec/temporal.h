/* temporal.h -- Temporal's messages (temporal*.proto), and what their names, times and wrappers mean.
 *
 * Receives and emits generated structs, times as signed nanoseconds, and official names. Owns a table of those names
 * that travel (in google.protobuf.Any, in paths). Refuses nothing: times beyond int64 become its ends. Pure.
 *
 * The messages that are returned are for proto_free(), or to be put into another message. */
#pragma once

#include "base/buf.h"
#include "codec/proto.h"
#include "codec/temporal.pb-c.h"

/* ---- times: NULL is 0, as "not set" is in the interface -------------------------------------- */
int64_t temporal_duration_ns(const Tp__Duration *d);
int64_t temporal_duration_ms(const Tp__Duration *d); /* towards the longer: 1 ns is 1 ms */
int64_t temporal_time_ns(const Tp__Timestamp *t);
Tp__Duration *temporal_duration_new(int64_t ns);
Tp__Timestamp *temporal_time_new(int64_t ns);
/* Fields of a message that is changed: what was there is freed. */
void temporal_set_duration(Tp__Duration **field, int64_t ns);
void temporal_set_time(Tp__Timestamp **field, int64_t ns);

/* ---- names ---- */
/* "temporal.api.update.v1.Request"; NULL: not one that travels. */
const char *temporal_name(const ProtobufCMessageDescriptor *d);
/* "/temporal.api.workflowservice.v1.WorkflowService/PollWorkflowTaskQueue": its name and messages; false: not one of ours. */
struct temporal_method {
    const char *name;
    const ProtobufCMessageDescriptor *input, *output;
};
bool temporal_method_find(struct str path, struct temporal_method *ret);

/* ---- google.protobuf.Any ---- */
Tp__Any *temporal_any_new(const void *message); /* of a kind that temporal_name() knows */
bool temporal_any_is(const Tp__Any *any, const ProtobufCMessageDescriptor *d);
/* google.rpc.Status for grpc-status-details-bin; detail: an errordetails message, or NULL. */
void temporal_status_encode(enum code code, const char *text, const void *detail, struct buf *into);

/* ---- payloads ---- */
Tp__Payloads *temporal_payloads_new(struct str json); /* one, as an SDK writes JSON */
Tp__Payload *temporal_payload_new(const char *encoding, struct str data);
/* The value of a metadata key; at NULL: it has none. */
struct str temporal_payload_meta(const Tp__Payload *p, const char *key);
