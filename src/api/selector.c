#include "api/selector.h"

#include "codec/names.h"

static bool space(char c) { return c == ' ' || c == '\t'; }

/* A key or value: everything up to what ends it. */
static struct str cut_word(struct str *s)
{
    size_t size = 0;
    while (size < s->size && !space(s->at[size]) && !strchr(",=!()", s->at[size]))
        size++;
    struct str word = str_head(*s, size);
    *s = str_trim(str_from(*s, size));
    return word;
}

static bool cut_text(struct str *s, const char *text)
{
    if (!str_starts(*s, str_of(text)))
        return false;
    *s = str_trim(str_from(*s, strlen(text)));
    return true;
}

static int refuse(struct str text, const char *why, struct err *e)
{
    return err_set(e, CODE_INVALID, "unable to parse requirement \"%.*s\": %s",
                   (int)MIN(text.size, 100), text.at, why);
}

/* "in (a,b)" after the key; false: it is no set. */
static bool cut_set(struct str *s, struct selector_row *row)
{
    struct str word = cut_word(s);
    row->op = str_is(word, "in") ? SELECTOR_IN : SELECTOR_NOT_IN;
    if (!(str_is(word, "in") || str_is(word, "notin")) || !cut_text(s, "("))
        return false;
    do {
        if (row->value_count == SELECTOR_VALUES_MAX)
            return false;
        row->values[row->value_count++] = cut_word(s);
    } while (cut_text(s, ","));
    return cut_text(s, ")");
}

static bool row_parse(struct str *s, struct selector_row *row)
{
    bool absent = cut_text(s, "!");
    row->key = cut_word(s);
    row->op = absent ? SELECTOR_ABSENT : SELECTOR_EXISTS;
    if (absent || s->size == 0 || s->at[0] == ',')
        return row->key.size > 0;
    if (cut_text(s, "!=")) {
        row->op = SELECTOR_NOT_IN;
    } else if (cut_text(s, "==") || cut_text(s, "=")) {
        row->op = SELECTOR_IN;
    } else {
        return row->key.size > 0 && cut_set(s, row);
    }
    row->values[row->value_count++] = cut_word(s);
    return row->key.size > 0;
}

static int parse(struct str text, struct selector *ret, struct err *e)
{
    struct str rest = str_trim(text);
    *ret = (struct selector){ 0 };
    while (rest.size > 0) {
        if (ret->count == SELECTOR_MAX)
            return refuse(text, "too many requirements", e);
        if (!row_parse(&rest, &ret->rows[ret->count++]) ||
            (rest.size > 0 && (!cut_text(&rest, ",") || rest.size == 0)))
            return refuse(text, "want key, !key, key=value, key!=value, key in (a,b), key notin (a,b)",
                          e);
    }
    return 0;
}

int selector_parse_labels(struct str text, struct selector *ret, struct err *e)
{
    struct err why;
    int r = parse(text, ret, e);
    for (uint32_t i = 0; r == 0 && i < ret->count; i++) {
        const struct selector_row *row = &ret->rows[i];
        if (!names_qualified(row->key, &why))
            return refuse(text, why.text, e);
        for (uint32_t k = 0; k < row->value_count; k++)
            if (!names_label_value(row->values[k], &why))
                return refuse(text, why.text, e);
    }
    return r;
}

static bool simple(struct str key) { return str_is(key, "metadata.name") || str_is(key, "metadata.namespace"); }

static bool one_of(struct str key, const char *others)
{
    struct str rest = str_of(others ? others : "");
    while (rest.size > 0)
        if (str_eq(str_cut(&rest, ','), key))
            return true;
    return false;
}

int selector_parse_fields(struct str text, const char *others, struct selector *ret, struct err *e)
{
    int r = parse(text, ret, e);
    for (uint32_t i = 0; r == 0 && i < ret->count; i++) {
        const struct selector_row *row = &ret->rows[i];
        if (!simple(row->key) && !one_of(row->key, others))
            return err_set(e, CODE_INVALID, "field label not supported: " STR_FMT, STR_ARG(row->key));
        if (row->value_count != 1)
            return refuse(text, "want field=value or field!=value", e);
    }
    return r;
}

static bool holds(const struct selector_row *row, const char *value)
{
    for (uint32_t i = 0; value && i < row->value_count; i++)
        if (str_is(row->values[i], value))
            return true;
    return false;
}

static bool row_match(const struct selector_row *row, const char *value)
{
    switch (row->op) {
    case SELECTOR_IN: return holds(row, value);
    case SELECTOR_NOT_IN: return !holds(row, value);
    case SELECTOR_EXISTS: return value != NULL;
    case SELECTOR_ABSENT: return value == NULL;
    }
    UNREACHABLE("every operator returns");
}

bool selector_labels_match(const struct selector *s, const json_t *labels)
{
    for (uint32_t i = 0; i < s->count; i++) {
        const struct selector_row *row = &s->rows[i];
        const char *value = json_string_value(json_object_getn(labels, row->key.at, row->key.size));
        if (!row_match(row, value))
            return false;
    }
    return true;
}

/* A field that is not there reads as empty, as in Kubernetes. */
static const char *field_text(const json_t *object, struct str key)
{
    char path[128];
    if (key.size >= sizeof path)
        return "";
    memcpy(path, key.at, key.size);
    path[key.size] = '\0';
    const char *value = json_text_at(object, path);
    return value ? value : "";
}

bool selector_fields_match(const struct selector *s, const char *ns, const char *name, const json_t *object)
{
    for (uint32_t i = 0; i < s->count; i++) {
        const struct selector_row *row = &s->rows[i];
        const char *value = str_is(row->key, "metadata.name")        ? name
                            : str_is(row->key, "metadata.namespace") ? ns
                                                                     : field_text(object, row->key);
        if (!row_match(row, value))
            return false;
    }
    return true;
}

bool selector_fields_simple(const struct selector *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (!simple(s->rows[i].key))
            return false;
    return true;
}

const struct str *selector_fields_name(const struct selector *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (str_is(s->rows[i].key, "metadata.name") && s->rows[i].op == SELECTOR_IN)
            return &s->rows[i].values[0];
    return NULL;
}
