/* packed.h -- texts that are alike, kept small: of each only what tells it from a sample of its kind (deflate, with
 * the sample as its dictionary). An object of the API takes a tenth so.
 *
 * Receives texts, each with the name of its kind. Owns one sample per kind: a text that came, replaced when it has
 * become a bad likeness; an old one stays as long as a text that was packed with it. Emits every text again byte
 * for byte. Refuses nothing: what does not become smaller is kept as it is, and the 33rd kind has no sample.
 * Packed texts never change and are shared by counting. One thread; the packer outlives what it packed.
 *
 * Invariant: bytes held = those of every living packed text and sample, and nothing else.
 */
#pragma once

#include "base/str.h"

struct packer;
struct packed;

enum { PACKER_KINDS_MAX = 32 };

struct packer *packer_new(void);
void packer_free(struct packer *p); /* everything it packed was freed */
DEFINE_AUTO(packer, struct packer *, packer_free)

struct packed *packed_new(struct packer *p, const char *kind, struct str text);
struct packed *packed_share(struct packed *t); /* the same, one free more; NULL: NULL */
void packed_free(struct packed *t);
DEFINE_AUTO(packed, struct packed *, packed_free)

char *packed_text(const struct packed *t);   /* NUL-terminated, for the caller to free; NULL: NULL */
size_t packed_size(const struct packed *t);  /* of the text */
size_t packed_bytes(const struct packed *t); /* that it takes itself, without the sample it shares */

struct packer_totals {
    uint64_t texts, samples;
    uint64_t size; /* of the texts, unpacked */
    uint64_t held; /* by texts and samples */
};
struct packer_totals packer_totals(const struct packer *p);
void packer_check(const struct packer *p);
