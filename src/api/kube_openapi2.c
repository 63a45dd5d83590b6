#include "api/kube_openapi2.h"

enum shape {
    SHAPE_TEXT,
    SHAPE_TEXTS,
    SHAPE_BOOL,
    SHAPE_NUMBER,
    SHAPE_ANY, /* Any: its YAML, and JSON is YAML */
    SHAPE_MESSAGE,
    SHAPE_LIST, /* of messages */
    SHAPE_MAP,  /* a message of entries, each a name and a message */
};

enum { WRAPS = 5, ENTRY_NAME = 1, ENTRY_VALUE = 2, ANY_YAML = 2 };

struct message;
struct field {
    const char *key;
    enum shape shape;
    /* Messages around the value, outermost first: {21, 1} is field 1 of a message in field 21. A 0 ends them. Of a MAP
     * the first is the map's, and the others are within an entry's value. */
    uint8_t numbers[WRAPS];
    uint8_t entry; /* of a MAP: the number of its entries */
    const struct message *of;
};

struct message {
    uint8_t extensions; /* of keys that begin with "x-"; 0: none */
    const struct field *fields;
    size_t count;
};

static const struct message schema;
static const struct field schema_fields[] = {
    { "$ref", SHAPE_TEXT, { 1 }, 0, NULL },
    { "format", SHAPE_TEXT, { 2 }, 0, NULL },
    { "description", SHAPE_TEXT, { 4 }, 0, NULL },
    { "default", SHAPE_ANY, { 5 }, 0, NULL },
    { "maximum", SHAPE_NUMBER, { 7 }, 0, NULL },
    { "minimum", SHAPE_NUMBER, { 9 }, 0, NULL },
    { "required", SHAPE_TEXTS, { 19 }, 0, NULL },
    { "additionalProperties", SHAPE_MESSAGE, { 21, 1 }, 0, &schema },
    { "type", SHAPE_TEXT, { 22, 1 }, 0, NULL },
    { "items", SHAPE_MESSAGE, { 23, 1 }, 0, &schema },
    { "properties", SHAPE_MAP, { 25 }, 1, &schema },
};
static const struct message schema = { 31, schema_fields, COUNT_OF(schema_fields) };

static const struct field parameter_fields[] = {
    { "required", SHAPE_BOOL, { 1 }, 0, NULL },     { "in", SHAPE_TEXT, { 2 }, 0, NULL },
    { "description", SHAPE_TEXT, { 3 }, 0, NULL },  { "name", SHAPE_TEXT, { 4 }, 0, NULL },
    { "type", SHAPE_TEXT, { 6 }, 0, NULL },         { "uniqueItems", SHAPE_BOOL, { 20 }, 0, NULL },
};
static const struct message parameter = { 23, parameter_fields, COUNT_OF(parameter_fields) };

static const struct field response_fields[] = { { "description", SHAPE_TEXT, { 1 }, 0, NULL } };
static const struct message response = { 5, response_fields, COUNT_OF(response_fields) };

static const struct field operation_fields[] = {
    { "description", SHAPE_TEXT, { 3 }, 0, NULL },
    { "parameters", SHAPE_LIST, { 8, 1, 2, 3 }, 0, &parameter }, /* item, parameter, not the body, in the query */
    { "responses", SHAPE_MAP, { 9, 1 }, 1, &response },
};
static const struct message operation = { 13, operation_fields, COUNT_OF(operation_fields) };

static const struct field path_fields[] = {
    { "get", SHAPE_MESSAGE, { 2 }, 0, &operation },    { "put", SHAPE_MESSAGE, { 3 }, 0, &operation },
    { "post", SHAPE_MESSAGE, { 4 }, 0, &operation },   { "delete", SHAPE_MESSAGE, { 5 }, 0, &operation },
    { "patch", SHAPE_MESSAGE, { 8 }, 0, &operation },
};
static const struct message path = { 10, path_fields, COUNT_OF(path_fields) };

static const struct field info_fields[] = { { "title", SHAPE_TEXT, { 1 }, 0, NULL },
                                            { "version", SHAPE_TEXT, { 2 }, 0, NULL } };
static const struct message info = { 7, info_fields, COUNT_OF(info_fields) };

static const struct field document_fields[] = {
    { "swagger", SHAPE_TEXT, { 1 }, 0, NULL },
    { "info", SHAPE_MESSAGE, { 2 }, 0, &info },
    { "paths", SHAPE_MAP, { 8 }, 2, &path },
    { "definitions", SHAPE_MAP, { 9 }, 1, &schema },
};
static const struct message document = { 16, document_fields, COUNT_OF(document_fields) };

/* ---- the wire ---- */

enum wire { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2 };

static void put_varint(struct buf *into, uint64_t n)
{
    for (; n >= 0x80; n >>= 7)
        buf_append(into, &(char){ (char)(n | 0x80) }, 1);
    buf_append(into, &(char){ (char)n }, 1);
}

