/* sim_journal.h -- store/journal.h in memory, over a disk that outlives it.
 *
 * Keeps the contract and nothing more: commits become durable in order after random delays and are acknowledged later;
 * reads are answered in any order. It checks every expectation itself, and that histories have no gap. Between durable and
 * acknowledged it can crash: what is on the disk is there, and nobody was told. While the faults say so, the disk
 * refuses. Lists and counts are not in it. */
#pragma once

#include "base/rng.h"
#include "store/journal.h"

struct sim_row { /* an entity on the disk */
    struct journal_key key; /* its own texts */
    char *text;
    uint64_t version, age; /* of two runs of an id the one with the greater age is current */
    char *state;
    size_t state_size;
    bool open, ready;
    int64_t due_ms;
    uint32_t status;
    struct sim_piece {
        uint64_t first;
        uint32_t count;
        char *bytes;
        size_t size;
    } *pieces;
    size_t piece_count;
};
struct sim_disk {
    struct sim_row **rows;
    size_t count, capacity;
    uint64_t age_next;
    uint64_t commits;
};
void sim_disk_done(struct sim_disk *d); /* zeroed is new */
struct sim_row *sim_disk_find(const struct sim_disk *d, const struct journal_key *key); /* run all zero: current */

struct sim_faults { /* may be changed at any time */
    uint32_t commit_us, read_us; /* delays are below these */
    uint32_t outage_permille;    /* of commits begin an outage of up to outage_us */
    uint64_t outage_us;
    uint32_t refuse_permille;    /* of calls are refused at once */
    uint32_t read_fail_permille;
};
struct journal *sim_journal_new(struct sim_disk *d, struct loop *l, struct rng *rng,
                                const struct sim_faults *faults);
/* As a power cut: what is not durable is gone. Every call under way is told CODE_CANCELLED, which to its
 * caller means that it may have happened. Frees it. */
void sim_journal_crash(struct journal *j);
