#include "codec/proto.h"
#include "os/fault.h"

#include <stdlib.h>

enum {
    CHUNK_FIRST = 2048,
    CHUNK_MAX = 65536,
    LARGE_MIN = 1024, /* gets a block of its own, which can be given back */
    ALIGN = 16,
    GIVEN_BACK_AMONG = 8, /* newest blocks; a search among all would be slow for hostile input */
    VARINT_BITS = 64,
};

/* ---- the arena ---------------------------------------------------------------------------- */

struct proto_block {
    _Alignas(ALIGN) struct proto_block *next;
    size_t size; /* of what follows */
    bool shared; /* by small allocations */
};

static void *block_new(struct proto_arena *a, size_t size)
{
    if (size > a->max || a->used > a->max - size || fault_hit("proto_block")) {
        a->refused = true;
        return NULL;
    }
    struct proto_block *b = malloc(sizeof *b + size);
    if (!b) {
        a->refused = true;
        return NULL;
    }
    *b = (struct proto_block){ .next = a->blocks, .size = size };
    a->blocks = b;
    a->used += size;
    return b + 1;
}

static void *arena_alloc(void *data, size_t size)
{
    struct proto_arena *a = data;
    if (size > SIZE_MAX / 2) {
        a->refused = true;
        return NULL;
    }
    size = MAX((size + ALIGN - 1) & ~(size_t)(ALIGN - 1), (size_t)ALIGN);
    if (size >= LARGE_MIN)
        return block_new(a, size);
    if (size > a->left) {
        size_t chunk = MAX(MIN(a->used, (size_t)CHUNK_MAX), (size_t)CHUNK_FIRST);
        chunk = MAX(MIN(chunk, a->max - MIN(a->used, a->max)), size);
        char *at = block_new(a, chunk);
        if (!at)
            return NULL;
        a->blocks->shared = true;
        a->at = at;
        a->left = chunk;
    }
    void *p = a->at;
    a->at += size;
    a->left -= size;
    return p;
}

/* The library gives back what it needed while it read: tables of the fields that it saw. They are large and new. */
static void arena_free(void *data, void *p)
{
    struct proto_arena *a = data;
    int seen = 0;
    for (struct proto_block **at = &a->blocks; p && *at && seen < GIVEN_BACK_AMONG; at = &(*at)->next, seen++) {
        struct proto_block *b = *at;
        if (b->shared || (void *)(b + 1) != p)
            continue;
        *at = b->next;
        a->used -= b->size;
        free(b);
        return;
    }
}

void proto_arena_done(struct proto_arena *a)
{
    for (struct proto_block *b = a->blocks, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    *a = (struct proto_arena){ 0 };
}

/* ---- what the library must not see ---------------------------------------------------------- */

struct level { /* of messages within messages */
    const ProtobufCMessageDescriptor *d;
    const uint8_t *end;
};

static bool varint_read(const uint8_t **at, const uint8_t *end, uint64_t *ret)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < VARINT_BITS && *at < end; shift += 7) {
        uint8_t byte = *(*at)++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret = value;
            return true;
        }
    }
    return false;
}

/* How many bytes follow the tag: of the payload, after its length if it has one. Groups are refused: the library
 * knows none. */
static bool payload_size(uint64_t tag, const uint8_t **at, const uint8_t *end, uint64_t *ret)
{
    uint64_t ignored;
    *ret = 0;
    switch ((ProtobufCWireType)(tag & 7)) {
    case PROTOBUF_C_WIRE_TYPE_VARINT: return varint_read(at, end, &ignored);
    case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED: return varint_read(at, end, ret) && *ret <= (uint64_t)(end - *at);
    case PROTOBUF_C_WIRE_TYPE_64BIT: *ret = 8; return end - *at >= 8;
    case PROTOBUF_C_WIRE_TYPE_32BIT: *ret = 4; return end - *at >= 4;
    default: return false;
    }
}

/* Bytes of the character at `at`; 0: it is none, or NUL. RFC 3629: no surrogates, nothing overlong. */
static size_t utf8_size(const uint8_t *at, const uint8_t *end)
{
    static const uint32_t least[] = { 0, 1, 0x80, 0x800, 0x10000 };
    size_t size = at[0] < 0x80 ? 1 : at[0] < 0xc0 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : at[0] < 0xf8 ? 4 : 0;
    if (size == 0 || size > (size_t)(end - at))
        return 0;
    uint32_t c = size == 1 ? at[0] : at[0] & (0x7fU >> size);
    for (size_t i = 1; i < size; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (at[i] & 0x3fU);
    }
    return c < least[size] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : size;
}

