#include "cli/term.h"
#include "cli/width_table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { WIDTH_DEFAULT = 100, WIDTH_MIN = 40, WIDTH_MAX = 500 };

static const char *env_of(const struct term_facts *f, const char *name)
{
    const char *value = f->env(f->ctx, name);
    return value && value[0] ? value : NULL;
}

static bool locale_is_utf8(const struct term_facts *f)
{
    const char *locale = env_of(f, "LC_ALL");
    if (!locale)
        locale = env_of(f, "LC_CTYPE");
    if (!locale)
        locale = env_of(f, "LANG");
    return locale && (strcasestr(locale, "utf-8") || strcasestr(locale, "utf8"));
}

struct term term_decide(const struct term_facts *f)
{
    const char *columns = env_of(f, "COLUMNS"), *kind = env_of(f, "TERM");
    struct term t = { .tty = f->tty, .utf8 = locale_is_utf8(f) };
    uint64_t width = f->columns;

    if (width == 0 && !(columns && str_u64(str_of(columns), &width)))
        width = WIDTH_DEFAULT;
    t.width = (uint32_t)MIN(MAX(width, WIDTH_MIN), WIDTH_MAX);
    if (f->colour && strcmp(f->colour, "always") == 0)
        t.colour = true;
    else if (!f->colour || strcmp(f->colour, "never") != 0)
        t.colour = f->tty && !env_of(f, "NO_COLOR") && kind && strcmp(kind, "dumb") != 0;
    return t;
}

static const char *process_env(void *ctx, const char *name)
{
    (void)ctx;
    return getenv(name);
}

struct term term_of_fd(int fd, const char *colour)
{
    struct winsize size = { 0 };
    struct term_facts facts = { .tty = isatty(fd) == 1, .colour = colour, .env = process_env };
    if (facts.tty && ioctl(fd, TIOCGWINSZ, &size) == 0)
        facts.columns = size.ws_col;
    return term_decide(&facts);
}

static const char *const codes[STYLES] = {
    [STYLE_PLAIN] = "",           [STYLE_BOLD] = "\033[1m",      [STYLE_DIM] = "\033[2m",
    [STYLE_GOOD] = "\033[32m",    [STYLE_WARN] = "\033[33m",     [STYLE_BAD] = "\033[31m",
    [STYLE_WAIT] = "\033[33m",    [STYLE_ARTIFACT] = "\033[34m", [STYLE_SANDBOX] = "\033[36m",
    [STYLE_RUNTIME] = "\033[35m", [STYLE_FUNCTION] = "\033[32m",
};

const char *term_style_on(const struct term *t, enum style s)
{
    ASSERT(s < STYLES);
    return t->colour ? codes[s] : "";
}
const char *term_style_off(const struct term *t, enum style s)
{
    return t->colour && s != STYLE_PLAIN ? "\033[0m" : "";
}

void term_styled(const struct term *t, struct buf *b, enum style s, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    buf_printf(b, "%s%s%s", term_style_on(t, s), text, term_style_off(t, s));
}

/* One code point at the front of s, RFC 3629 strictly. 0: not UTF-8. */
static size_t code_point(struct str s, uint32_t *ret)
{
    const uint8_t *at = (const uint8_t *)s.at;
    size_t size = at[0] < 0x80 ? 1 : at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : at[0] >= 0xc2 ? 2 : 0;
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    if (size == 0 || size > s.size)
        return 0;
    uint32_t c = size == 1 ? at[0] : at[0] & (0x7fu >> size);
    for (size_t i = 1; i < size; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (at[i] & 0x3f);
    }
    if (c < least[size] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    *ret = c;
    return size;
}

/* C0, DEL, C1, and the marks that reorder what is read (bidi overrides and isolates). */
static bool steers(uint32_t c)
{
    return (c < 0x20 && c != '\t') || (c >= 0x7f && c < 0xa0) || (c >= 0x202a && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069) || c == 0x2028 || c == 0x2029;
}

/* ESC [ digits and semicolons m: colours, which cannot move the cursor or write anywhere. */
static size_t sgr_size(struct str s)
{
    size_t i = 2;
    if (s.size < 3 || s.at[0] != '\033' || s.at[1] != '[')
        return 0;
    while (i < s.size && i < 32 && ((s.at[i] >= '0' && s.at[i] <= '9') || s.at[i] == ';'))
        i++;
    return i < s.size && s.at[i] == 'm' ? i + 1 : 0;
}

void term_clean(struct buf *b, struct str text, bool keep_colour)
{
    bool coloured = false;
    while (text.size > 0) {
        uint32_t c = 0;
        size_t sgr = keep_colour ? sgr_size(text) : 0;
        size_t size = sgr ? sgr : code_point(text, &c);
        coloured |= sgr > 0;
        if (!sgr && (size == 0 || steers(c)))
            buf_text(b, "?");
        else
            buf_append(b, text.at, size);
        text = str_from(text, MAX(size, 1));
    }
    if (coloured)
        buf_text(b, "\033[0m");
}

void term_clean_lines(struct buf *b, struct str text, int indent)
{
    for (bool first = true; text.size > 0;) {
        struct str line = str_cut(&text, '\n');
        if (str_ends(line, STR("\r")))
            line.size--;
        line = str_trim(line);
        if (line.size == 0)
            continue;
        if (!first)
            buf_printf(b, "\n%*s", indent, "");
        term_clean(b, line, false);
        first = false;
    }
}

static bool is_in(const struct width_range *ranges, size_t count, uint32_t c)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (c > ranges[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && c >= ranges[low].first;
}

static uint32_t width_of(uint32_t c)
{
    if (is_in(width_none, COUNT_OF(width_none), c))
        return 0;
    return is_in(width_wide, COUNT_OF(width_wide), c) ? 2 : 1;
}

void term_clean_line(struct buf *b, struct str text)
{
    bool first = true;
    while (text.size > 0) {
        struct str word = { text.at, 0 };
        while (word.size < text.size && !strchr(" \t\r\n\v\f", text.at[word.size] ? text.at[word.size] : 'x'))
            word.size++;
        if (word.size && !first)
            buf_text(b, " ");
        if (word.size)
            term_clean(b, word, false);
        first &= word.size == 0;
        text = str_from(text, MAX(word.size, 1));
    }
}

struct str term_fit(struct str text, uint32_t columns)
{
    size_t at = 0, blank = 0;
    uint32_t used = 0;
    while (at < text.size) {
        uint32_t c = 0;
        size_t size = code_point(str_from(text, at), &c);
        used += width_of(c);
        if (used > columns)
            return str_head(text, blank ? blank : MAX(at, size));
        if (c == ' ' && at > 0)
            blank = at;
        at += MAX(size, 1);
    }
    return text;
}

uint32_t term_columns(struct str text)
{
    uint32_t columns = 0;
    while (text.size > 0) {
        uint32_t c = 0;
        size_t size = code_point(text, &c);
        columns += width_of(c);
        text = str_from(text, MAX(size, 1));
    }
    return columns;
}
