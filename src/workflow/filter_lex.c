#include "workflow/filter_lex.h"

static bool digit(char c) { return c >= '0' && c <= '9'; }
static bool of_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || digit(c) || c == '_' || c == '@' || c == '.';
}

static bool space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static char peek(const struct lex *l, size_t ahead)
{
    return l->at + ahead < l->text.size ? l->text.at[l->at + ahead] : '\0';
}

static void token(struct lex *l, enum lex_kind kind, size_t size)
{
    l->kind = kind;
    l->raw = (struct str){ l->text.at + l->at, size };
    l->at += size;
}

/* Up to the quote that is neither doubled nor (in strings) behind a backslash. */
static void quoted(struct lex *l, char quote, enum lex_kind kind)
{
    size_t end = l->at + 1;
    for (; end < l->text.size; end++) {
        char c = l->text.at[end];
        if (c == quote && end + 1 < l->text.size && l->text.at[end + 1] == quote)
            end++;
        else if (c == quote)
            break;
        else if (c == '\\' && kind == LEX_STRING)
            end++;
    }
    if (end >= l->text.size) {
        token(l, LEX_BAD, l->text.size - l->at);
        return;
    }
    l->kind = kind;
    l->raw = (struct str){ l->text.at + l->at + 1, end - l->at - 1 };
    l->at = end + 1;
    l->quoted = true;
}

static void number(struct lex *l)
{
    size_t size = 0;
    while (digit(peek(l, size)))
        size++;
    if (peek(l, size) == '.')
        for (size++; digit(peek(l, size));)
            size++;
    if (peek(l, size) == 'e' || peek(l, size) == 'E') {
        size_t sign = peek(l, size + 1) == '-' || peek(l, size + 1) == '+';
        if (digit(peek(l, size + 1 + sign)))
            for (size += 1 + sign; digit(peek(l, size));)
                size++;
    }
    bool tail = of_name(peek(l, size)); /* "12abc" is no number */
    token(l, tail ? LEX_BAD : LEX_NUMBER, size + tail);
}

static void mark(struct lex *l, char c, char next)
{
    switch (c) {
    case '=': token(l, LEX_EQ, 1); return;
    case '<':
        token(l, next == '=' ? LEX_LE : next == '>' ? LEX_NE : LEX_LT, 1 + (next == '=' || next == '>'));
        return;
    case '>': token(l, next == '=' ? LEX_GE : LEX_GT, 1 + (next == '=')); return;
    case '!': token(l, next == '=' ? LEX_NE : LEX_BAD, 1 + (next == '=')); return;
    case '(': token(l, LEX_OPEN, 1); return;
    case ')': token(l, LEX_CLOSE, 1); return;
    case ',': token(l, LEX_COMMA, 1); return;
    case '+': token(l, LEX_PLUS, 1); return;
    case '-': token(l, LEX_MINUS, 1); return;
    default: token(l, LEX_BAD, 1); return;
    }
}

void lex_next(struct lex *l)
{
    while (l->at < l->text.size && space(l->text.at[l->at]))
        l->at++;
    l->place = l->at;
    l->quoted = false;
    if (l->at == l->text.size) {
        token(l, LEX_END, 0);
        return;
    }
    char c = peek(l, 0);
    if (c == '\'' || c == '"')
        quoted(l, c, LEX_STRING);
    else if (c == '`')
        quoted(l, c, LEX_NAME);
    else if (digit(c) || (c == '.' && digit(peek(l, 1))))
        number(l);
    else if (of_name(c) && c != '.') {
        size_t size = 1;
        while (of_name(peek(l, size)))
            size++;
        token(l, LEX_NAME, size);
    } else
        mark(l, c, peek(l, 1));
}

void lex_begin(struct lex *l, struct str text)
{
    *l = (struct lex){ .text = text };
    lex_next(l);
}

bool lex_is(const struct lex *l, const char *keyword)
{
    return l->kind == LEX_NAME && !l->quoted && str_eq_nocase(l->raw, str_of(keyword));
}

char lex_quote(const struct lex *l)
{
    ASSERT(l->kind == LEX_STRING);
    return l->text.at[l->place];
}

/* The escapes that MySQL has, which Temporal's parser took over; any other character stands for itself. */
static char unescaped(char c)
{
    switch (c) {
    case '0': return '\0';
    case 'b': return '\b';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'Z': return 26;
    default: return c;
    }
}

void lex_unescape(struct str raw, char quote, struct buf *into)
{
    for (size_t i = 0; i < raw.size; i++) {
        char c = raw.at[i];
        if (i + 1 < raw.size && c == quote)
            i++; /* doubled: a single one would have ended it */
        else if (i + 1 < raw.size && c == '\\' && quote != '`')
            c = unescaped(raw.at[++i]);
        buf_append(into, &c, 1);
    }
}
