/* quantity.h -- Kubernetes resource quantities ("250m", "1.5Gi", "1e3") as exact numbers.
 *
 * Receives text; the whole grammar of k8s.io/apimachinery resource.Quantity: sign, decimals, suffixes
 * n u m k M G T P E and Ki..Ei, or a decimal exponent.
 * Emits nano-units, rounded away from zero as Kubernetes does, never beyond 2^63-1 units.
 * Refuses what Kubernetes refuses, in its words, and text over 128 bytes. Pure.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

enum quantity_form { QUANTITY_DECIMAL, QUANTITY_BINARY, QUANTITY_EXPONENT };
struct quantity {
    bool negative;
    unsigned __int128 nano;
    enum quantity_form form;
};
enum { QUANTITY_TEXT = 64 };

int quantity_parse(struct str text, struct quantity *ret, struct err *e) MUST_USE;
int64_t quantity_units(const struct quantity *q); /* bytes, pieces; rounded away from zero */
int64_t quantity_milli(const struct quantity *q); /* thousandths; held at INT64_MAX */
/* The canonical form, as an API server stores it: "1024Mi" -> "1Gi", "0.5" -> "500m". */
void quantity_format(const struct quantity *q, char into[QUANTITY_TEXT]);