static void put_bytes(struct buf *into, uint8_t number, struct str bytes)
{
    put_varint(into, (uint64_t)number << 3 | WIRE_BYTES);
    put_varint(into, bytes.size);
    buf_str_append(into, bytes);
}

/* `value` within the messages that are around it. */
static void put_wrapped(struct buf *into, const uint8_t *numbers, struct str value)
{
    struct buf inner;
    if (numbers[1] == 0) {
        put_bytes(into, numbers[0], value);
        return;
    }
    buf_init(&inner, into->max);
    put_wrapped(&inner, numbers + 1, value);
    put_bytes(into, numbers[0], buf_str(&inner));
    buf_done(&inner);
}

/* Of what is wrapped in nothing, and not 0. */
static void put_double(struct buf *into, uint8_t number, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_varint(into, (uint64_t)number << 3 | WIRE_FIXED64);
    for (size_t i = 0; i < sizeof bits; i++, bits >>= 8)
        buf_append(into, &(char){ (char)(bits & 0xff) }, 1);
}

/* ---- the tree ---- */

static void message_write(struct buf *into, const struct message *m, const json_t *j);

static void put_message(struct buf *into, const uint8_t *numbers, const struct message *m, const json_t *j)
{
    struct buf inner;
    buf_init(&inner, into->max);
    message_write(&inner, m, j);
    put_wrapped(into, numbers, buf_str(&inner));
    buf_done(&inner);
}

static void put_any(struct buf *into, uint8_t number, const json_t *j)
{
    struct buf text, any;
    buf_init(&text, into->max);
    buf_init(&any, into->max);
    json_write(j, &text);
    put_bytes(&any, ANY_YAML, buf_str(&text));
    put_bytes(into, number, buf_str(&any));
    buf_done(&any);
    buf_done(&text);
}

static void put_map(struct buf *into, const struct field *f, const json_t *map)
{
    static const uint8_t value[] = { ENTRY_VALUE, 0 };
    const char *name;
    const json_t *j;
    struct buf all;
    buf_init(&all, into->max);
    json_object_foreach((json_t *)(uintptr_t)map, name, j) {
        struct buf entry, inner;
        buf_init(&entry, into->max);
        buf_init(&inner, into->max);
        put_bytes(&entry, ENTRY_NAME, str_of(name));
        if (f->numbers[1])
            put_message(&inner, f->numbers + 1, f->of, j);
        else
            message_write(&inner, f->of, j);
        put_wrapped(&entry, value, buf_str(&inner));
        put_bytes(&all, f->entry, buf_str(&entry));
        buf_done(&inner);
        buf_done(&entry);
    }
    put_bytes(into, f->numbers[0], buf_str(&all));
    buf_done(&all);
}

static void list_write(struct buf *into, const struct field *f, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *j = json_array_get(list, i);
        if (f->shape == SHAPE_LIST && json_is_object(j))
            put_message(into, f->numbers, f->of, j);
        else if (f->shape == SHAPE_TEXTS && json_is_string(j))
            put_wrapped(into, f->numbers, str_of(json_string_value(j)));
    }
}

static void field_write(struct buf *into, const struct field *f, const json_t *j)
{
    switch (f->shape) {
    case SHAPE_TEXT:
        if (json_is_string(j))
            put_wrapped(into, f->numbers, str_of(json_string_value(j)));
        return;
    case SHAPE_BOOL:
        if (json_is_true(j)) {
            put_varint(into, (uint64_t)f->numbers[0] << 3 | WIRE_VARINT);
            put_varint(into, 1);
        }
        return;
    case SHAPE_NUMBER:
        if (json_is_number(j))
            put_double(into, f->numbers[0], json_number_value(j));
        return;
    case SHAPE_ANY: put_any(into, f->numbers[0], j); return;
    case SHAPE_TEXTS:
    case SHAPE_LIST: list_write(into, f, j); return;
    case SHAPE_MESSAGE:
        if (json_is_object(j))
            put_message(into, f->numbers, f->of, j);
        return;
    case SHAPE_MAP:
        if (json_is_object(j))
            put_map(into, f, j);
        return;
    }
    UNREACHABLE("every shape returns");
}

static void extension_write(struct buf *into, uint8_t number, const char *name, const json_t *j)
{
    struct buf named;
    buf_init(&named, into->max);
    put_bytes(&named, ENTRY_NAME, str_of(name));
    put_any(&named, ENTRY_VALUE, j);
    put_bytes(into, number, buf_str(&named));
    buf_done(&named);
}

/* As deep as the tree, which is as deep as our own tables. */
static void message_write(struct buf *into, const struct message *m, const json_t *j)
{
    const char *key;
    const json_t *value;
    for (size_t i = 0; i < m->count; i++)
        if ((value = json_object_get(j, m->fields[i].key)))
            field_write(into, &m->fields[i], value);
    json_object_foreach((json_t *)(uintptr_t)j, key, value)
        if (m->extensions && strncmp(key, "x-", 2) == 0)
            extension_write(into, m->extensions, key, value);
}

void kube_openapi2_write(const json_t *tree, struct buf *into) { message_write(into, &document, tree); }
