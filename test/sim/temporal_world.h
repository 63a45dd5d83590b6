/* temporal_world.h -- a world in which Temporal's whole service lives: clients, workers, a disk, a clock, and what goes wrong.
 *
 * Owns the real service, matching and host over the simulated journal (they die with each crash), clients and workers who
 * speak to them only through service_ask(), and the books: everything the disk ever showed, event by event.
 * Whatever happens is told to tw_note(): its hash is the trace, and the same seed has the same one. For test/sim alone. */
#pragma once

#include "codec/temporal.h"
#include "durable/host.h"
#include "sim/sim_journal.h"
#include "sim/sim_world.h"
#include "workflow/matching.h"
#include "workflow/service.h"

#include <inttypes.h>

enum {
    TW_FLOWS = 4,
    TW_STEPS = 5,
    TW_SLOTS = 2 * TW_STEPS,
    TW_COMMANDS = 8,
    TW_WORKERS = 3,
    TW_CACHE = 6,
    TW_WISHES = 12,
    TW_FACTS = 4096,
    TW_DONES = 8192,
    TW_UPDATES = 16,
};
#define TW_SECOND UINT64_C(1000000)
#define EV(name) TP__EVENT_TYPE__EVENT_TYPE_##name

struct tw;

/* ---- a run as its history tells it (temporal_life.c) ---- */

enum tw_thing { T_NONE, T_ACTIVITY, T_TIMER, T_CHILD, T_SIGNAL_OUT, T_CANCEL_OUT, T_MARKER };
struct tw_slot { /* one thing that a step asked for */
    enum tw_thing thing;
    bool over, began, cancel;
    bool bad; /* it did not come to a good end */
    int64_t event, began_event;
};
struct tw_update {
    char id[16];
    int64_t accepted;
    bool completed;
};
struct tw_life {
    char type[16], workflow[64], run[40];
    struct tw_slot slots[TW_SLOTS];
    struct tw_update updates[TW_UPDATES];
    uint32_t update_count;
    uint32_t signals; /* of clients, with a number */
    uint32_t goes;    /* all that were sent */
    bool cancel, closed;
    int64_t next; /* event */
    int64_t scheduled, started, completed; /* workflow task; completed: the last one */
    int64_t time_ns;
    int32_t end; /* event type */
};
/* NULL: it goes on as a history may; else what is wrong. */
const char *life_feed(struct tw_life *l, const Tp__HistoryEvent *v);

