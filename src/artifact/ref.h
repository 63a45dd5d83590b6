/* ref.h -- an artifact reference: where it comes from, and the digest it must have.
 *
 *     file:///srv/models/x.bin             https://host[:port]/path[?query]
 *     … @sha256:<64 lower-case hex digits>  pins it; required over http(s)
 *
 * Receives the text of a manifest. Owns nothing: a plain value. Pure.
 * Emits the parts, each checked. Refuses whatever two parsers could read differently: credentials,
 * fragments, control bytes, backslashes, dot segments in a file path, a digest in the wrong form.
 * A file path is taken as it stands: percent signs, `?` and `#` are refused, not decoded.
 */
#pragma once

#include "artifact/artifact.h"
#include "codec/digest.h"

enum { REF_BYTES_MAX = 511 }; /* what artifact_info can show */

enum ref_scheme { REF_FILE, REF_HTTP, REF_HTTPS };

struct ref {
    enum ref_scheme scheme;
    char text[REF_BYTES_MAX + 1];   /* as given */
    char origin[REF_BYTES_MAX + 1]; /* the URL without the digest; for REF_FILE the absolute path */
    char hex[DIGEST_HEX];           /* empty: not pinned */
};

int ref_parse(enum artifact_kind kind, const char *text, struct ref *ret, struct err *e) MUST_USE;

/* From now on it must be this ("sha256:<hex>"). CODE_INVALID: it names another. */
int ref_pin(struct ref *ref, const char *digest, struct err *e) MUST_USE;

/* 64 lower-case hex digits, without a prefix: a name in the store. */
bool ref_hex_parse(struct str hex, struct digest *ret);
