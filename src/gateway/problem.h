/* problem.h -- what the gateway says itself: RFC 9457 problem details, one row per kind.
 *
 * Pure: turns a kind, a sentence and an invocation id into a JSON body. Owns nothing, refuses nothing:
 * text that is not UTF-8 or not printable is escaped, whoever sent it.
 * docs: `type` is urn:hob:problem:<name>; a client may act on it and on `retryable`.
 */
#pragma once

#include "base/buf.h"

/* X(id, status, name, retryable, title). `retryable`: the function saw nothing of the request, or the
 * cause is likely to pass; whether a repetition is harmless is still the caller's to know. */
// clang-format off
#define PROBLEMS(X)                                                                              \
    X(BAD_REQUEST,        400, "bad-request",         false, "The request is not valid HTTP") \
    X(BAD_HEADER,         400, "bad-header",          false, "A Hob header could not be read")    \
    X(UNKNOWN_HOST,       404, "unknown-host",        false, "No function is served under this host") \
    X(SLOW_REQUEST,       408, "slow-request",        true,  "The request did not arrive in time") \
    X(IN_FLIGHT,          409, "in-flight",           true,  "The invocation has not ended") \
    X(CANCELLED,          409, "cancelled",           false, "The invocation was cancelled") \
    X(TOO_LARGE,          413, "too-large",           false, "The request body is too large")     \
    X(TARGET_TOO_LONG,    414, "target-too-long",     false, "The request target is too long")    \
    X(EXPECTATION,        417, "expectation",         false, "The expectation cannot be met")     \
    X(KEY_REUSED,         422, "key-reused",          false, "The key belongs to another request") \
    X(OVERLOADED,         429, "overloaded",          true,  "The function gets more than it can do")     \
    X(HEAD_TOO_LARGE,     431, "head-too-large",      false, "The request head is too large")     \
    X(INTERNAL,           500, "internal",            true,  "The gateway could not do its part") \
    X(NOT_IMPLEMENTED,    501, "not-implemented",     false, "The request asks for what hob does not do") \
    X(INSTANCE_DIED,      502, "instance-died",       true,  "The function ended the connection without a whole answer") \
    X(BAD_ANSWER,         502, "bad-answer",          false, "The function's answer is not valid HTTP") \
    X(AMBIGUOUS,          502, "ambiguous",           false, "Nobody knows what the function did with the request") \
    X(NOT_KEPT,           503, "not-durable",         true,  "The invocation could not be written down or read") \
    X(CONNECTIONS,        503, "too-many-connections", true, "The gateway has all the connections it may have") \
    X(QUEUE_FULL,         503, "queue-full",          true,  "The function's queue is full")      \
    X(NO_TIME,            503, "no-time-left",        true,  "The function would answer after the deadline") \
    X(START_FAILED,       503, "start-failed",        true,  "The function could not be started") \
    X(QUEUE_TIMEOUT,      504, "queue-timeout",       true,  "No instance became free in time")   \
    X(DEAD,               504, "dead",                false, "The invocation ended without an answer") \
    X(DEADLINE,           504, "deadline",            false, "The function did not finish in time") \
    X(RESPONSE_START,     504, "response-start-timeout", false, "The function did not begin to answer in time") \
    X(IDLE,               504, "idle-timeout",        false, "The function was silent for too long") \
    X(HTTP_VERSION,       505, "http-version",        false, "Only HTTP/1.0 and HTTP/1.1 are spoken here") \
    X(HOPS,               508, "too-many-hops",       false, "Functions called functions too many times")
// clang-format on

enum problem_kind {
#define X(id, status, name, retryable, title) PROBLEM_##id,
    PROBLEMS(X)
#undef X
        PROBLEM_KINDS
};

int problem_status(enum problem_kind k);
const char *problem_name(enum problem_kind k); /* "queue-full": label of metrics and of the type */
enum problem_kind problem_of_status(int status); /* the kind for a parser's refusal */

struct problem {
    enum problem_kind kind;
    const char *detail;        /* a sentence for people */
    const char *phase;         /* where it hung or broke ("queue", "handler"), or NULL */
    uint32_t retry_after_s;    /* 0: not said */
    const char *invocation_id; /* text of the uuid */
};
void problem_write(struct buf *b, const struct problem *p);
