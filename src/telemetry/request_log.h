/* request_log.h -- one line of JSON per request, in the shape of Knative's default template, without ever waiting
 * for whoever reads it.
 *
 * Receives records with their notes, and the descriptor to write to (again whenever the file was opened anew).
 * Owns the lines that wait, at most request_log_bytes_max; a thread of its own writes them. Emits whole lines, in
 * order. Refuses what does not fit: dropped and counted, and counted as that limit reached. A write that fails drops
 * what it was about, and is logged when it begins.
 * No query, cookie or other header is ever in a line: they hold secrets. Loop thread only.
 */
#pragma once

#include "base/limits.h"
#include "os/loop.h"
#include "telemetry/record.h"

struct request_log;

int request_log_open(struct loop *l, const struct limits *limits, void (*on_limit)(void *ctx, const char *limit), void *ctx,
                     struct request_log **ret, struct err *e) MUST_USE;
void request_log_free(struct request_log *g); /* does not wait for a reader that does not read */
DEFINE_AUTO(request_log, struct request_log *, request_log_free)

void request_log_attach(struct request_log *g, int take_fd); /* what waits, and all that follows, goes there */
void request_log_record(struct request_log *g, const struct invocation_record *r);
bool request_log_idle(const struct request_log *g); /* all is written */
struct request_log_counts {
    uint64_t lines, dropped; /* written; not */
} request_log_counts(const struct request_log *g);

/* The line of a record, with its end. Pure. */
void request_log_line(struct buf *b, const struct invocation_record *r);
enum { REQUEST_LOG_LINE_MAX = 16 << 10 };
