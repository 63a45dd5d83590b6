#include "api/kube_protobuf.h"

#include "codec/base64.h"

#include <stdlib.h>

enum field_kind { FIELD_TEXT, FIELD_BYTES, FIELD_BOOL, FIELD_TEXTS, FIELD_BYTES_MAP, FIELD_MESSAGE };
struct message;
struct field {
    uint32_t number;
    const char *name;
    enum field_kind kind;
    const struct message *inner;
};
struct message {
    const struct field *fields;
    size_t count;
};

// clang-format off
static const struct field metadata_fields[] = {
    { 1, "name", FIELD_TEXT, NULL }, { 2, "generateName", FIELD_TEXT, NULL }, { 3, "namespace", FIELD_TEXT, NULL },
    { 5, "uid", FIELD_TEXT, NULL }, { 6, "resourceVersion", FIELD_TEXT, NULL },
    { 11, "labels", FIELD_TEXTS, NULL }, { 12, "annotations", FIELD_TEXTS, NULL },
};
static const struct message metadata_message = { metadata_fields, COUNT_OF(metadata_fields) };
static const struct field namespace_fields[] = { { 1, "metadata", FIELD_MESSAGE, &metadata_message } };
static const struct field configmap_fields[] = {
    { 1, "metadata", FIELD_MESSAGE, &metadata_message }, { 2, "data", FIELD_TEXTS, NULL },
    { 3, "binaryData", FIELD_BYTES_MAP, NULL }, { 4, "immutable", FIELD_BOOL, NULL },
};
static const struct field secret_fields[] = {
    { 1, "metadata", FIELD_MESSAGE, &metadata_message }, { 2, "data", FIELD_BYTES_MAP, NULL },
    { 3, "type", FIELD_TEXT, NULL }, { 4, "stringData", FIELD_TEXTS, NULL }, { 5, "immutable", FIELD_BOOL, NULL },
};
static const struct {
    const char *kind;
    struct message message;
} kinds[] = {
    { "Namespace", { namespace_fields, COUNT_OF(namespace_fields) } },
    { "ConfigMap", { configmap_fields, COUNT_OF(configmap_fields) } },
    { "Secret", { secret_fields, COUNT_OF(secret_fields) } },
};
// clang-format on

struct reading {
    uint64_t left; /* values that may still come */
    struct err *e;
};

static int wrong(struct reading *r, const char *what) { return err_set(r->e, CODE_INVALID, "protobuf: %s", what); }

/* One field off the front of *rest. Of varints `number` is set, of everything with a length `bytes`. */
struct item {
    uint32_t field, wire;
    uint64_t number;
    struct str bytes;
};

static bool varint(struct str *rest, uint64_t *ret)
{
    uint64_t value = 0;
    for (uint32_t shift = 0; shift < 64 && rest->size > 0; shift += 7) {
        uint8_t byte = (uint8_t)rest->at[0];
        *rest = str_from(*rest, 1);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *ret = value;
            return true;
        }
    }
    return false;
}

static int item_next(struct reading *r, struct str *rest, struct item *ret)
{
    enum { VARINT, FIXED64, LENGTH, FIXED32 = 5 };
    uint64_t key, size = 0;
    if (!varint(rest, &key) || key >> 3 == 0 || key >> 3 > UINT32_MAX)
        return wrong(r, "a field's key is cut short or no key");
    *ret = (struct item){ .field = (uint32_t)(key >> 3), .wire = (uint32_t)(key & 7) };
    switch (ret->wire) {
    case VARINT: return varint(rest, &ret->number) ? 0 : wrong(r, "a number is cut short");
    case FIXED64: size = 8; break;
    case FIXED32: size = 4; break;
    case LENGTH:
        if (!varint(rest, &size))
            return wrong(r, "a length is cut short");
        break;
    default: return wrong(r, "a field has no known type");
    }
    if (size > rest->size)
        return wrong(r, "a field is longer than the message");
    ret->bytes = str_head(*rest, (size_t)size);
    *rest = str_from(*rest, (size_t)size);
    return 0;
}

static json_t *text_value(struct str s)
{
    return memchr(s.size ? s.at : "", '\0', s.size) ? NULL : json_stringn(s.size ? s.at : "", s.size);
}

static json_t *bytes_value(struct str s)
{
    struct buf b;
    buf_init(&b, s.size * 2 + 4);
    base64_write(s, &b);
    json_t *j = json_stringn(b.size ? buf_at(&b) : "", b.size);
    buf_done(&b);
    return j;
}

