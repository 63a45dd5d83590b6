/* tracecontext.h -- W3C Trace Context: which trace a request belongs to, and what is passed on.
 *
 * Receives the values of traceparent and tracestate as a stranger sent them; owns nothing; emits a
 * trace_context and the two values for the next hop, always in version 00.
 * Refuses, by beginning a trace of its own: version ff, capitals, ids of zeros, a version 00 that
 * goes on after its flags. A later version is read as far as version 00 reaches, as the standard asks.
 * A tracestate with one bad member, a key twice or more than 32 members is left out whole; one over 512
 * characters loses its members over 128 characters, then the last ones.
 * Pure: no clock, no randomness of its own, no allocation.
 */
#pragma once

#include "base/buf.h"

struct trace_context {
    uint8_t trace_id[16]; /* all zero: there is none */
    uint64_t parent_span; /* the caller's; 0: the trace begins here */
    uint64_t span;        /* what the function is told as its parent */
    bool sampled;         /* spans of it are wanted */
    bool random;          /* level 2's flag, passed on as it came */
};

enum { TRACEPARENT_TEXT = 56, TRACE_ID_TEXT = 33, SPAN_ID_TEXT = 17 }; /* with the NUL */
enum { TRACE_SAMPLE_ALL = 1000000 };

/* Of the caller's span: trace_id, parent_span, sampled, random. False: *ret is as it was. */
bool traceparent_parse(struct str text, struct trace_context *ret);
/* As the next hop gets it. */
void traceparent_format(const struct trace_context *t, char into[TRACEPARENT_TEXT]);

/* The same trace gets the same answer on every node that asks with the same ratio. */
bool trace_sampled(const uint8_t trace_id[16], uint32_t per_million);

bool trace_id_none(const struct trace_context *t);
void trace_id_format(const uint8_t trace_id[16], char into[TRACE_ID_TEXT]);
bool trace_id_parse(struct str text, uint8_t ret[16]); /* 32 lower-case digits, not all zero */
void span_id_format(uint64_t span, char into[SPAN_ID_TEXT]);

enum { TRACESTATE_MEMBERS_MAX = 32, TRACESTATE_BYTES_MAX = 512 };
struct tracestate { /* zeroed is empty; borrows the texts */
    struct str at[TRACESTATE_MEMBERS_MAX];
    uint32_t count;
    bool bad;
};
void tracestate_add(struct tracestate *s, struct str value); /* of one field, in order */
/* Appends the combined value, without a line end. False: nothing is left to say. */
bool tracestate_write(struct tracestate *s, struct buf *b);
