/* fetcher_wire.h -- what the node and the fetcher say to each other: one fixed structure each way,
 * over SOCK_SEQPACKET; WIRE_START carries the writing end of a pipe, WIRE_POST a memfd to be sent to the one
 * address that the fetcher was started with, WIRE_CALL one of header lines and (at `from`) a body for the address it names.
 *
 *     node → fetcher   START id, url, from, etag (+ pipe)     CANCEL id     POST id (+ memfd)     CALL id, url, from (+ memfd)
 *     fetcher → node   HEAD id, status, size, from, …         END id, code, text (pipe is closed)
 *
 * The fetcher reads what strangers send, so the node believes nothing of it: wire_check() refuses
 * every message that is not exactly one of ours, and texts are made printable.
 */
#pragma once

#include "artifact/artifact.h"
#include "base/str.h"

enum wire_kind { WIRE_START = 1, WIRE_CANCEL, WIRE_HEAD, WIRE_END, WIRE_POST, WIRE_CALL };

struct wire_message {
    uint32_t kind;
    uint32_t code;    /* END: enum code; 0 is a good end */
    uint64_t id;      /* the node's; never used twice */
    int64_t size;     /* HEAD: of the whole; -1 unknown */
    int64_t from;     /* START: first byte wanted; CALL: of the body; HEAD: first byte that comes, -1 not said */
    int64_t retry_after_ms; /* HEAD; -1 none */
    uint32_t status;  /* HEAD */
    uint32_t unused;  /* 0 */
    char etag[128];   /* START, HEAD; NUL-terminated */
    char text[512];   /* START, CALL: URL; END: why */
};

/* from_node: what the fetcher may receive; else what the node may. */
int wire_check(const struct wire_message *m, size_t size, bool from_node, struct err *e) MUST_USE;

/* "bytes 40-99/100" or "bytes 40-99/" and a star: false for anything else. total -1: not said. */
bool wire_range_parse(struct str text, int64_t *ret_from, int64_t *ret_total);
