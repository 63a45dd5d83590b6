/* base64.h -- bytes to base64 with padding (RFC 4648, section 4). Pure. */
#pragma once

#include "base/buf.h"

void base64_write(struct str bytes, struct buf *into);
