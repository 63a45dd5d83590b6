/* zone.h -- a time zone: what clocks on walls show at any moment, by the rules of one tzdata file (TZif, RFC
 * 9636).
 *
 * Receives the bytes of the file (os/zonefile.h reads it); keeps none of them.
 * Owns its transitions and the rule for the years behind them. NULL is a zone, too: UTC.
 * Emits spans of time with one offset; all that is asked of a zone is made of these.
 * Refuses what is no TZif file or contradicts itself, files with leap seconds ("right/…"), more than
 * ZONE_BYTES_MAX. Pure.
 *
 * Where clocks are set forward, local times are missing; where they are set back, local times come twice. */
#pragma once

#include "codec/civil.h"

enum { ZONE_BYTES_MAX = 65536, ZONE_TRANSITIONS_MAX = 4000 }; /* real ones: below 4 KiB, 250 */

struct zone; /* opaque, immutable */

int zone_parse(struct str bytes, struct zone **ret, struct err *e) MUST_USE;
void zone_free(struct zone *z); /* NULL is fine */
DEFINE_AUTO(zone, struct zone *, zone_free)

/* The offset at `at_s` (to be added to Unix time), and until when it certainly is that: INT64_MAX for ever. */
void zone_span(const struct zone *z, int64_t at_s, int32_t *ret_offset_s, int64_t *ret_until_s);
void zone_local(const struct zone *z, int64_t at_s, struct civil *ret);
/* When clocks show `local` (civil_seconds() of it): never (0), once (1), twice (2, the earlier one first). */
int zone_moments(const struct zone *z, int64_t local_s, int64_t ret[2]);

/* Whether a name may be that of a zone: "Europe/Berlin", "UTC"; not "../x", "/etc/localtime", "localtime". */
bool zone_name_valid(struct str name);
bool zone_name_is_utc(struct str name); /* "", UTC and what else means the same without a file */
