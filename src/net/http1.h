/* http1.h -- the head of an HTTP/1.x message (RFC 9112): strict, incremental, sans-I/O.
 *
 * Receives the bytes of a head as they collect in the caller's buffer. Emits start line, fields and what
 * follows from them (framing, keep-alive, upgrade) as text *into that buffer*, nothing copied.
 * Owns only its field array. Reads no clock, makes no I/O. Body: http1_body.h; writing: http1_write.h.
 *
 * Refuses, never repairs: whatever two readers could understand differently is refused, with the
 * status to answer and a sentence. Among it bare CR or LF, NUL and other controls, obs-fold, space around
 * names, any Content-Length but plain digits once, Content-Length beside Transfer-Encoding, any
 * transfer coding but one `chunked`, transfer codings in HTTP/1.0, a Host that is missing, double, malformed or
 * other than the target's, names that imitate known ones (Content_Length), a Connection that
 * nominates end-to-end fields, expectations but 100-continue, CONNECT, and versions but 1.0 and 1.1.
 *
 * Invariant: the result depends on the bytes alone, not on how they were cut into feeds (the fuzz
 * targets' property). A feed goes on where the last one stopped: pieces of one byte cost no more.
 */
#pragma once

#include "base/limits.h"
#include "net/http.h"

enum http1_kind { HTTP1_REQUEST, HTTP1_RESPONSE };
enum http1_result {
    HTTP1_MORE, /* give more bytes */
    HTTP1_DATA, /* body only: a piece of content came out; feed on */
    HTTP1_DONE, /* complete */
    HTTP1_BAD,  /* refused: see refusal; answer it and close the connection */
};
struct http1_refusal {
    int status;       /* requests: 400, 413 … 505; responses: 502 */
    const char *text; /* static, for people */
};

enum http1_framing {
    HTTP1_BODY_NONE,
    HTTP1_BODY_LENGTH, /* body_bytes, > 0 */
    HTTP1_BODY_CHUNKED,
    HTTP1_BODY_CLOSE, /* responses only: until the connection ends */
};

struct http_field {
    struct str name, value; /* value trimmed */
    uint8_t id;             /* enum http_field_id */
    bool hop;               /* for this connection only, by its name or nominated by Connection */
};

struct http1_head {
    /* --- the message, valid after HTTP1_DONE, as long as the caller's buffer stays in place --- */
    uint32_t size;       /* of the head: what follows in the buffer is body */
    uint8_t minor;       /* 1: HTTP/1.1, 0: HTTP/1.0 */
    uint8_t method_id;   /* enum http_method */
    uint16_t status;     /* responses */
    struct str method;   /* requests */
    struct str target;   /* in origin form, "/path?query" or "*": for the next hop. May be static */
    struct str path;     /* target up to '?' */
    struct str query;    /* after '?'; at NULL: none */
    struct str host;     /* without port, as sent; at NULL: none (HTTP/1.0 only) */
    struct str reason;   /* responses; may be empty */
    uint16_t port;       /* of Host; 0: none given */
    uint8_t framing;     /* enum http1_framing */
    uint64_t body_bytes; /* HTTP1_BODY_LENGTH */
    /* Content-Length as sent, UINT64_MAX: none. Differs from body_bytes for HEAD and 304. */
    uint64_t content_length;
    bool keep_alive;      /* what the sender wants; always false with HTTP1_BODY_CLOSE */
    bool upgrade;         /* asked for (1.1 request without a body) or granted (101): see Upgrade */
    bool expect_continue; /* 1.1 request with a body */
    bool interim;         /* a 1xx other than 101: another head follows */
    struct http_field *fields;
    uint32_t field_count;
    struct http1_refusal refusal; /* after HTTP1_BAD */

    /* --- the parser's own --- */
    const struct limits *limits;
    const char *base;
    uint8_t kind, state;
    uint8_t answers;           /* enum http_method */
    uint32_t scan, line, mark; /* offsets: looked at so far, start of line, start of token */
    uint32_t field_capacity;
    uint64_t seen; /* mask of field ids */
    uint16_t first[HTTP_FIELD_IDS];
};

void http1_head_init(struct http1_head *h, enum http1_kind kind, const struct limits *limits);
void http1_head_done(struct http1_head *h);  /* frees; h may be fed again as if new */
void http1_head_reset(struct http1_head *h); /* for the next message; keeps memory */
/* Before the first feed of a response: the request's method, which its framing depends on. */
void http1_head_answers(struct http1_head *h, enum http_method method);

/* `at`, `size`: everything since the first byte of the head; the buffer may have moved since the
 * last feed. Not to be called again after DONE or BAD without a reset. */
enum http1_result http1_head_feed(struct http1_head *h, const char *at, size_t size) MUST_USE;
/* After DONE, when the caller moved the head's bytes: makes all text point there. */
void http1_head_rebase(struct http1_head *h, const char *at);

/* The first field with this id or name; at NULL: none. */
static inline bool http1_has(const struct http1_head *h, enum http_field_id id)
{
    return (h->seen & BIT(id)) != 0;
}
static inline struct str http1_field(const struct http1_head *h, enum http_field_id id)
{
    return http1_has(h, id) ? h->fields[h->first[id]].value : (struct str){ NULL, 0 };
}
struct str http1_field_named(const struct http1_head *h, struct str name);
/* Whether the comma list of any field with this id has this element (ASCII case ignored). */
bool http1_field_lists(const struct http1_head *h, enum http_field_id id, struct str element);

/* Used for trailers too: one line without its CRLF. False: refused, *ret_why says why. */
bool http1_field_line(struct str line, struct http_field *ret, const char **ret_why);
