#include "codec/json.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <yaml.h>

/* ---- plain scalars ---- */

static const struct {
    const char *text; /* all spellings, each between spaces */
    enum { WORD_TRUE, WORD_FALSE, WORD_NULL, WORD_INFINITE } means;
} words[] = {
    { " y Y yes Yes YES true True TRUE on On ON ", WORD_TRUE },
    { " n N no No NO false False FALSE off Off OFF ", WORD_FALSE },
    { " ~ null Null NULL ", WORD_NULL },
    { " .nan .NaN .NAN .inf .Inf .INF +.inf +.Inf +.INF -.inf -.Inf -.INF ", WORD_INFINITE },
};

enum { WORD_LONGEST = 5 };

static int word_find(struct str s)
{
    char spaced[WORD_LONGEST + 3] = " ";
    if (s.size > WORD_LONGEST || s.size == 0 || memchr(s.at, ' ', s.size))
        return -1;
    memcpy(spaced + 1, s.at, s.size);
    spaced[s.size + 1] = ' ';
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (strstr(words[i].text, spaced))
            return (int)words[i].means;
    return -1;
}

static size_t digits_at(const char *at)
{
    return strspn(at, "0123456789");
}

/* [-+]?([.]d+|d+([.]d*)?)([eE][-+]?d+)? and nothing behind. */
static bool float_like(const char *at)
{
    at += *at == '-' || *at == '+';
    size_t whole = digits_at(at), part = 0;
    at += whole;
    if (*at == '.') {
        part = digits_at(at + 1);
        at += 1 + part;
    }
    if (whole == 0 && part == 0)
        return false;
    if (*at == 'e' || *at == 'E') {
        at++;
        at += *at == '-' || *at == '+';
        if (digits_at(at) == 0)
            return false;
        at += digits_at(at);
    }
    return *at == '\0';
}

enum integer { INTEGER_NOT, INTEGER_IS, INTEGER_TOO_LARGE };

/* As Go's strconv.ParseInt with base 0: 0x, 0o, 0b, and a leading 0 for octal. */
static enum integer integer_parse(const char *text, int64_t *ret)
{
    bool negative = *text == '-';
    const char *at = text + (*text == '-' || *text == '+');
    uint64_t base = 10, n = 0, top = (uint64_t)INT64_MAX + negative;
    if (at[0] == '0' && at[1]) {
        char kind = (char)(at[1] | 0x20);
        base = kind == 'x' ? 16 : kind == 'b' ? 2 : 8;
        at += kind == 'x' || kind == 'b' || kind == 'o' ? 2 : 1;
    }
    bool fits = true;
    if (!*at)
        return INTEGER_NOT;
    for (; *at; at++) {
        char c = (char)(*at | 0x20);
        uint64_t digit = *at >= '0' && *at <= '9' ? (uint64_t)(*at - '0')
                         : c >= 'a' && c <= 'f'   ? (uint64_t)(c - 'a') + 10
                                                  : 99;
        if (digit >= base)
            return INTEGER_NOT;
        fits = fits && !__builtin_mul_overflow(n, base, &n) && !__builtin_add_overflow(n, digit, &n) &&
               n <= top;
    }
    if (!fits)
        return INTEGER_TOO_LARGE;
    *ret = negative ? (int64_t)(0 - n) : (int64_t)n;
    return INTEGER_IS;
}

static json_t *number_of_real(double value)
{
    /* 2^63 is exact as a double; below it a whole value fits int64 */
    if (value == trunc(value) && value < 0x1p63 && value >= -0x1p63)
        return json_integer((json_int_t)value);
    return json_real(value);
}

/* NULL without an error: it is no number, so it is text. Numbers start with a digit, sign or point. */
static int number_parse(struct str s, json_t **ret, struct err *e)
{
    enum { NUMBER_LONGEST = 400 };
    char plain[NUMBER_LONGEST + 1];
    size_t size = 0;
    int64_t n;
    *ret = NULL;
    if (s.size == 0 || s.size > NUMBER_LONGEST || !strchr("+-.0123456789", s.at[0]))
        return 0;
    for (size_t i = 0; i < s.size; i++)
        if (s.at[i] != '_')
            plain[size++] = s.at[i];
    plain[size] = '\0';
    switch (s.at[0] == '.' ? INTEGER_NOT : integer_parse(plain, &n)) {
    case INTEGER_IS: *ret = json_integer(n); return 0;
    case INTEGER_TOO_LARGE:
        return err_set(e, CODE_INVALID, "the integer " STR_FMT " has more than 64 bits",
                       STR_ARG(s));
    case INTEGER_NOT: break;
    }
    if (!float_like(plain))
        return 0;
    double value = strtod(plain, NULL);
    if (isfinite(value))
        *ret = number_of_real(value);
    return 0;
}

