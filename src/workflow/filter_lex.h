/* filter_lex.h -- the words of a list filter, one after another.
 *
 * Receives a text that must stay until the last token was looked at.
 * Emits names (bare or `backquoted`), strings ('…' or "…", a quote doubled or behind a backslash), numbers,
 * and marks.
 * Refuses, as a LEX_BAD token with its place: other characters, a quote without its end. Owns nothing; pure. */
#pragma once

#include "base/buf.h"

enum lex_kind {
    LEX_END, LEX_NAME, LEX_STRING, LEX_NUMBER,
    LEX_EQ, LEX_NE, LEX_LT, LEX_LE, LEX_GT, LEX_GE,
    LEX_OPEN, LEX_CLOSE, LEX_COMMA, LEX_PLUS, LEX_MINUS,
    LEX_BAD,
};

struct lex {
    struct str text;
    size_t at; /* behind `kind` */
    /* The token: */
    enum lex_kind kind;
    struct str raw; /* as it stands there, without its quotes; a string may have escapes in it */
    size_t place;   /* of its first byte */
    bool quoted;    /* a name in backquotes: no keyword */
};

void lex_begin(struct lex *l, struct str text); /* at the first token */
void lex_next(struct lex *l);
bool lex_is(const struct lex *l, const char *keyword); /* whatever the case */
void lex_unescape(struct str raw, char quote, struct buf *into);
char lex_quote(const struct lex *l); /* of a LEX_STRING */
