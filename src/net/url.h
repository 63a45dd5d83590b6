/* url.h -- percent-decoding, for paths and queries. Pure; owns nothing.
 *
 * Refuses malformed escapes and an encoded NUL; a path segment also an encoded slash, which would
 * make one segment look like two to whoever decodes twice. */
#pragma once

#include "base/str.h"

/* Decodes a query's name or value ('+' is a space). `into` may be in.at: the result never is longer.
 * False: refused, *ret_size untouched. */
bool url_decode_query(struct str in, char *into, size_t *ret_size);
/* One path segment, as a NUL-terminated text. False also when it does not fit into size. */
bool url_decode_segment(struct str in, char *into, size_t size);
