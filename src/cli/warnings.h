/* warnings.h -- what the server warns of while it accepts an object, as kubectl shows it.
 *
 * Receives the raw head of an answer. Emits one line "Warning: TEXT" for each of its Warning headers of code 299
 * (RFC 7234 5.5), unquoted and cleaned for a terminal. Refuses nothing: a header of another form is passed over.
 */
#pragma once

#include "base/buf.h"

void warnings_read(struct str head, struct buf *into);
