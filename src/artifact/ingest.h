/* ingest.h -- the disk side of one download: a part file, its running hash, and its end.
 *
 * Receives bytes through a pipe, written by a process that may be cut, slow or hostile.
 * Owns ingest/<hex>.part and its `.origin` (where it came from, and the validator to resume with).
 * Emits how much is held. Commits only what has the digest it was opened for.
 * Refuses more bytes than were announced, more than artifact_bytes_max, more than the disk can spare.
 * What an earlier run left is hashed again, never trusted; a resumed part that turns out wrong is
 * told apart (ingest_resumed) from a wrong file.
 * Threading: one thread at a time; ingest_held() from any. Every call may block on the disk.
 */
#pragma once

#include "artifact/cas.h"

struct ingest;

/* Opens or begins the part. stop_fd: readable means stop (borrowed; must outlive it). */
int ingest_open(struct cas *c, const struct limits *limits, const char *hex, int stop_fd,
                struct ingest **ret, struct err *e) MUST_USE;
/* What was not committed or dropped stays, to be resumed. */
void ingest_free(struct ingest *in);
DEFINE_AUTO(ingest, struct ingest *, ingest_free)

uint64_t ingest_held(const struct ingest *in);
uint64_t ingest_received(const struct ingest *in); /* through pipes, since it was opened */
bool ingest_resumed(const struct ingest *in); /* some of it is from an earlier run */
/* "" where unknown, weak, or from another URL. */
const char *ingest_etag(const struct ingest *in, const char *url);
int64_t ingest_size(const struct ingest *in); /* announced; -1: not known */

/* The origin announced this; noted beside the part. */
int ingest_announce(struct ingest *in, const char *url, const char *etag, int64_t size,
                    struct err *e) MUST_USE;
int ingest_restart(struct ingest *in, struct err *e) MUST_USE; /* forgets what is held */

/* Reads the pipe to its end. 0: ended, or stopped; 1: room is short by *ret_short: make room and call
 * again, nothing is lost; < 0: over, and the part is not worth keeping. */
int ingest_take(struct ingest *in, int pipe_fd, uint64_t *ret_short, struct err *e) MUST_USE;

/* CODE_DATA_LOSS: not the digest it was to have; the text says which. The part is then gone. */
int ingest_commit(struct ingest *in, struct err *e) MUST_USE;
void ingest_drop(struct ingest *in); /* removes the part and its note */
