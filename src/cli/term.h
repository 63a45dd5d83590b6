/* term.h -- what an output can show: a value, decided once from facts that come in. */
#pragma once

#include "base/buf.h"

struct term {
    bool tty, colour, utf8;
    uint32_t width; /* columns */
};

struct term_facts {
    bool tty;
    uint32_t columns;                                /* of the window; 0: unknown */
    const char *colour;                              /* --color: "auto", "always", "never" */
    const char *(*env)(void *ctx, const char *name); /* as getenv */
    void *ctx;
};
/* NO_COLOR (any value but empty), TERM=dumb, COLUMNS, LC_ALL, LC_CTYPE, LANG. */
struct term term_decide(const struct term_facts *f);
struct term term_of_fd(int fd,
                       const char *colour); /* the same, asked of the process and the kernel */

enum style {
    STYLE_PLAIN,
    STYLE_BOLD,
    STYLE_DIM,
    STYLE_GOOD,
    STYLE_WARN,
    STYLE_BAD,
    STYLE_WAIT, /* the following colour the waterfall */
    STYLE_ARTIFACT,
    STYLE_SANDBOX,
    STYLE_RUNTIME,
    STYLE_FUNCTION,
    STYLES,
};
/* Appends text in a style; without colour, only the text. */
void term_styled(const struct term *t, struct buf *b, enum style s, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
const char *term_style_on(const struct term *t, enum style s);
const char *term_style_off(const struct term *t, enum style s);

/* Appends outside text with everything that could steer a terminal replaced by '?'. With keep_colour,
 * SGR sequences (colours) pass, and are reset at the end. Broken UTF-8 is replaced too. */
void term_clean(struct buf *b, struct str text, bool keep_colour);
/* Appends outside text of several lines, each cleaned so: the first goes on where the cursor is, the
 * others begin lines of their own, `indent` columns in; empty ones go. Again on the result: no change. */
void term_clean_lines(struct buf *b, struct str text, int indent);
/* Appends outside text as one line of words: newlines, tabs and runs of blanks become one blank, the ends
 * have none; each word is cleaned so. */
void term_clean_line(struct buf *b, struct str text);
/* The beginning of well-formed text that fits, up to a blank if there is one, else as it comes; at least one
 * code point. */
struct str term_fit(struct str text, uint32_t columns);
/* Columns that well-formed text takes: one per code point, two for East Asian wide ones and pictures, none
 * for marks that join what is before them. */
uint32_t term_columns(struct str text);
