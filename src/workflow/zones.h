/* zones.h -- a time zone by its name, from the system's files, or from bytes that came with it. Blocks for one small file. */
#pragma once

#include "base/buf.h"
#include "codec/zone.h"

/* `data`: a TZif file that goes before the name's own; empty: none. `dir`: NULL for the system's. NULL in `ret` is UTC.
 * Refuses (CODE_INVALID) names that none has, and data that is no zone. */
int zones_load(const char *dir, struct str name, struct str data, struct zone **ret, struct err *e) MUST_USE;
/* The name's own file, which is a zone; nothing is added for UTC. Refuses as zones_load(). */
int zones_read(const char *dir, struct str name, struct buf *into, struct err *e) MUST_USE;
