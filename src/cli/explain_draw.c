/* The waterfall; see explain.h. Pure text, for a width. */
#include "cli/explain.h"

#include "cli/human.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

enum { BAR_MIN = 24, BAR_MAX = 72, EIGHTHS = 8, TICK_COLUMNS = 10, NOTE_TEXT = 64 };

/* What there is room for: each level leaves out what the eye misses least. */
enum detail {
    DETAIL_ALL,
    DETAIL_NO_RATE,
    DETAIL_NO_USUAL,
    DETAIL_NO_START,
    DETAIL_NO_NOTE,
    DETAIL_BARE,
    DETAILS,
};

struct picture {
    const struct invocation_record *r;
    const struct explain *x;
    const struct explain_stats *stats;
    const struct term *term;
    struct buf *out;
    enum detail detail;
    bool usual; /* the p50 column */
    uint32_t name_columns, bar_columns;
    bool tick_at[BAR_MAX + 1];
};

static enum style style_of(unsigned what)
{
    switch (what) {
    case PHASE_QUEUE:
    case PHASE_SCHEDULE:
    case PHASE_READY: return STYLE_WAIT;
    case PHASE_IMAGE_PULL:
    case PHASE_IMAGE_UNPACK:
    case PHASE_MODEL_FETCH:
    case PHASE_MODEL_VERIFY: return STYLE_ARTIFACT;
    case PHASE_SANDBOX: return STYLE_SANDBOX;
    case EXPLAIN_HANDLER:
    case EXPLAIN_ANSWER: return STYLE_FUNCTION;
    default: return STYLE_RUNTIME;
    }
}

/* ---- text that wraps ---- */

struct wrap {
    struct buf *out;
    uint32_t width, indent, at;
};

static void wrap_word(struct wrap *w, const char *gap, const char *text, const char *on,
                      const char *off)
{
    uint32_t columns = term_columns(str_of(text)), gap_columns = term_columns(str_of(gap));
    if (w->at > w->indent && w->at + gap_columns + columns > w->width) {
        buf_printf(w->out, "\n%*s", (int)w->indent, "");
        w->at = w->indent;
    } else if (w->at > w->indent) {
        buf_text(w->out, gap);
        w->at += gap_columns;
    }
    buf_printf(w->out, "%s%s%s", on, text, off);
    w->at += columns;
}

static void wrap_sentence(struct wrap *w, const char *text)
{
    struct str rest = str_of(text);
    while (rest.size) {
        char word[256];
        struct str next = str_cut(&rest, ' ');
        snprintf(word, sizeof word, STR_FMT, STR_ARG(next));
        if (next.size)
            wrap_word(w, " ", word, "", "");
    }
}

/* A piece of a line of facts; outside text, so it is cleaned. */
PRINTF_LIKE(3, 4)
static void piece(struct wrap *w, const char *const style[2], const char *fmt, ...)
{
    char text[512];
    struct buf clean;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (!text[0])
        return;
    buf_init(&clean, 2 * sizeof text);
    term_clean(&clean, str_of(text), false);
    AUTO_FREE char *line = buf_take_text(&clean);
    wrap_word(w, "   ", line, style[0], style[1]);
}

/* ---- head ---- */

static const char *verdict(const struct invocation_record *r, char into[64])
{
    if (r->status)
        snprintf(into, 64, "answered %u", r->status);
    else
        snprintf(into, 64, "no answer");
    return into;
}

