/* http2_head.h -- heads between HTTP/2 and the rest: a decoded header block becomes the text of an
 * HTTP/1.1 head, a checked head becomes a list of fields.
 *
 * Receives fields one by one as HPACK gives them out; owns the block that is coming in. Emits text for
 * net/http1.h, so that one strict parser decides for both versions what a valid head is: what is
 * refused in one is refused in the other, in the same words.
 * Refuses what that text could not say truly: controls in values, a method, path or authority of
 * bytes that are not theirs, unknown pseudo-headers, a scheme that is not http or https, a list over
 * h2_head_list_bytes_max. (Order, doubles, upper case and connection fields are refused by nghttp2.)
 * :authority becomes Host; a Host beside it must say the same. Cookies are joined again.
 */
#pragma once

#include "base/buf.h"
#include "net/http1.h"

#include <nghttp2/nghttp2.h>

enum http2_block_fault { HTTP2_BLOCK_FINE, HTTP2_BLOCK_BAD, HTTP2_BLOCK_LARGE };

struct http2_block { /* the one that is coming in; a connection has one at a time */
    struct buf method, path, authority, status, fields, cookies;
    uint64_t list_bytes; /* as SETTINGS_MAX_HEADER_LIST_SIZE counts */
    uint64_t list_bytes_max;
    uint64_t content_length; /* UINT64_MAX: none */
    bool host_seen;
    enum http2_block_fault fault;
};

void http2_block_init(struct http2_block *b, const struct limits *limits);
void http2_block_done(struct http2_block *b);
void http2_block_reset(struct http2_block *b);
void http2_block_add(struct http2_block *b, struct str name, struct str value);

/* Appends the head. end: no body follows. *ret_chunked: the body's length is not known before. */
void http2_block_request(struct http2_block *b, bool end, struct buf *into, bool *ret_chunked);
/* method: of the request. Returns the status; 0: it has none, and the block's fault is set. */
int http2_block_answer(struct http2_block *b, bool end, enum http_method method, struct buf *into,
                       bool *ret_chunked);
/* Appends the lines "name: value\r\n". */
void http2_block_trailers(struct http2_block *b, struct buf *into);

struct http2_fields { /* for nghttp2; points into the head it was made of */
    nghttp2_nv *at;
    size_t count, capacity;
    char status[4];
};
void http2_fields_done(struct http2_fields *f);
void http2_fields_request(struct http2_fields *f, const struct http1_head *h);
void http2_fields_answer(struct http2_fields *f, const struct http1_head *h);
/* Lines as http2_block_trailers() writes them. */
void http2_fields_trailers(struct http2_fields *f, struct str lines);