/* What a program does next, as commands and their signatures ("a3": an activity in slot 3). */
struct tw_commands {
    Tp__Command *at[TW_COMMANDS];
    char signs[TW_COMMANDS][24]; /* of the events they make */
    uint32_t count, sign_count;
    Tp__ProtocolMessage *messages[TW_COMMANDS];
    uint32_t message_count;
    bool again; /* wants another task at once */
};
void life_decide(const struct tw_life *l, struct tw_commands *into);
void commands_done(struct tw_commands *c);
void *command_new(struct tw_commands *c, Tp__CommandType type, Tp__Command__AttributesCase field, const char *sign);
#define COMMAND_NEW(c, NAME, sign) \
    command_new(c, TP__COMMAND_TYPE__COMMAND_TYPE_##NAME, TP__COMMAND__ATTRIBUTES_##NAME##_COMMAND_ATTRIBUTES, sign)
bool life_sign(const struct tw_life *l, const Tp__HistoryEvent *v, char into[24]); /* false: no command makes such an event */
Tp__Payloads *tw_number(uint64_t n);
uint64_t tw_number_of(const Tp__Payloads *p); /* 0: none */

/* ---- what the disk shows (temporal_book.c) ---- */

struct tw_book { /* of a run */
    struct tw_life life;
    char *bytes; /* all of its pieces, one behind the other */
    size_t size;
    uint64_t version;
    uint64_t *hashes; /* of its events, from 1 */
    uint8_t *types;
    size_t count, capacity, reset_at;
    bool reset, copied, cron; /* reset: made by a reset: until its point (copied) it repeats another */
    char base[40], parent_run[40], next_run[40], last_child[40];
    int64_t parent_initiated;
    uint64_t started_by; /* fact */
    uint64_t signals[64];
    uint32_t signal_count;
    uint32_t maybe[8], maybe_at[8], maybe_count; /* completions that the events may come from; how far each got */
};
enum tw_fact_type { F_START, F_SIGNAL, F_RESULT, F_UPDATE, F_TERMINATE };
struct tw_fact { /* a number that travels with what was asked, and is found in a history */
    enum tw_fact_type type;
    bool acked;
    uint32_t seen;
    char run[40];
};
struct tw_done { /* a workflow task that a worker completed, or tried to */
    char run[40];
    int64_t started;
    char signs[TW_COMMANDS][24];
    uint32_t count;
};
void books_look(struct tw *w);  /* what the disk has by now: appended to, never changed */
void books_judge(struct tw *w); /* at the end */
void books_done(struct tw *w);
struct tw_book *book_find(struct tw *w, const char *run);
bool book_continued(struct tw *w, const char *run);
/* What was given out is what the disk has; `task`: the last two may be of a task that is in no history yet. */
void book_compare(struct tw *w, const char *run, const Tp__History *h, bool task);
uint64_t fact_new(struct tw *w, enum tw_fact_type type);

/* ---- calls (temporal_call.c) ---- */

struct tw_call {
    struct list_node node;
    struct tw *w;
    struct service_call *at; /* NULL: nobody has it */
    const char *method;
    const ProtobufCMessageDescriptor *output;
    uint64_t deadline_us;
    bool over, deaf; /* deaf: its answer is lost on the way */
    enum code code;
    void (*told)(struct tw_call *c, const void *answer, enum code code); /* answer NULL: refused, or lost (UNAVAILABLE) */
    void *who;
    uint64_t number;
    char run[40];
};
struct tw_call *call_send(struct tw *w, const char *method, void *take_request, uint64_t timeout_us,
                          void (*told)(struct tw_call *c, const void *answer, enum code code), void *who);
void call_drop(struct tw_call *c); /* its client is not there any more */
void calls_tick(struct tw *w);
bool call_passes(enum code code); /* nobody knows what came of it: ask again */

/* ---- workers, clients ---- */

enum tw_hand_state { H_IDLE, H_POLLING, H_READING, H_BUSY, H_ANSWERING };
struct tw_worker;
struct tw_hand {
    struct tw_worker *worker;
    enum { HAND_NORMAL, HAND_STICKY, HAND_ACTIVITY } type;
    enum tw_hand_state state;
    uint64_t wake_us;
    struct tw_call *call;
    Tp__PollWorkflowTaskQueueResponse *task;
    Tp__PollActivityTaskQueueResponse *activity;
    struct tw_life life;
    struct tw_commands commands;
    uint64_t number;
    uint32_t tries;
    bool cancel;
};
struct tw_worker {
    struct tw *w;
    char name[16], sticky[24];
    bool dead;
    uint32_t lives;
    uint64_t wake_us;
    struct tw_hand hands[4];
    struct tw_life cache[TW_CACHE];
};
void workers_open(struct tw *w);
void workers_tick(struct tw *w);
void workers_done(struct tw *w);

enum tw_wish_type { WISH_NONE, WISH_START, WISH_SIGNAL, WISH_SIGNAL_START, WISH_CANCEL, WISH_TERMINATE, WISH_QUERY, WISH_UPDATE,
                    WISH_RESET, WISH_DESCRIBE, WISH_END };
struct tw_wish {
    struct tw *w;
    enum tw_wish_type type;
    uint32_t flow, asks;
    uint64_t number, wake_us;
    char id[64], run[40];
    ProtobufCMessage *request;
    struct tw_call *call;
};
struct tw_flow {
    char id[8];
    uint32_t generation;
    bool starting, started, cron;
};
void clients_tick(struct tw *w);
void clients_end(struct tw *w); /* faults are over: waits are ended, cron is terminated */
void clients_done(struct tw *w);

/* ---- the world ---- */

struct tw {
    uint64_t seed, hash;
    bool trace, broken, faults_on, restart, ready;
    struct rng rng;
    struct limits limits;
    struct sim_clock clock;
    struct sim_disk disk;
    struct sim_faults faults;
    struct loop *loop;
    struct journal *journal;
    struct service *service;
    struct durable_kind kind;
    struct durable_host *host;
    struct loop_timer tick;
    struct list calls;
    struct tw_flow flows[TW_FLOWS];
    struct tw_worker workers[TW_WORKERS];
    struct tw_wish wishes[TW_WISHES];
    struct tw_book **books;
    size_t book_count;
    uint64_t looked; /* commits */
    struct tw_fact facts[TW_FACTS];
    uint64_t fact_count;
    struct tw_done *dones;
    uint32_t done_count, resets;
    uint64_t end_us; /* faults ended */
    struct {
        uint32_t crash, die, slow, fail, twice, deaf, lost, jump, evict, bad, wish; /* permille */
        uint32_t feature[WISH_END + 1];
    } rate;
};
bool tw_run(uint64_t seed, bool trace, uint64_t *ret_hash);
void tw_note(struct tw *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
void tw_wrong(struct tw *w, const char *file, int line, const char *fmt, ...) PRINTF_LIKE(4, 5);
static inline bool tw_permille(struct tw *w, uint32_t n) { return n && rng_below(&w->rng, 1000) < n; }
#define EXPECT(w, cond)                                      \
    do {                                                     \
        if (!(cond))                                         \
            tw_wrong(w, __FILE__, __LINE__, "%s", #cond);    \
    } while (0)
