/* human.h -- numbers and times as people read them. Pure; each writes into the caller's buffer and
 * returns it. */
#pragma once

#include "base/str.h"

enum { HUMAN_TEXT = 40 };
#define HUMAN ((char[HUMAN_TEXT]){ 0 })

/* Three significant digits: "0.21 ms", "12.3 ms", "412 ms", "9.87 s", "4 min 05 s". Milliseconds up to
 * ten seconds, so that a column of phases compares by eye. */
const char *human_us(int64_t us, char into[HUMAN_TEXT]);
const char *human_bytes(uint64_t bytes, char into[HUMAN_TEXT]);            /* "44.1 MiB", "512 B" */
const char *human_rate(uint64_t bytes, int64_t us, char into[HUMAN_TEXT]); /* "207 MiB/s" */
const char *human_age(int64_t seconds,
                      char into[HUMAN_TEXT]); /* kubectl's: "42s" "5m" "3h12m" "2d" */
const char *human_permille(int64_t permille, char into[HUMAN_TEXT]); /* "99.6 %" */

bool human_rfc3339_parse(struct str text, int64_t *ret_unix_ms);   /* with Z or an offset */
const char *human_rfc3339(int64_t unix_ms, char into[HUMAN_TEXT]); /* UTC, milliseconds, Z */