/* What a plain scalar means; NULL in *ret_value: it is text. */
static int plain_resolve(struct str s, json_t **ret_value, struct err *e)
{
    *ret_value = NULL;
    if (s.size == 0) {
        *ret_value = json_null();
        return 0;
    }
    switch (word_find(s)) {
    case WORD_TRUE: *ret_value = json_true(); return 0;
    case WORD_FALSE: *ret_value = json_false(); return 0;
    case WORD_NULL: *ret_value = json_null(); return 0;
    case WORD_INFINITE:
        return err_set(e, CODE_INVALID, STR_FMT " has no form in JSON", STR_ARG(s));
    default: return number_parse(s, ret_value, e);
    }
}

/* ---- reading ---- */

static void parser_auto(yaml_parser_t *p) { yaml_parser_delete(p); }
static void event_auto(yaml_event_t *ev) { yaml_event_delete(ev); }

struct frame {
    json_t *container; /* borrowed from its parent, the outermost from the document */
    char *key;         /* the mapping key that waits for its value */
};

struct reader {
    yaml_parser_t *parser;
    const struct limits *limits;
    struct frame *frames; /* json_depth_max of them */
    uint64_t depth, nodes;
    json_t *root;
};

static void reader_done(struct reader *r)
{
    for (uint64_t i = 0; i < r->depth; i++)
        free(r->frames[i].key);
    free(r->frames);
    json_decref(r->root);
}
static void reader_auto(struct reader *r) { reader_done(r); }

static int fail_at(const yaml_event_t *ev, struct err *e, const char *why)
{
    return err_set(e, CODE_INVALID, "yaml: line %zu, column %zu: %s", ev->start_mark.line + 1,
                   ev->start_mark.column + 1, why);
}

static int scalar_value(const yaml_event_t *ev, json_t **ret, struct err *e)
{
    struct str s = { (const char *)ev->data.scalar.value, ev->data.scalar.length };
    if (ev->data.scalar.tag)
        return fail_at(ev, e, "tags are not accepted");
    if (memchr(s.at, '\0', s.size))
        return fail_at(ev, e, "text holds a NUL");
    *ret = NULL;
    if (ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
        struct err why;
        if (plain_resolve(s, ret, &why) < 0)
            return fail_at(ev, e, why.text);
    }
    if (!*ret)
        *ret = json_stringn(s.at, s.size);
    return *ret ? 0 : fail_at(ev, e, "text is not UTF-8");
}

