/* record_json.h -- records as JSON and back: the one shape that the API, `hob explain` and the store
 * use. Field names are stable (docs/reference); times end with their unit.
 *
 * Receives records, or a tree of unknown origin; emits a new tree that the caller owns, or a checked
 * record. Phases that are absent and fields that are empty are left out. Reading ignores fields and
 * phases that it does not know (a newer hob wrote them) and refuses wrong types, texts that do not
 * fit and outcomes it does not know (CODE_INVALID, with the field's name).
 * Bytes that are not UTF-8 (a path is whatever the client sent, cut) become '?'. */
#pragma once

#include "codec/json.h"
#include "telemetry/record.h"

json_t *record_to_json(const struct invocation_record *r);
int record_from_json(const json_t *j, struct invocation_record *ret, struct err *e) MUST_USE;

/* As it stands in a record under "start"; times as phase_relative() leaves them. */
json_t *start_to_json(const struct start_record *r);
int start_from_json(const json_t *j, struct start_record *ret, struct err *e) MUST_USE;