static void draw_head(const struct picture *p)
{
    const struct invocation_record *r = p->r;
    const struct term *t = p->term;
    enum style tone = r->outcome == INVOCATION_OK ? STYLE_GOOD : STYLE_BAD;
    const char *plain[2] = { "", "" };
    const char *bold[2] = { term_style_on(t, STYLE_BOLD), term_style_off(t, STYLE_BOLD) };
    const char *dim[2] = { term_style_on(t, STYLE_DIM), term_style_off(t, STYLE_DIM) };
    const char *toned[2] = { term_style_on(t, tone), term_style_off(t, tone) };
    char id[UUID_TEXT], when[HUMAN_TEXT];
    struct wrap w = { p->out, t->width, 0, 0 };

    uuid_format(&r->id, id);
    human_rfc3339(r->wall_ms, when);
    if (t->tty) {
        when[10] = ' ';
        memcpy(when + 23, " UTC", 5);
    }
    if (r->method[0]) {
        piece(&w, bold, "%s %s", r->method, r->path);
        piece(&w, toned, "%s", verdict(r, (char[64]){ 0 }));
    } else { /* no request: a start alone */
        piece(&w, bold, "the last start");
        piece(&w, toned, "%s%s", r->start.failed ? "failed in " : "ready",
              r->start.failed ? phase_name(r->start.failed_phase) : "");
    }
    if (r->first_byte_us)
        piece(&w, plain, "first byte after %s", human_us(r->first_byte_us, HUMAN));
    else
        piece(&w, plain, "after %s", human_us(r->total_us, HUMAN));
    piece(&w, bold, "%s", r->cold ? "cold" : "warm");
    if (r->outcome != INVOCATION_OK)
        piece(&w, toned, "%s", invocation_outcome_name(r->outcome));
    buf_text(p->out, "\n");
    w.at = 0;
    piece(&w, plain, "%s/%s", r->ns, r->service);
    piece(&w, dim, "%s%s", r->instance[0] ? "instance " : "", r->instance);
    piece(&w, dim, "%s", when);
    if (r->method[0])
        piece(&w, dim, "invocation %s", id);
    else
        piece(&w, dim, "%s: no cold %s", r->revision,
              r->start.failed ? "start has served a request yet" : "request is on record yet");
    buf_text(p->out, "\n\n");
}

/* ---- the waterfall ---- */

/* 1, 2 or 5 times a power of ten, so that the labels have room. */
static int64_t tick_step_us(const struct picture *p)
{
    static const int64_t factors[] = { 1, 2, 5 };
    int64_t ticks_max = MAX(p->bar_columns / TICK_COLUMNS, 1);
    for (int64_t power = 1;; power *= 10)
        for (size_t i = 0; i < COUNT_OF(factors); i++)
            if (p->x->end_us / (power * factors[i]) <= ticks_max)
                return power * factors[i];
}

static uint32_t column_at(const struct picture *p, int64_t us)
{
    return (uint32_t)(us * p->bar_columns / p->x->end_us);
}

static void tick_label(int64_t us, int64_t step_us, char into[HUMAN_TEXT])
{
    if (us == 0)
        snprintf(into, HUMAN_TEXT, "0");
    else if (step_us >= 1000000)
        snprintf(into, HUMAN_TEXT, "%" PRId64 " s", us / 1000000);
    else if (step_us >= 1000)
        snprintf(into, HUMAN_TEXT, "%" PRId64 " ms", us / 1000);
    else
        snprintf(into, HUMAN_TEXT, "%.*f ms",
                 step_us >= 100  ? 1
                 : step_us >= 10 ? 2
                                 : 3,
                 (double)us / 1000);
}

static void draw_axis(struct picture *p)
{
    char line[BAR_MAX + HUMAN_TEXT + 1], label[HUMAN_TEXT];
    int64_t step_us = tick_step_us(p);
    size_t used = 0;

    memset(line, ' ', sizeof line);
    for (int64_t us = 0; us <= p->x->end_us; us += step_us) {
        uint32_t column = column_at(p, us);
        tick_label(us, step_us, label);
        size_t size = strlen(label);
        if (column >= p->bar_columns)
            break;
        p->tick_at[column] = true;
        if ((used && column < used + 1) || column + size > p->bar_columns)
            continue;
        memcpy(line + column, label, size);
        used = column + size;
    }
    term_styled(p->term, p->out, STYLE_DIM, "%.*s", (int)used, line);
}

