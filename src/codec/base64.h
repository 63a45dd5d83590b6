/* base64.h -- bytes to base64 with padding and back (RFC 4648, section 4). Pure. */
#pragma once

#include "base/buf.h"

void base64_write(struct str bytes, struct buf *into);
/* Line ends are let through, as in Go. False: it is none, and what is in `into` is of no use. */
bool base64_read(struct str text, struct buf *into) MUST_USE;
