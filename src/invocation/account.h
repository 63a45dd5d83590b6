/* account.h -- what hob says of a durable invocation: one JSON object, the same wherever it is asked for. Pure.
 *
 * Receives the facts. Emits text; owns nothing, refuses nothing. A member without a value is left out; times are RFC 3339.
 *
 *   id, namespace, service, method, path, key, status, attempt, attempts_max, safe, redrives, cancel_asked, accepted_at,
 *   deadline, next_attempt_at, attempt_began_at, ended_at, answer_status, answer_size, why, checkpoint_size, checkpoint_attempt,
 *   callback: {url, done, tries, why}, attempts: [{attempt, record}], the last ACCOUNT_ATTEMPTS_MAX */
#pragma once

#include "invocation/invocation.h"

enum { ACCOUNT_ATTEMPTS_MAX = 20, ACCOUNT_BYTES_MAX = 262144 };

/* id: NULL: it and what follows from it is left out. */
void account_write(const struct uuid *id, const struct invocation_facts *f, struct buf *into);

/* The id of the record of evidence that an attempt leaves: computed, so that nothing needs to remember it. */
struct uuid account_record_of(const struct uuid *id, uint32_t attempt);
