/* timetable.h -- one Schedule of hob.dev/v1 as a pure state machine: which invocations are to be accepted, and when.
 *
 * Receives what the object says (serving/periodic.h), what became of the invocations, and the time, each with the turn
 * (durable/host.h) it happens in.
 * Owns its state (invocation/state.proto): what is to come (workflow/calendar.h), what came and was decided
 * (workflow/overlap.h), which of its invocations are not known to have ended.
 * Emits, read off the state by timetable_wants() (level, not edge; 0010), what the outside has to do: accept an invocation, wait for its
 * end, cancel it. The id of each is computed from the object's uid and the nominal time: accepting twice is accepting once.
 * Refuses (-CODE_INVALID) what periodic.h refuses; a refusal has changed nothing. No clock, no I/O. */
#pragma once

#include "invocation/invocation.h"
#include "serving/periodic.h"
#include "workflow/overlap.h"

struct timetable; /* opaque */

enum { TIMETABLE_TICKS_MAX = 1000 }; /* not known to have ended: then it decides nothing more until one ends */

struct timetable_zones { /* how a zone is found; NULL in ret is UTC */
    int (*load)(void *ctx, struct str name, struct zone **ret, struct err *e);
    void *ctx;
};
struct timetable_object { /* what the object says; texts live for the call */
    struct str ns, name, uid, spec, trigger; /* trigger: of the annotation; empty: none */
    int64_t generation;
};

int timetable_new(const struct timetable_object *o, int64_t now_ns, const struct timetable_zones *zones, struct timetable **ret,
                  struct err *e) MUST_USE;
void timetable_free(struct timetable *t);
DEFINE_AUTO(timetable, struct timetable *, timetable_free)
int timetable_unpack(struct str state, const struct timetable_zones *zones, struct timetable **ret, struct err *e) MUST_USE;
void timetable_pack(const struct timetable *t, struct buf *into);
size_t timetable_bytes(const struct timetable *t);
struct durable_standing timetable_standing(const struct timetable *t);
void timetable_index(const struct timetable *t, struct journal_index *into);
void timetable_check(const struct timetable *t); /* asserts the invariants */

/* What the object says now; of an older generation nothing is taken. */
int timetable_configure(struct timetable *t, struct durable_turn *turn, const struct timetable_object *o,
                        const struct timetable_zones *zones, struct err *e) MUST_USE;
void timetable_due(struct timetable *t, struct durable_turn *turn);

enum timetable_wish { TIMETABLE_ACCEPT, TIMETABLE_WATCH };
struct timetable_want {
    enum timetable_wish wish;
    uint64_t number;
    bool cancel; /* WATCH: and it is to be cancelled */
};
bool timetable_wants(const struct timetable *t, size_t n, struct timetable_want *ret);

struct uuid timetable_id(const struct timetable *t, uint64_t number); /* of the invocation */
/* Of one that is wanted: what is accepted. The buffers are the caller's, and hold the texts. */
struct timetable_call {
    struct uuid id;
    const char *ns, *service, *key; /* the timetable's own, until its next turn */
    int64_t nominal_ms, deadline_ms; /* deadline_ms: from now */
    struct str method, path;        /* inside `request` */
    uint8_t fingerprint[32];
};
void timetable_call(const struct timetable *t, uint64_t number, const char *host, struct buf *request, struct timetable_call *ret);

/* What came of it. Fine if that one is not known any more. */
void timetable_accepted(struct timetable *t, struct durable_turn *turn, uint64_t number);
void timetable_ended(struct timetable *t, struct durable_turn *turn, uint64_t number, enum invoked_status status);

struct timetable_facts { /* texts: its own, until its next turn */
    const char *ns, *name, *uid;
    int64_t generation, last_ms, next_ms; /* Unix time; 0: none, INT64_MAX: never */
    struct uuid last_id;
    enum invoked_status last_status;      /* 0: not ended, or none */
    uint32_t active;
    uint64_t actions, missed, skipped, dropped;
    bool paused;
};
void timetable_facts(const struct timetable *t, struct timetable_facts *ret);
