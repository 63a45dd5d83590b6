#include "instance/arrival.h"

struct span { /* a record, and when what it tells of began */
    struct start_record *s;
    uint64_t launched_us;
};

/* handed_us: when the instance could go on. What lies between the end of the work and that moment, a hop
 * from another thread and the turn of the loop, was waited for all the same. */
static void facts_to_phase(const struct span *at, enum phase p, uint64_t begin_us, uint64_t end_us,
                           uint64_t handed_us, uint64_t bytes, bool needed)
{
    struct phase_mark *m = &at->s->phases[p];
    if (!needed || begin_us == 0 || end_us == 0) {
        if (m->outcome == PHASE_ABSENT)
            *m = (struct phase_mark){ .start_us = at->launched_us, .outcome = PHASE_WARM };
        return;
    }
    uint64_t start = begin_us, finish = MAX(end_us, handed_us);
    if (m->outcome == PHASE_DONE) { /* several models: one interval around them all */
        start = MIN(start, m->start_us);
        finish = MAX(finish, m->start_us + (uint64_t)m->duration_us);
    }
    *m = (struct phase_mark){ .start_us = start,
                              .duration_us = (int64_t)(finish - start),
                              .bytes = m->bytes + bytes,
                              .outcome = PHASE_DONE };
}

/* Finding that it is there takes time too, and the sandbox waits for it. */
static void lookup_to_phase(struct start_record *s, enum phase p, const struct arrival *w)
{
    struct phase_mark *m = &s->phases[p];
    if (m->outcome == PHASE_WARM)
        m->duration_us = MAX(m->duration_us, (int64_t)(w->present_us - m->start_us));
}

void arrival_record(struct start_record *s, uint64_t launched_us, const struct arrival *image,
                    const struct arrival *models, uint32_t model_count)
{
    const struct span at = { s, launched_us };
    const struct artifact_facts *f = artifact_use_facts(image->use);
    bool unpacked = f->unpack_begin_us > 0;
    facts_to_phase(&at, PHASE_IMAGE_PULL, f->fetch_begin_us, f->fetch_end_us,
                   unpacked ? 0 : image->present_us, f->fetched_bytes, !f->was_present);
    lookup_to_phase(s, PHASE_IMAGE_PULL, image);
    facts_to_phase(&at, PHASE_IMAGE_UNPACK, f->unpack_begin_us, f->unpack_end_us, image->present_us,
                   f->size_bytes, !f->was_present);
    s->caches[CACHE_IMAGE] = f->was_present ? CACHE_HIT : CACHE_MISS;
    s->caches[CACHE_MODEL] = s->caches[CACHE_PAGE_CACHE] = CACHE_NONE;
    uint64_t size = 0, resident = 0;
    bool hit = true, any_hit = false;
    for (uint32_t k = 0; k < model_count; k++) {
        f = artifact_use_facts(models[k].use);
        facts_to_phase(&at, PHASE_MODEL_FETCH, f->fetch_begin_us, f->fetch_end_us,
                       models[k].present_us, f->fetched_bytes, !f->was_present);
        lookup_to_phase(s, PHASE_MODEL_FETCH, &models[k]);
        facts_to_phase(&at, PHASE_MODEL_VERIFY, f->verify_begin_us, f->verify_end_us,
                       models[k].verified_us, f->verified_bytes, f->verified_bytes > 0);
        hit = hit && f->was_present;
        any_hit = any_hit || f->was_present;
        size += f->size_bytes;
        resident += f->size_bytes / 1000 * f->resident_permille;
    }
    if (model_count == 0)
        return;
    s->caches[CACHE_MODEL] = hit ? CACHE_HIT : any_hit ? CACHE_PARTIAL : CACHE_MISS;
    s->page_cache_permille = size >= 1000 ? (uint32_t)(resident / (size / 1000)) : 1000;
    s->caches[CACHE_PAGE_CACHE] = s->page_cache_permille >= 995 ? CACHE_HIT
                                  : s->page_cache_permille < 5  ? CACHE_MISS
                                                                : CACHE_PARTIAL;
}