/* An entry of a map is a message of its key (1) and its value (2). */
static int entry_read(struct reading *r, struct str rest, bool bytes, json_t *into)
{
    struct str key = { "", 0 }, value = { "", 0 };
    while (rest.size > 0) {
        struct item item;
        int result = item_next(r, &rest, &item);
        if (result < 0)
            return result;
        if (item.wire == 2 && item.field == 1)
            key = item.bytes;
        else if (item.wire == 2 && item.field == 2)
            value = item.bytes;
    }
    json_t *name = text_value(key), *j = bytes ? bytes_value(value) : text_value(value);
    bool fits = name && j && json_object_set(into, json_string_value(name), j) == 0;
    json_decref(name);
    json_decref(j);
    return fits ? 0 : wrong(r, "a text is not UTF-8");
}

static json_t *child(json_t *object, const char *name)
{
    if (!json_object_get(object, name))
        (void)json_object_set_new(object, name, json_object());
    return json_object_get(object, name);
}

static int message_read(struct reading *r, struct str rest, const struct message *m, json_t *into);

static int field_read(struct reading *r, const struct item *item, const struct field *f, json_t *into)
{
    if (item->wire != (f->kind == FIELD_BOOL ? 0 : 2))
        return wrong(r, "a field is not of its type");
    switch (f->kind) {
    case FIELD_BOOL: (void)json_object_set_new(into, f->name, json_boolean(item->number != 0)); return 0;
    case FIELD_MESSAGE: return message_read(r, item->bytes, f->inner, child(into, f->name));
    case FIELD_TEXTS:
    case FIELD_BYTES_MAP: return entry_read(r, item->bytes, f->kind == FIELD_BYTES_MAP, child(into, f->name));
    case FIELD_TEXT:
    case FIELD_BYTES: break;
    }
    json_t *j = f->kind == FIELD_TEXT ? text_value(item->bytes) : bytes_value(item->bytes);
    if (!j)
        return wrong(r, "a text is not UTF-8");
    if (item->bytes.size > 0) /* proto2 from Go: what is not set is sent empty */
        (void)json_object_set(into, f->name, j);
    json_decref(j);
    return 0;
}

/* As deep as the tables. */
static int message_read(struct reading *r, struct str rest, const struct message *m, json_t *into)
{
    while (rest.size > 0) {
        struct item item;
        int result = item_next(r, &rest, &item);
        if (result == 0 && r->left-- == 0)
            return wrong(r, "more values than json_nodes_max");
        for (size_t i = 0; result == 0 && i < m->count; i++)
            if (m->fields[i].number == item.field)
                result = field_read(r, &item, &m->fields[i], into);
        if (result < 0)
            return result;
    }
    return 0;
}

/* runtime.Unknown: { typeMeta = 1: { apiVersion = 1, kind = 2 }, raw = 2 } */
static int envelope_read(struct reading *r, struct str rest, json_t *into, struct str *ret_raw)
{
    static const struct field type_fields[] = { { 1, "apiVersion", FIELD_TEXT, NULL }, { 2, "kind", FIELD_TEXT, NULL } };
    static const struct message type_message = { type_fields, COUNT_OF(type_fields) };
    while (rest.size > 0) {
        struct item item;
        int result = item_next(r, &rest, &item);
        if (result == 0 && item.field == 1 && item.wire == 2)
            result = message_read(r, item.bytes, &type_message, into);
        if (item.field == 2 && item.wire == 2)
            *ret_raw = item.bytes;
        if (result < 0)
            return result;
    }
    return 0;
}

int kube_protobuf_read(struct str text, const struct limits *l, json_t **ret, struct err *e)
{
    static const struct str magic = { "k8s", 4 };
    struct reading r = { l->json_nodes_max, e };
    struct str raw = { "", 0 };
    AUTO_JSON json_t *object = json_object();
    if (!str_starts(text, magic))
        return wrong(&r, "it does not begin as Kubernetes' messages do");
    int result = envelope_read(&r, str_from(text, magic.size), object, &raw);
    if (result < 0)
        return result;
    const char *kind = json_text_at(object, "kind");
    for (size_t i = 0; kind && i < COUNT_OF(kinds); i++) {
        if (strcmp(kind, kinds[i].kind) != 0)
            continue;
        result = message_read(&r, raw, &kinds[i].message, object);
        if (result == 0)
            *ret = TAKE(object);
        return result;
    }
    return wrong(&r, "only Namespace, ConfigMap and Secret are read in this form; send JSON");
}
