#include "workflow/run_impl.h"

struct journal_key run_key(const struct run *r)
{
    struct journal_key key = { JOURNAL_WORKFLOW, str_of(r->s->ns), str_of(r->s->workflow_id), { { 0 } } };
    bool fine = uuid_parse(str_of(r->s->run_id), &key.run);
    ASSERT(fine);
    return key;
}

const char *run_start_request(const struct run *r) { return r->s->start_request_id; }