static bool text_fine(const uint8_t *at, const uint8_t *end)
{
    while (at < end) {
        size_t size = utf8_size(at, end);
        if (size == 0)
            return false;
        at += size;
    }
    return true;
}

static int check(const ProtobufCMessageDescriptor *d, const uint8_t *in, size_t size, struct err *e)
{
    struct level levels[PROTO_DEPTH_MAX] = { { d, in + size } };
    int depth = 1;

    for (const uint8_t *at = in; depth > 0;) {
        struct level *top = &levels[depth - 1];
        uint64_t tag, payload;
        if (at == top->end) {
            depth--;
            continue;
        }
        bool read = varint_read(&at, top->end, &tag) && payload_size(tag, &at, top->end, &payload);
        if (!read || tag >> 3 == 0 || tag > UINT32_MAX) /* the library would take number 0, and not know it again */
            return err_set(e, CODE_INVALID, "protobuf: the bytes are not a %s: they are cut, or have a field that cannot be",
                           top->d->short_name);
        const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field(top->d, (unsigned)(tag >> 3));
        bool sized = (tag & 7) == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
        if (sized && f && f->type == PROTOBUF_C_TYPE_STRING && !text_fine(at, at + payload))
            return err_set(e, CODE_INVALID, "protobuf: %s.%s is not valid UTF-8 text, or has a NUL in it",
                           top->d->short_name, f->name);
        if (!sized || !f || f->type != PROTOBUF_C_TYPE_MESSAGE) {
            at += payload;
            continue;
        }
        if (depth == PROTO_DEPTH_MAX)
            return err_set(e, CODE_INVALID, "protobuf: %s.%s is nested more than %d messages deep",
                           top->d->short_name, f->name, (int)PROTO_DEPTH_MAX);
        levels[depth++] = (struct level){ f->descriptor, at + payload };
    }
    return 0;
}

int proto_check(const ProtobufCMessageDescriptor *d, struct str bytes, struct err *e)
{
    static const uint8_t none;
    return check(d, bytes.at ? (const uint8_t *)bytes.at : &none, bytes.size, e);
}

/* ---- decoding ----------------------------------------------------------------------------- */

static int unpack(const ProtobufCMessageDescriptor *d, struct str bytes, ProtobufCAllocator *allocator,
                  ProtobufCMessage **ret, struct err *e)
{
    static const uint8_t none;
    int r = proto_check(d, bytes, e);
    if (r < 0)
        return r;
    *ret = protobuf_c_message_unpack(d, allocator, bytes.size, bytes.at ? (const uint8_t *)bytes.at : &none);
    return 0;
}

static int unpack_fault(const ProtobufCMessageDescriptor *d, size_t size, bool refused, size_t memory_max,
                        struct err *e)
{
    if (refused)
        return err_set(e, CODE_EXHAUSTED,
                       "protobuf: a %s of %zu bytes takes more than %zu bytes of memory decoded: send less at once",
                       d->short_name, size, memory_max);
    return err_set(e, CODE_INVALID, "protobuf: the bytes are not a %s", d->short_name);
}

int proto_decode(const ProtobufCMessageDescriptor *d, struct str bytes, size_t memory_max,
                 struct proto_arena *a, ProtobufCMessage **ret, struct err *e)
{
    ProtobufCAllocator allocator = { arena_alloc, arena_free, a };
    ProtobufCMessage *m = NULL;
    a->refused = false;
    a->max = memory_max > SIZE_MAX - a->used ? SIZE_MAX : a->used + memory_max;
    int r = unpack(d, bytes, &allocator, &m, e);
    if (r == 0 && !m)
        r = unpack_fault(d, bytes.size, a->refused, memory_max, e);
    if (r == 0)
        *ret = m;
    return r;
}

/* For messages of the second kind: plain malloc, so that the library's own free fits, and a total. */
struct counted {
    size_t left;
    bool refused;
};

static void *counted_alloc(void *data, size_t size)
{
    struct counted *c = data;
    void *p = size > c->left || fault_hit("proto_alloc") ? NULL : malloc(MAX(size, (size_t)1));
    c->refused |= !p;
    if (p)
        c->left -= size;
    return p;
}

static void counted_free(void *data, void *p)
{
    (void)data;
    free(p);
}

