/* proto.h -- protocol buffers from outside, decoded within bounds; and what everybody does with messages.
 *
 * Receives bytes and the descriptor that protoc-c made of a schema. Owns the memory that decoded messages take, in an
 * arena that is freed at once. Emits messages (protobuf-c), and bytes again: fields that the schema does not know
 * survive both ways.
 * Refuses (CODE_INVALID) what is not such a message, messages within messages more than PROTO_DEPTH_MAX deep (the
 * library recurses: 30 KB of nesting would be the end of the stack), and texts that are not UTF-8 or have a NUL in
 * them (C would see half of such a text, and another server all of it); (CODE_EXHAUSTED) what takes more than
 * memory_max decoded: 4 MiB of empty messages would take 287.
 *
 * Two lives of a message: decoded into an arena, it is read, and dies with the arena; made by proto_dup(), by
 * proto_new() or by hand with malloc, it is changed with the functions below, and freed with proto_free(). The
 * functions that change a message are for the second kind. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

#include <protobuf-c/protobuf-c.h>

enum { PROTO_DEPTH_MAX = 100 }; /* as other implementations; Temporal's Failure.cause nests */

struct proto_arena { /* zero it first; does not move while it holds anything */
    struct proto_block *blocks;
    char *at; /* free room in the newest small block */
    size_t left;
    size_t used, max; /* bytes, of all blocks */
    bool refused;
};
void proto_arena_done(struct proto_arena *a); /* frees everything; it may be used again */
static inline void proto_arena_auto(struct proto_arena *a) { proto_arena_done(a); }

/* memory_max: for this message, whatever the arena holds already. The message lives as long as the arena, and holds no
 * pointer into `bytes`. What a failed attempt took stays in the arena. */
int proto_decode(const ProtobufCMessageDescriptor *d, struct str bytes, size_t memory_max,
                 struct proto_arena *a, ProtobufCMessage **ret, struct err *e) MUST_USE;
/* A message of the second kind, for proto_free(). */
int proto_decode_new(const ProtobufCMessageDescriptor *d, struct str bytes, size_t memory_max,
                     ProtobufCMessage **ret, struct err *e) MUST_USE;

/* `message` is any generated struct. Past the buffer's max nothing is appended and it says `overflow`. */
void proto_encode(const void *message, struct buf *into);
size_t proto_size(const void *message); /* encoded */

void *proto_new(const ProtobufCMessageDescriptor *d); /* with every field at its default */
void *proto_dup(const void *message);                 /* deep, unknown fields too; NULL: NULL */
void proto_free(void *message);                       /* NULL is fine */
bool proto_equal(const void *a, const void *b);       /* encoded they are the same; NULL equals NULL */

/* What was there is freed. NULL texts and empty ones are the default. */
void proto_set_text(char **field, const char *text);
void proto_set_str(char **field, struct str text); /* without NUL */
void proto_set_bytes(ProtobufCBinaryData *field, struct str bytes);
void proto_set_message(void *field, void *take_message); /* field: of type "struct *": Tp__X ** */
static inline struct str proto_bytes(const ProtobufCBinaryData *b)
{
    return (struct str){ (const char *)b->data, b->len };
}
/* Repeated fields: items is a Tp__X *** (or char ***), count its n_… . */
void proto_push(size_t *count, void *items, void *take_item);

/* 0, or how much of these bytes is beyond bounds, without decoding: see above. For fuzzing and tests. */
int proto_check(const ProtobufCMessageDescriptor *d, struct str bytes, struct err *e) MUST_USE;
