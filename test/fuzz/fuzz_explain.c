/* Any record and any percentiles, on a terminal of any width: the blame adds up to the wait, and
 * nothing in the text can steer a terminal or is broken UTF-8. Input: width, a line of record, a line of
 * percentiles. */
#include "cli/explain.h"
#include "telemetry/record_json.h"

static void check_layout(const struct invocation_record *r)
{
    struct explain x;
    int64_t sum = 0;
    explain_lay_out(r, &x);
    for (size_t i = 0; i < x.row_count; i++) {
        ASSERT(x.rows[i].blame_us >= 0 && x.rows[i].duration_us >= 0);
        sum += x.rows[i].blame_us;
    }
    ASSERT(sum + x.unblamed_us == x.wait_us && x.end_us > 0);
}

static void check_text(struct buf *b)
{
    struct buf clean;
    buf_init(&clean, b->size * 4 + 16);
    ASSERT(!b->overflow);
    for (struct str rest = buf_str(b); rest.size;) {
        struct str line = str_cut(&rest, '\n');
        buf_clear(&clean);
        term_clean(&clean, line, false);
        ASSERT(str_eq(buf_str(&clean), line));
    }
    buf_done(&clean);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    struct limits l;
    struct err e = { 0 };
    struct invocation_record r;
    struct explain_stats stats = { 0 };
    AUTO_JSON json_t *record = NULL;
    AUTO_JSON json_t *figures = NULL;
    struct buf b;
    if (size < 2)
        return 0;
    const struct term term = { .utf8 = in[0] & 1, .width = 40 + (uint32_t)in[0] };
    struct str rest = { (const char *)in + 1, size - 1 }, first = str_cut(&rest, '\n');
    limits_default(&l);
    if (json_read(first, &l, &record, &e) < 0 || record_from_json(record, &r, &e) < 0)
        return 0;
    if (json_read(rest, &l, &figures, &e) == 0)
        explain_stats_read(figures, &stats);
    check_layout(&r);
    buf_init(&b, MIB(1));
    explain_draw(&r, &stats, &term, &b);
    check_text(&b);
    buf_done(&b);
    return 0;
}