/* Keys become text as sigs.k8s.io/yaml makes it: true is "true" however it was spelled, 0x10 is "16". */
static int key_text(const yaml_event_t *ev, char **ret, struct err *e)
{
    AUTO_JSON json_t *value = NULL;
    if (ev->type != YAML_SCALAR_EVENT)
        return fail_at(ev, e, "a mapping's key is not a scalar");
    int r = scalar_value(ev, &value, e);
    if (r < 0)
        return r;
    if (json_is_null(value))
        return fail_at(ev, e, "a mapping's key is null");
    if (json_is_string(value) && strcmp(json_string_value(value), "<<") == 0 &&
        ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
        return fail_at(ev, e, "merge keys are not accepted");
    if (json_is_string(value)) {
        *ret = xstrndup(json_string_value(value), json_string_length(value));
        return 0;
    }
    struct buf text;
    buf_init(&text, 64);
    json_write(value, &text);
    *ret = buf_take_text(&text);
    return 0;
}

/* Puts a finished scalar or a fresh container where it belongs. Takes `take`. */
static int place(struct reader *r, const yaml_event_t *ev, json_t *take, struct err *e)
{
    if (++r->nodes > r->limits->json_nodes_max) {
        json_decref(take);
        return fail_at(ev, e, "more values than json_nodes_max");
    }
    if (r->depth == 0) {
        r->root = take;
        return 0;
    }
    struct frame *top = &r->frames[r->depth - 1];
    if (json_is_array(top->container)) {
        (void)json_array_append_new(top->container, take);
        return 0;
    }
    ASSERT(top->key);
    AUTO_FREE char *key = TAKE(top->key);
    (void)json_object_set_new_nocheck(top->container, key, take);
    return 0;
}

static int push(struct reader *r, const yaml_event_t *ev, json_t *take, struct err *e)
{
    if (r->depth == r->limits->json_depth_max) {
        json_decref(take);
        return fail_at(ev, e, "nested deeper than json_depth_max");
    }
    int result = place(r, ev, take, e);
    if (result == 0)
        r->frames[r->depth++] = (struct frame){ take, NULL };
    return result;
}

/* True when the innermost open container is a mapping that waits for a key. */
static bool wants_key(const struct reader *r)
{
    const struct frame *top = r->depth ? &r->frames[r->depth - 1] : NULL;
    return top && json_is_object(top->container) && !top->key;
}

static int take_key(struct reader *r, const yaml_event_t *ev, struct err *e)
{
    struct frame *top = &r->frames[r->depth - 1];
    char *key = NULL;
    int result = key_text(ev, &key, e);
    if (result < 0)
        return result;
    top->key = key; /* freed with the frame, also where it is refused now */
    if (json_object_get(top->container, key)) {
        char why[160];
        (void)snprintf(why, sizeof why, "key \"%.100s\" already set in map", key);
        return fail_at(ev, e, why);
    }
    return 0;
}

static int take_event(struct reader *r, const yaml_event_t *ev, struct err *e)
{
    json_t *value;
    int result;
    switch (ev->type) {
    case YAML_ALIAS_EVENT: return fail_at(ev, e, "aliases are not accepted");
    case YAML_SCALAR_EVENT:
        if (ev->data.scalar.anchor)
            return fail_at(ev, e, "anchors are not accepted");
        if (wants_key(r))
            return take_key(r, ev, e);
        result = scalar_value(ev, &value, e);
        return result < 0 ? result : place(r, ev, value, e);
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        if (wants_key(r))
            return fail_at(ev, e, "a mapping's key is not a scalar");
        if (ev->type == YAML_SEQUENCE_START_EVENT ? !!ev->data.sequence_start.tag
                                                  : !!ev->data.mapping_start.tag)
            return fail_at(ev, e, "tags are not accepted");
        if (ev->type == YAML_SEQUENCE_START_EVENT ? !!ev->data.sequence_start.anchor
                                                  : !!ev->data.mapping_start.anchor)
            return fail_at(ev, e, "anchors are not accepted");
        return push(r, ev, ev->type == YAML_SEQUENCE_START_EVENT ? json_array() : json_object(), e);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        ASSERT(r->depth > 0);
        r->depth--;
        return 0;
    default: return 0;
    }
}

static int next_event(yaml_parser_t *p, yaml_event_t *ret, struct err *e)
{
    if (yaml_parser_parse(p, ret))
        return 0;
    if (p->error == YAML_READER_ERROR)
        return err_set(e, CODE_INVALID, "yaml: byte %zu: %s", p->problem_offset, p->problem);
    return err_set(e, CODE_INVALID, "yaml: line %zu, column %zu: %s", p->problem_mark.line + 1,
                   p->problem_mark.column + 1, p->problem ? p->problem : "cannot be parsed");
}

/* 1: one document's tree in *ret; 0: the stream is over. */
static int read_document(yaml_parser_t *p, const struct limits *l, json_t **ret, struct err *e)
{
    __attribute__((cleanup(reader_auto))) struct reader r = {
        .parser = p,
        .limits = l,
        .frames = xcalloc(l->json_depth_max, sizeof(struct frame)),
    };
    for (;;) {
        __attribute__((cleanup(event_auto))) yaml_event_t ev = { 0 };
        int result = next_event(p, &ev, e);
        if (result < 0)
            return result;
        if (ev.type == YAML_STREAM_END_EVENT)
            return 0;
        if (ev.type == YAML_DOCUMENT_END_EVENT)
            break;
        result = take_event(&r, &ev, e);
        if (result < 0)
            return result;
    }
    ASSERT(r.depth == 0 && r.root);
    *ret = TAKE(r.root);
    return 1;
}

int yaml_read(struct str text, const struct limits *l, json_t **ret_docs, size_t max,
              size_t *ret_count, struct err *e)
{
    __attribute__((cleanup(parser_auto))) yaml_parser_t p;
    size_t count = 0;
    int r;
    if (!yaml_parser_initialize(&p))
        return err_set(e, CODE_EXHAUSTED, "yaml: out of memory");
    yaml_parser_set_encoding(&p, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&p, (const unsigned char *)(text.size ? text.at : ""), text.size);
    for (;;) {
        json_t *doc = NULL;
        r = read_document(&p, l, &doc, e);
        if (r <= 0)
            break;
        if (json_is_null(doc))
            continue; /* an empty document between two "---" says nothing */
        if (count == max) {
            json_decref(doc);
            r = err_set(e, CODE_INVALID, "yaml: more than %zu documents", max);
            break;
        }
        ret_docs[count++] = doc;
    }
    if (r < 0) {
        while (count > 0)
            json_decref(ret_docs[--count]);
        return r;
    }
    *ret_count = count;
    return 0;
}

/* ---- writing ---- */

static void emitter_auto(yaml_emitter_t *m) { yaml_emitter_delete(m); }

static int append(void *into, unsigned char *data, size_t size)
{
    buf_append(into, data, size);
    return 1;
}

/* Every event is consumed by the emitter, also where it refuses; its only causes here are memory and
 * an event order that is ours. */
static void emit(yaml_emitter_t *m, yaml_event_t *ev, int made)
{
    ASSERT(made);
    int r = yaml_emitter_emit(m, ev);
    ASSERT(r);
}

/* Text that some reader would take for something else: a word, a number, a date, a time of day. */
static bool ambiguous(struct str s)
{
    json_t *value = NULL;
    struct err ignored;
    if (s.size == 0 || s.at[0] == '=' || str_starts(s, STR("<<")))
        return true;
    bool other = plain_resolve(s, &value, &ignored) < 0 || value;
    json_decref(value);
    return other || (strchr("+-.0123456789", s.at[0]) &&
                     strspn(s.at, "0123456789_+-.:eExXoObBtTzZ ") == s.size);
}

/* Several lines read best as a literal block, where nothing in them could get lost. */
static bool block_fits(struct str s)
{
    if (!memchr(s.at, '\n', s.size) || strchr(" \t\n", s.at[0]))
        return false;
    for (size_t i = 0; i < s.size; i++) {
        unsigned char c = (unsigned char)s.at[i];
        if (c != '\n' && (c < 0x20 || c >= 0x7f))
            return false;
        if (c == '\n' && i > 0 && strchr(" \n", s.at[i - 1]))
            return false;
    }
    return true;
}

static void emit_text(yaml_emitter_t *m, struct str s)
{
    yaml_event_t ev;
    yaml_scalar_style_t style = YAML_ANY_SCALAR_STYLE;
    if (block_fits(s))
        style = YAML_LITERAL_SCALAR_STYLE;
    else if (memchr(s.at, '\n', s.size) || ambiguous(s))
        style = YAML_DOUBLE_QUOTED_SCALAR_STYLE;
    emit(m, &ev, yaml_scalar_event_initialize(&ev, NULL, NULL, (const unsigned char *)s.at,
                                              (int)s.size, style == YAML_ANY_SCALAR_STYLE, 1, style));
}

static void emit_value(yaml_emitter_t *m, const json_t *j)
{
    yaml_event_t ev;
    const char *key;
    const json_t *value;
    switch (json_typeof(j)) {
    case JSON_OBJECT:
        emit(m, &ev, yaml_mapping_start_event_initialize(&ev, NULL, NULL, 1,
                                                         YAML_BLOCK_MAPPING_STYLE));
        json_object_foreach((json_t *)(uintptr_t)j, key, value) {
            emit_text(m, str_of(key));
            emit_value(m, value);
        }
        emit(m, &ev, yaml_mapping_end_event_initialize(&ev));
        return;
    case JSON_ARRAY:
        emit(m, &ev, yaml_sequence_start_event_initialize(&ev, NULL, NULL, 1,
                                                          YAML_BLOCK_SEQUENCE_STYLE));
        for (size_t i = 0; i < json_array_size(j); i++)
            emit_value(m, json_array_get(j, i));
        emit(m, &ev, yaml_sequence_end_event_initialize(&ev));
        return;
    case JSON_STRING:
        emit_text(m, (struct str){ json_string_value(j), json_string_length(j) });
        return;
    default: break;
    }
    struct buf text;
    buf_init(&text, 64);
    json_write(j, &text);
    emit(m, &ev, yaml_scalar_event_initialize(&ev, NULL, NULL, (const unsigned char *)buf_at(&text),
                                              (int)text.size, 1, 0, YAML_PLAIN_SCALAR_STYLE));
    buf_done(&text);
}

void yaml_write(const json_t *j, struct buf *into)
{
    __attribute__((cleanup(emitter_auto))) yaml_emitter_t m;
    yaml_event_t ev;
    int ready = yaml_emitter_initialize(&m);
    ASSERT(ready);
    yaml_emitter_set_output(&m, append, into);
    yaml_emitter_set_unicode(&m, 1);
    yaml_emitter_set_width(&m, -1);
    emit(&m, &ev, yaml_stream_start_event_initialize(&ev, YAML_UTF8_ENCODING));
    emit(&m, &ev, yaml_document_start_event_initialize(&ev, NULL, NULL, NULL, 1));
    emit_value(&m, j);
    emit(&m, &ev, yaml_document_end_event_initialize(&ev, 1));
    emit(&m, &ev, yaml_stream_end_event_initialize(&ev));
}
