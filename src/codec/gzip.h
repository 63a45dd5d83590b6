/* gzip.h -- gzip (RFC 1952), whole texts, within bounds.
 *
 * Receives compressed or plain bytes. Owns zlib's state and tables, made at the first use and used again.
 * Emits the other kind into a buffer; the buffer's max bounds what a small text may grow to.
 * Refuses (CODE_INVALID) what is not gzip, is cut, or has anything behind it but another member; (CODE_EXHAUSTED) what does
 * not fit. One thread. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

struct gzip;

struct gzip *gzip_new(void);
void gzip_free(struct gzip *g);
DEFINE_AUTO(gzip, struct gzip *, gzip_free)

/* Appends. After a failure `into` has something of it, of no use. */
int gzip_read(struct gzip *g, struct str packed, struct buf *into, struct err *e) MUST_USE;
/* Appends; past into's max it says `overflow`. Fast rather than small. */
void gzip_write(struct gzip *g, struct str plain, struct buf *into);