/* Whether the request waited for this row in the part of the row that this cell shows. */
static bool waited_for(const struct picture *p, const struct explain_row *row, int64_t from,
                       int64_t to)
{
    int64_t scale = (int64_t)p->bar_columns * EIGHTHS, end_us = row->start_us + row->duration_us;
    int64_t low_us = MAX(from * p->x->end_us / scale, row->start_us);
    int64_t high_us = MIN(to * p->x->end_us / scale, end_us);
    if (row->what == EXPLAIN_ANSWER)
        return true;
    return explain_waited_for(p->x, (low_us + MAX(high_us, low_us)) / 2) == row;
}

static const char *glyph(const struct picture *p, bool solid, int64_t from, int64_t to)
{
    static const char *const left[] = { "▏", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█" };
    if (!p->term->utf8)
        return !solid ? "-" : to - from >= EIGHTHS / 2 ? "#" : "|";
    if (!solid)
        return "░";
    if (from >= EIGHTHS / 2 && to == EIGHTHS)
        return "▐";
    return left[from == 0 ? to : EIGHTHS];
}

/* Cells in sequence: a style is switched on and off once per run of cells, blanks wait until
 * something follows them. */
struct pen {
    const struct term *term;
    struct buf *out;
    enum style style;
    int blanks;
};

static void pen_put(struct pen *pen, enum style s, const char *text)
{
    if (s != pen->style || pen->blanks)
        buf_text(pen->out, term_style_off(pen->term, pen->style));
    buf_printf(pen->out, "%*s", pen->blanks, "");
    if (s != pen->style || pen->blanks)
        buf_text(pen->out, term_style_on(pen->term, s));
    buf_text(pen->out, text);
    pen->style = s;
    pen->blanks = 0;
}

static void draw_bar(const struct picture *p, const struct explain_row *row, struct pen *pen)
{
    int64_t scale = (int64_t)p->bar_columns * EIGHTHS;
    int64_t begin_us = MAX(row->start_us, 0), end_us = MAX(row->start_us + row->duration_us, 0);
    int64_t from = MIN(begin_us * scale / p->x->end_us, scale - 1);
    int64_t to = MIN(MAX(end_us * scale / p->x->end_us, from + 1), scale);
    bool mark = row->outcome == PHASE_WARM && to - from < EIGHTHS;
    enum style s = row->outcome == PHASE_FAILED ? STYLE_BAD : style_of(row->what);

    for (uint32_t column = 0; column < p->bar_columns; column++) {
        int64_t low = (int64_t)column * EIGHTHS, high = low + EIGHTHS;
        if (high <= from || low >= to) {
            if (p->tick_at[column])
                pen_put(pen, STYLE_DIM, p->term->utf8 ? "┊" : ".");
            else
                pen->blanks++;
            continue;
        }
        int64_t first = MAX(from - low, 0), last = MIN(to - low, EIGHTHS);
        bool solid = waited_for(p, row, low + first, low + last);
        if (first > 0 && last < EIGHTHS) { /* within one cell: from its left, to show the length */
            last -= first;
            first = 0;
        }
        pen_put(pen, s, mark ? (p->term->utf8 ? "◇" : "o") : glyph(p, solid, first, last));
    }
}

static void note_of(const struct explain_row *row, enum detail detail, char into[NOTE_TEXT])
{
    char rate[HUMAN_TEXT], size[HUMAN_TEXT];
    const char *state = row->outcome == PHASE_WARM     ? "warm"
                        : row->outcome == PHASE_FAILED ? "failed"
                        : row->outcome == PHASE_OPEN   ? "not ended"
                                                       : "";
    into[0] = '\0';
    if (row->bytes)
        human_bytes(row->bytes, size);
    if (row->bytes && detail < DETAIL_NO_RATE && row->what != EXPLAIN_ANSWER &&
        row->outcome == PHASE_DONE)
        snprintf(into, NOTE_TEXT, "%s at %s", size, human_rate(row->bytes, row->duration_us, rate));
    else
        snprintf(into, NOTE_TEXT, "%s%s%s", state, state[0] && row->bytes ? ", " : "",
                 row->bytes ? size : "");
}

static void share_of(const struct picture *p, const struct explain_row *row, char into[HUMAN_TEXT])
{
    int64_t percent = p->x->wait_us ? (row->blame_us * 200 / p->x->wait_us + 1) / 2 : 0;
    if (row->blame_us == 0)
        into[0] = '\0';
    else if (percent == 0)
        snprintf(into, HUMAN_TEXT, "<1 %%");
    else
        snprintf(into, HUMAN_TEXT, "%" PRId64 " %%", percent);
}

/* Right-aligned by columns, after two blanks. */
static void number(const struct picture *p, enum style s, const char *text, uint32_t columns)
{
    uint32_t size = term_columns(str_of(text));
    buf_printf(p->out, "%*s", (int)(2 + (columns > size ? columns - size : 0)), "");
    if (text[0])
        term_styled(p->term, p->out, s, "%s", text);
}

enum { START_COLUMNS = 8, DURATION_COLUMNS = 8, USUAL_COLUMNS = 8, SHARE_COLUMNS = 5 };

static void draw_columns(const struct picture *p, const char *start, const char *duration,
                         const char *usual, const char *share, enum style s)
{
    if (p->detail < DETAIL_NO_START)
        number(p, s, start, START_COLUMNS);
    number(p, s, duration, DURATION_COLUMNS);
    if (p->usual)
        number(p, STYLE_DIM, usual, USUAL_COLUMNS);
    if (p->detail < DETAIL_BARE)
        number(p, s, share, SHARE_COLUMNS);
    buf_text(p->out, "  ");
}

static void draw_row(const struct picture *p, const struct explain_row *row)
{
    char note[NOTE_TEXT], share[HUMAN_TEXT], usual[HUMAN_TEXT] = "";
    const struct explain_percentiles *known = &p->stats->phases[row->what];
    enum style s = row->outcome == PHASE_FAILED ? STYLE_BAD : style_of(row->what);

    note_of(row, p->detail, note);
    share_of(p, row, share);
    if (known->count)
        human_us(known->p50_us, usual);
    term_styled(p->term, p->out, s, "%-*s", (int)p->name_columns, row->name);
    draw_columns(p, human_us(row->start_us, HUMAN), human_us(row->duration_us, HUMAN), usual, share,
                 STYLE_PLAIN);
    struct pen pen = { .term = p->term, .out = p->out };
    draw_bar(p, row, &pen);
    pen.blanks += 2;
    if (note[0] && p->detail < DETAIL_NO_NOTE)
        pen_put(&pen, row->outcome == PHASE_FAILED ? STYLE_BAD : STYLE_DIM, note);
    buf_printf(p->out, "%s\n", term_style_off(p->term, pen.style));
}

static uint32_t fixed_columns(const struct picture *p)
{
    uint32_t columns = p->name_columns + 2 + DURATION_COLUMNS + 2, widest = 0;
    if (p->detail < DETAIL_NO_START)
        columns += 2 + START_COLUMNS;
    if (p->usual)
        columns += 2 + USUAL_COLUMNS;
    if (p->detail < DETAIL_BARE)
        columns += 2 + SHARE_COLUMNS;
    for (size_t i = 0; p->detail < DETAIL_NO_NOTE && i < p->x->row_count; i++) {
        char note[NOTE_TEXT];
        note_of(&p->x->rows[i], p->detail, note);
        widest = MAX(widest, term_columns(str_of(note)) + (note[0] ? 2 : 0));
    }
    return columns + widest;
}

static void plan(struct picture *p)
{
    for (size_t i = 0; i < p->x->row_count; i++) {
        uint32_t size = (uint32_t)strlen(p->x->rows[i].name);
        p->name_columns = MAX(p->name_columns, size);
    }
    for (unsigned detail = DETAIL_ALL; detail < DETAILS; detail++) {
        p->detail = (enum detail)detail;
        p->usual = p->stats->starts > 1 && detail < DETAIL_NO_USUAL;
        uint32_t fixed = fixed_columns(p);
        uint32_t room = p->term->width > fixed ? p->term->width - fixed : 0;
        p->bar_columns = MIN(MAX(room, BAR_MIN / 2), BAR_MAX);
        if (room >= BAR_MIN)
            return;
    }
}

static void draw_waterfall(struct picture *p)
{
    if (p->x->row_count == 0)
        return;
    plan(p);
    buf_printf(p->out, "%*s", (int)p->name_columns, "");
    draw_columns(p, "start", "took", "usually", "wait", STYLE_DIM);
    draw_axis(p);
    buf_text(p->out, "\n");
    for (size_t i = 0; i < p->x->row_count; i++)
        draw_row(p, &p->x->rows[i]);
    if (p->detail < DETAIL_NO_NOTE && p->r->has_start) {
        buf_printf(p->out, "%*s", (int)p->name_columns, "");
        draw_columns(p, "", "", "", "", STYLE_PLAIN);
        term_styled(p->term, p->out, STYLE_DIM, "%s waited for  %s meanwhile",
                    p->term->utf8 ? "█" : "#", p->term->utf8 ? "░" : "-");
        buf_text(p->out, "\n");
    }
    buf_text(p->out, "\n");
}

/* ---- what it means ---- */

enum { LABEL_COLUMNS = 13 };

static struct wrap label(const struct picture *p, const char *text)
{
    term_styled(p->term, p->out, STYLE_DIM, "%-*s", LABEL_COLUMNS, text);
    return (struct wrap){ p->out, p->term->width, LABEL_COLUMNS, LABEL_COLUMNS };
}

static void draw_accounted(const struct picture *p)
{
    if (p->r->first_byte_us == 0 || !p->r->cold)
        return;
    struct wrap w = label(p, "accounted");
    char text[160];
    snprintf(text, sizeof text, "%s of the %s until the first byte",
             human_permille(p->r->coverage_permille, HUMAN), human_us(p->r->first_byte_us, HUMAN));
    wrap_sentence(&w, text);
    buf_text(p->out, "\n");
}

static void draw_caches(const struct picture *p)
{
    struct wrap w = { 0 };
    for (unsigned c = 0; p->r->has_start && c < CACHES; c++) {
        enum cache_state state = p->r->start.caches[c];
        enum style s = state == CACHE_HIT ? STYLE_GOOD : STYLE_WARN;
        const char *style[2] = { term_style_on(p->term, s), term_style_off(p->term, s) };
        if (state < CACHE_MISS)
            continue; /* not looked at, or there is no such cache: neither is a miss */
        if (!w.out)
            w = label(p, "caches");
        if (c == CACHE_PAGE_CACHE)
            piece(&w, style, "page cache %s",
                  human_permille(p->r->start.page_cache_permille, HUMAN));
        else if (c == CACHE_SANDBOX_POOL)
            piece(&w, style, "sandbox pool %s", cache_state_name(state));
        else
            piece(&w, style, "%s %s", cache_name((enum cache)c), cache_state_name(state));
    }
    if (w.out)
        buf_text(p->out, "\n");
}

static void draw_first_request(const struct picture *p)
{
    int64_t delta_us = explain_first_request_us(p->r);
    char text[160];
    if (delta_us == 0)
        return;
    struct wrap w = label(p, "first call");
    snprintf(text, sizeof text, "its handler took %s %s than the median of the warm calls",
             human_us(delta_us < 0 ? -delta_us : delta_us, HUMAN),
             delta_us < 0 ? "less" : "longer");
    wrap_sentence(&w, text);
    buf_text(p->out, "\n");
}

/* The row that took longest beyond its own median, among those the request waited for. */
static const struct explain_row *oddest(const struct picture *p, int64_t *ret_us)
{
    const struct explain_row *odd = NULL;
    *ret_us = 0;
    for (size_t i = 0; i < p->x->row_count; i++) {
        const struct explain_row *row = &p->x->rows[i];
        int64_t more_us = row->duration_us - p->stats->phases[row->what].p50_us;
        if (p->stats->phases[row->what].count > 1 && row->blame_us && more_us > *ret_us) {
            odd = row;
            *ret_us = more_us;
        }
    }
    return odd;
}

static void draw_usual(const struct picture *p)
{
    const struct explain_percentiles *usual = &p->stats->ready;
    const struct phase_mark *ready = &p->r->start.phases[PHASE_READY];
    char text[256];
    int64_t odd_us;
    if (!p->r->has_start || ready->outcome == PHASE_ABSENT || usual->count < 2 ||
        usual->p50_us <= 0)
        return;
    const struct explain_row *odd = oddest(p, &odd_us);
    struct wrap w = label(p, "usually");
    snprintf(text, sizeof text, "ready after %s (p50), %s (p99) over %u starts; this one after %s",
             human_us(usual->p50_us, HUMAN), human_us(usual->p99_us, HUMAN), usual->count,
             human_us((int64_t)ready->start_us, HUMAN));
    wrap_sentence(&w, text);
    if (odd && odd_us * 10 > usual->p50_us) {
        snprintf(text, sizeof text, "(%s took %s longer than usual)", odd->name,
                 human_us(odd_us, HUMAN));
        wrap_sentence(&w, text);
    }
    buf_text(p->out, "\n");
}

static void draw_advice(const struct picture *p, bool after_lines)
{
    struct explain_advice list[EXPLAIN_ADVICE_MAX];
    size_t count = explain_advise(p->r, p->x, list);
    if (count == 0)
        return;
    if (after_lines)
        buf_text(p->out, "\n");
    term_styled(p->term, p->out, STYLE_BOLD, "%s",
                p->r->first_byte_us || (!p->r->method[0] && !p->r->start.failed) ? "what cost most"
                                                                                 : "what went wrong");
    buf_text(p->out, "\n");
    for (size_t i = 0; i < count; i++) {
        const struct explain_advice *a = &list[i];
        struct wrap w = { p->out, p->term->width, 4, 4 };
        struct buf clean;
        buf_printf(p->out, "%2zu  ", i + 1);
        if (a->cost_us) {
            char head[96];
            snprintf(head, sizeof head,
                     "%s %s:", a->what < EXPLAIN_KINDS ? explain_what_name(a->what) : "unaccounted",
                     human_us(a->cost_us, HUMAN));
            enum style s = a->what < EXPLAIN_KINDS ? style_of(a->what) : STYLE_WARN;
            wrap_word(&w, " ", head, term_style_on(p->term, s), term_style_off(p->term, s));
        }
        buf_init(&clean, KIB(4));
        term_clean(&clean, str_of(a->finding), false);
        AUTO_FREE char *finding = buf_take_text(&clean);
        wrap_sentence(&w, finding);
        buf_text(p->out, "\n");
        if (a->change[0]) {
            buf_printf(p->out, "    %s ", p->term->utf8 ? "→" : ">");
            w.indent = w.at = 6;
            wrap_sentence(&w, a->change);
            buf_text(p->out, "\n");
        }
    }
}

/* Of the service, and of now: not of the invocation. */
static void draw_autoscaler(const struct picture *p)
{
    if (!p->stats->autoscaler[0])
        return;
    struct wrap w = { p->out, p->term->width, 4, 4 };
    struct buf clean;
    buf_text(p->out, "\n");
    term_styled(p->term, p->out, STYLE_BOLD, "what the autoscaler says now");
    buf_text(p->out, "\n    ");
    buf_init(&clean, KIB(4));
    term_clean(&clean, str_of(p->stats->autoscaler), false);
    AUTO_FREE char *text = buf_take_text(&clean);
    wrap_sentence(&w, text);
    buf_text(p->out, "\n");
}

void explain_draw(const struct invocation_record *r, const struct explain_stats *stats,
                  const struct term *term, struct buf *into)
{
    static const struct explain_stats none;
    struct explain x;
    explain_lay_out(r, &x);
    struct picture p = {
        .r = r, .x = &x, .stats = stats ? stats : &none, .term = term, .out = into
    };
    draw_head(&p);
    draw_waterfall(&p);
    size_t before = into->size;
    draw_accounted(&p);
    draw_caches(&p);
    draw_first_request(&p);
    draw_usual(&p);
    draw_advice(&p, into->size > before);
    draw_autoscaler(&p);
}
