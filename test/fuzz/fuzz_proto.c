/* Whatever is accepted encodes to what decodes to the same, both ways of decoding agree, and nothing takes more memory than it may. The
 * first byte chooses the message. */
#include "codec/temporal.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);

enum { MEMORY_MAX = 1 << 20 };

static const ProtobufCMessageDescriptor *const kinds[] = {
    &tp__history__descriptor,
    &tp__failure__descriptor,
    &tp__start_workflow_execution_request__descriptor,
    &tp__respond_workflow_task_completed_request__descriptor,
    &tp__poll_workflow_task_queue_response__descriptor,
    &tp__create_schedule_request__descriptor,
    &tp__execute_multi_operation_request__descriptor,
    &tp__update_request__descriptor,
    &tp__record_worker_heartbeat_request__descriptor,
    &tp__rpc_status__descriptor,
};

static void again(const ProtobufCMessage *m)
{
    struct err e = { 0 };
    ProtobufCMessage *second = NULL;
    struct buf b;
    buf_init(&b, MAX(proto_size(m), (size_t)1));
    proto_encode(m, &b);
    ASSERT(!b.overflow && b.size == proto_size(m));
    int r = proto_decode_new(m->descriptor, buf_str(&b), SIZE_MAX, &second, &e);
    ASSERT(r == 0 && proto_equal(m, second));
    proto_free(second);
    buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    struct proto_arena a = { 0 };
    struct err e = { 0 }, f = { 0 };
    ProtobufCMessage *m = NULL, *n = NULL;
    if (size == 0)
        return 0;
    const ProtobufCMessageDescriptor *d = kinds[in[0] % COUNT_OF(kinds)];
    struct str bytes = { (const char *)in + 1, size - 1 };
    int r = proto_decode(d, bytes, MEMORY_MAX, &a, &m, &e);
    int s = proto_decode_new(d, bytes, MEMORY_MAX, &n, &f);
    ASSERT(a.used <= MEMORY_MAX);
    if (r < 0)
        ASSERT(!m && e.text[0] && (e.code == CODE_INVALID || e.code == CODE_EXHAUSTED));
    if (s < 0)
        ASSERT(!n && f.text[0] && (f.code == CODE_INVALID || f.code == CODE_EXHAUSTED));
    ASSERT(r == 0 ? s != -CODE_INVALID : s < 0 || r != -CODE_INVALID);
    if (r == 0)
        again(m);
    if (r == 0 && s == 0)
        ASSERT(proto_equal(m, n));
    proto_free(n);
    proto_arena_done(&a);
    return 0;
}
