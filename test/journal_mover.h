/* journal_mover.h -- commits that can be checked as a whole: units that move between runs. */
#pragma once

#include "base/rng.h"
#include "journal_world.h"

/* Each commit moves one unit from one run to another: in every consistent state they are 2 * RUNS together, and the
 * steps of all are the number of the commit. */
enum { RUNS = 8, STATE = 900 };
struct mover {
    struct commit commits[4];
    int64_t units[RUNS];
    uint64_t versions[RUNS], step, answered;
    uint64_t acked[RUNS];            /* versions that were acknowledged */
    size_t moved[4][2];              /* by the commit of each slot: from, to */
    uint64_t made[4][2];             /* and the versions that it makes */
    char states[4][2][STATE];
    struct rng rng;
};
static const char *const mover_ids[RUNS] = { "m0", "m1", "m2", "m3", "m4", "m5", "m6", "m7" };

static inline void mover_fill(struct mover *m, size_t slot, size_t side, size_t run)
{
    snprintf(m->states[slot][side], STATE, "%lld of step %llu %0800d", (long long)m->units[run],
             (unsigned long long)m->step, 0);
}

static inline bool mover_begin(struct world *w, struct mover *m)
{
    for (size_t i = 0; i < RUNS; i++) {
        m->units[i] = 2;
        m->versions[i] = m->acked[i] = 1;
        struct journal_write make = write_of(JOURNAL_CREATE, mover_ids[i], 1, 0);
        mover_fill(m, 0, 0, i);
        make.state = str_of(m->states[0][0]);
        if (commit_one(w, make) < 0)
            return false;
    }
    return true;
}

static inline bool mover_move(struct world *w, struct mover *m, size_t slot)
{
    size_t from = rng_below(&m->rng, RUNS), to = (from + 1 + rng_below(&m->rng, RUNS - 1)) % RUNS;
    struct journal_write writes[2] = { write_of(JOURNAL_UPDATE, mover_ids[from], 1, m->versions[from]++),
                                       write_of(JOURNAL_UPDATE, mover_ids[to], 1, m->versions[to]++) };
    m->moved[slot][0] = from;
    m->moved[slot][1] = to;
    m->made[slot][0] = m->versions[from];
    m->made[slot][1] = m->versions[to];
    struct journal_row row = { 1 + m->step, 1, STR("moved") };
    m->units[from]--;
    m->units[to]++;
    m->step++;
    mover_fill(m, slot, 0, from);
    mover_fill(m, slot, 1, to);
    writes[0].state = str_of(m->states[slot][0]);
    writes[1].state = str_of(m->states[slot][1]);
    writes[0].rows = &row;
    writes[0].row_count = 1;
    return submit(w, &m->commits[slot], writes, 2) == 0;
}

/* The sum of all units; *ret_step: of the latest commit that is in it. */
static inline int64_t mover_sum(struct world *w, uint64_t *ret_step)
{
    int64_t sum = 0;
    struct loaded l;
    *ret_step = 0;
    for (size_t i = 0; i < RUNS; i++) {
        long long units = 0;
        unsigned long long step = 0;
        if (load(w, &l, key_of(mover_ids[i], 1)) < 0 || sscanf(l.state, "%lld of step %llu", &units, &step) != 2)
            return -1;
        sum += units;
        *ret_step = MAX(*ret_step, (uint64_t)step);
    }
    return sum;
}


/* What is on the disk is what goes on from now. False: it cannot be read. */
static inline bool mover_reload(struct world *w, struct mover *m)
{
    struct loaded l;
    for (size_t i = 0; i < RUNS; i++) {
        long long units = 0;
        if (load(w, &l, key_of(mover_ids[i], 1)) < 0 || sscanf(l.state, "%lld of step", &units) != 1)
            return false;
        m->units[i] = units;
        m->versions[i] = l.now.expect;
    }
    return true;
}

/* Some batches of moves; what fails is counted, and the state is read anew, as long as it can be. */
static inline int mover_run(struct world *w, struct mover *m, int batches)
{
    int refused = 0;
    for (int batch = 0; batch < batches; batch++) {
        size_t count = 1 + (size_t)batch % 4;
        int failed = 0;
        for (size_t slot = 0; slot < count; slot++)
            if (!mover_move(w, m, slot))
                abort();
        for (size_t slot = 0; slot < count; slot++) {
            bool good = commit_wait(w, &m->commits[slot]) == 0;
            failed += !good;
            for (int side = 0; good && side < 2; side++)
                m->acked[m->moved[slot][side]] = m->made[slot][side];
        }
        refused += failed;
        if (failed && !mover_reload(w, m))
            break;
    }
    return refused;
}

/* NULL, or what is wrong. exact: what was not acknowledged is not there. */
static inline const char *mover_check(struct world *w, struct mover *m, bool exact)
{
    static char wrong[700];
    uint64_t step;
    int64_t sum = mover_sum(w, &step);
    if (sum != 2 * RUNS || !mover_reload(w, m)) {
        snprintf(wrong, sizeof wrong, "half a commit is there: %lld units: %s", (long long)sum, w->e.text);
        return wrong;
    }
    for (size_t i = 0; i < RUNS; i++)
        if (m->versions[i] < m->acked[i] || (exact && m->versions[i] != m->acked[i])) {
            snprintf(wrong, sizeof wrong, "%s has version %llu; %llu was acknowledged", mover_ids[i],
                     (unsigned long long)m->versions[i], (unsigned long long)m->acked[i]);
            return wrong;
        }
    return NULL;
}
