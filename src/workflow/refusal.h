/* refusal.h -- why a request was refused, as a Temporal client hears it: a gRPC code, a sentence, and at most one
 * detail message (temporal.api.errordetails.v1.*). Owned by whoever declares it; refusal_done() frees. */
#pragma once

#include "base/err.h"
#include "codec/temporal.pb-c.h"

struct refusal {
    enum code code; /* CODE_OK: none */
    char text[512];
    const char *detail_type; /* "temporal.api.errordetails.v1.NotFoundFailure", or NULL */
    ProtobufCMessage *detail; /* owned; NULL: none */
};

int refuse(struct refusal *no, enum code code, const char *fmt, ...) PRINTF_LIKE(3, 4); /* -code */
/* The same with a detail, which is taken. */
int refuse_with(struct refusal *no, enum code code, const char *type, void *take_detail,
                const char *fmt, ...) PRINTF_LIKE(5, 6);
void refusal_done(struct refusal *no);
