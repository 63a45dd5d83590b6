/* invocation.h -- one durable invocation as a pure state machine (docs/decisions/0011).
 *
 * Receives what happens to it, each through one function below, with the turn (durable/host.h) it happens in.
 * Owns its state (invocation/state.proto). Its history: row 1 the request, then answers and checkpoints, as they come; what
 * comes twice in a row stands in the same place. The last of each is told by the facts.
 * Emits its standing: what is to be done next (an attempt, a callback) is read off the state.
 * Refuses (negative, with an error for people) what its status does not allow: an attempt's word when another is under way
 * (-CODE_ABORTED), anything after its end but redrive (-CODE_PRECONDITION). A refusal has changed nothing.
 *
 * No clock, no I/O: time and randomness are the turn's. */
#pragma once

#include "durable/host.h"

enum invoked_status {
    INVOKED_WAITING = 1, /* for its first attempt, or the next */
    INVOKED_RUNNING,     /* an attempt is under way */
    INVOKED_DONE,        /* the function answered; the answer is kept, whatever it says */
    INVOKED_FAILED,      /* the function answered that it could not, and it is not declared safe to repeat */
    INVOKED_DEAD,        /* it was repeated as often as it may be, or its time is over: a dead letter */
    INVOKED_CANCELLED,
    INVOKED_AMBIGUOUS,   /* the function had it, nobody knows what came of it, and it is not declared safe to repeat */
};
const char *invoked_status_name(enum invoked_status s); /* "accepted" … */
bool invoked_status_parse(struct str name, enum invoked_status *ret);
bool invoked_status_ended(enum invoked_status s);

enum { INVOCATION_ROW_REQUEST = 1 }; /* of its history; the others are named by its facts */

struct invocation; /* opaque */

struct invocation_spec {
    struct str ns, service, host; /* whose, and the Host that its attempts ask for */
    struct str method, path;
    struct str key;               /* empty: none */
    uint8_t fingerprint[32];
    bool safe;
    uint32_t attempts_max;        /* 1.. */
    uint32_t backoff_ms, backoff_max_ms;
    int64_t not_before_ms;        /* 0: at once */
    int64_t deadline_ms;          /* Unix time; 0: none */
    uint64_t retention_ms;
    struct str callback, callback_secret; /* empty: none */
    struct str request;           /* row 1 */
};
/* Waiting. The machine belongs to the caller, who makes its turn and then begins it: row 1 is that turn's. */
struct invocation *invocation_new(const struct invocation_spec *s, int64_t now_ns);
void invocation_accept(struct invocation *v, struct durable_turn *t, struct str request);
void invocation_free(struct invocation *v);
int invocation_unpack(struct str state, struct invocation **ret, struct err *e) MUST_USE;
void invocation_pack(const struct invocation *v, struct buf *into);
struct durable_standing invocation_standing(const struct invocation *v);
void invocation_index(const struct invocation *v, struct journal_index *into);
size_t invocation_bytes(const struct invocation *v);
void invocation_check(const struct invocation *v); /* asserts the invariants */

/* ---- what there is to do (read after a commit) ---- */
enum invocation_want {
    INVOCATION_WANTS_NOTHING,
    INVOCATION_WANTS_ATTEMPT,  /* now: begin one with invocation_begin() */
    INVOCATION_WANTS_CALLBACK, /* now */
};
enum invocation_want invocation_wants(const struct invocation *v, int64_t now_ns);

/* ---- attempts ---- */
/* The number of the attempt, from 1: the function may see the request once the turn is durable. */
int invocation_begin(struct invocation *v, struct durable_turn *t, struct err *e) MUST_USE;
enum invocation_came {      /* of an attempt */
    INVOCATION_CAME_ANSWER, /* answer_status, and a row */
    INVOCATION_CAME_REFUSED, /* the function never had it */
    INVOCATION_CAME_BROKEN, /* it had it, and nobody knows what it did: broke, timed out, hob died */
};
struct invocation_end {
    enum invocation_came came;
    uint32_t attempt;
    uint32_t answer_status;  /* 100..599 */
    uint64_t retry_after_ms; /* 0: not said */
    char *take_answer;       /* its row, malloc'd; NULL: none */
    size_t answer_size;
    uint64_t answer_bytes;   /* of its content */
    const char *why;         /* for people; NULL: nothing to say */
};
/* Takes the answer also when it refuses. */
int invocation_over(struct invocation *v, struct durable_turn *t, const struct invocation_end *o,
                    struct err *e) MUST_USE;
/* This process does not know of the attempt that the state says is under way: it died with another. */
void invocation_lost(struct invocation *v, struct durable_turn *t);
int invocation_checkpoint(struct invocation *v, struct durable_turn *t, uint32_t attempt, struct str bytes,
                          struct err *e) MUST_USE;

/* ---- clients ---- */
/* 0: cancelled; 1: asked for, the attempt under way is to be dropped and then invocation_over(). */
int invocation_cancel(struct invocation *v, struct durable_turn *t, struct err *e) MUST_USE;
/* Of one that is dead, failed, ambiguous or cancelled: as many attempts again. deadline_ms: 0: none. */
int invocation_redrive(struct invocation *v, struct durable_turn *t, int64_t deadline_ms,
                       struct err *e) MUST_USE;
/* Its deadline, its retention, or nothing at all. */
void invocation_due(struct invocation *v, struct durable_turn *t);
struct invocation_called { /* what came of one try to tell of the end */
    bool taken;              /* somebody has it */
    bool never;              /* and nobody ever will */
    uint32_t redrives;       /* of the end that was told */
    uint32_t tries_max;      /* after so many it is given up, and that is said */
    uint64_t retry_after_ms; /* 0: not said */
    const char *why;         /* for people, unless it was taken */
};
void invocation_callback_over(struct invocation *v, struct durable_turn *t, const struct invocation_called *c);
void invocation_callback_later(struct invocation *v, struct durable_turn *t, uint32_t ms); /* it was not tried */

/* ---- what is known ---- */
struct invocation_facts { /* texts: the invocation's own, until its next turn */
    const char *ns, *service, *host, *method, *path, *key, *why, *callback, *callback_secret, *callback_why;
    const uint8_t *fingerprint; /* 32 bytes */
    enum invoked_status status;
    uint32_t attempt, attempts_max, answer_status, checkpoint, redrives, callback_tries;
    bool safe, cancel_asked;
    bool callback_done, callback_given_up; /* given up: done, and nobody took it */
    int64_t accepted_ns, next_ms, deadline_ms, attempt_ns, ended_ns, callback_ms; /* 0: none */
    uint64_t request_bytes, answer_bytes, answer_row, checkpoint_row, checkpoint_bytes;
};
void invocation_facts(const struct invocation *v, struct invocation_facts *ret);
