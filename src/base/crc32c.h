/* crc32c.h -- CRC-32C (Castagnoli; RFC 3720, B.4), what rows and pages are sealed with: it finds damage, not malice.
 *
 * By the processor's own instruction where it has one. */
#pragma once

#include "base/base.h"

/* Goes on from `before`, 0 at first: of two pieces one after the other as of both together. */
uint32_t crc32c(uint32_t before, const void *data, size_t size);
/* The same without the processor's instruction. For tests, and for other processors. */
uint32_t crc32c_plain(uint32_t before, const void *data, size_t size);