int proto_decode_new(const ProtobufCMessageDescriptor *d, struct str bytes, size_t memory_max,
                     ProtobufCMessage **ret, struct err *e)
{
    struct counted c = { .left = memory_max };
    ProtobufCAllocator allocator = { counted_alloc, counted_free, &c };
    ProtobufCMessage *m = NULL;
    int r = unpack(d, bytes, &allocator, &m, e);
    if (r == 0 && !m)
        r = unpack_fault(d, bytes.size, c.refused, memory_max, e);
    if (r == 0)
        *ret = m;
    return r;
}

/* ---- whole messages ----------------------------------------------------------------------- */

static const ProtobufCMessage *message_of(const void *message)
{
    const ProtobufCMessage *m = message;
    ASSERT(m->descriptor && m->descriptor->magic == PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC);
    return m;
}

size_t proto_size(const void *message) { return protobuf_c_message_get_packed_size(message_of(message)); }

void proto_encode(const void *message, struct buf *into)
{
    size_t size = proto_size(message), room = 0;
    if (size == 0 || into->overflow)
        return;
    char *at = buf_reserve(into, size, &room);
    if (room < size) {
        into->overflow = true;
        return;
    }
    size_t written = protobuf_c_message_pack(message_of(message), (uint8_t *)at);
    ASSERT(written == size);
    buf_commit(into, size);
}

void *proto_new(const ProtobufCMessageDescriptor *d)
{
    ProtobufCMessage *m = xcalloc(1, d->sizeof_message);
    protobuf_c_message_init(d, m);
    return m;
}

static void *own_alloc(void *data, size_t size)
{
    (void)data;
    return xcalloc(1, MAX(size, (size_t)1));
}

void *proto_dup(const void *message)
{
    ProtobufCAllocator allocator = { own_alloc, counted_free, NULL };
    if (!message)
        return NULL;
    const ProtobufCMessage *m = message_of(message);
    size_t size = protobuf_c_message_get_packed_size(m);
    AUTO_FREE uint8_t *bytes = xcalloc(1, size + 1);
    size_t written = protobuf_c_message_pack(m, bytes);
    ProtobufCMessage *copy = protobuf_c_message_unpack(m->descriptor, &allocator, size, bytes);
    ASSERT(written == size && copy);
    return copy;
}

void proto_free(void *message)
{
    if (message)
        protobuf_c_message_free_unpacked(message, NULL);
}

bool proto_equal(const void *a, const void *b)
{
    if (!a || !b)
        return a == b;
    size_t size = proto_size(a);
    if (message_of(a)->descriptor != message_of(b)->descriptor || size != proto_size(b))
        return false;
    AUTO_FREE uint8_t *left = xcalloc(1, size + 1);
    AUTO_FREE uint8_t *right = xcalloc(1, size + 1);
    return protobuf_c_message_pack(a, left) == protobuf_c_message_pack(b, right) && memcmp(left, right, size) == 0;
}

/* ---- fields ------------------------------------------------------------------------------- */

static char *text_default(void) { return (char *)(uintptr_t)protobuf_c_empty_string; }

void proto_set_str(char **field, struct str text)
{
    char *old = *field;
    ASSERT(text.size == 0 || !memchr(text.at, 0, text.size));
    *field = text.size > 0 ? xstrndup(text.at, text.size) : text_default();
    if (old != text_default())
        free(old);
}

void proto_set_text(char **field, const char *text) { proto_set_str(field, str_of(text)); }

void proto_set_bytes(ProtobufCBinaryData *field, struct str bytes)
{
    uint8_t *old = field->data;
    *field = (ProtobufCBinaryData){ bytes.size, bytes.size > 0 ? xcalloc(1, bytes.size) : NULL };
    if (bytes.size > 0)
        memcpy(field->data, bytes.at, bytes.size);
    free(old);
}

void proto_set_message(void *field, void *take_message)
{
    void *old;
    memcpy(&old, field, sizeof old);
    memcpy(field, &take_message, sizeof take_message);
    proto_free(old);
}

void proto_push(size_t *count, void *items, void *take_item)
{
    void **list;
    memcpy(&list, items, sizeof list);
    size_t room = 4; /* a list that was decoded has no spare room, whatever its count */
    while (room < *count + 1)
        room *= 2;
    list = xrealloc(list, room, sizeof *list);
    list[(*count)++] = take_item;
    memcpy(items, &list, sizeof list);
}
