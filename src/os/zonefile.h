/* zonefile.h -- reads one file of the system's time zone data, by its zone's name.
 *
 * Receives a name that zone_name_valid() took. Owns nothing; the bytes are the caller's.
 * Refuses (CODE_NOT_FOUND) a zone that is not there, and (CODE_INVALID) a name that leads out of the folder.
 * Blocks for one small file. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

/* `dir`: NULL for /usr/share/zoneinfo. `into` keeps its own maximum; what does not fit is refused. */
int zonefile_read(const char *dir, struct str name, struct buf *into, struct err *e) MUST_USE;
