/* import.h -- a file or folder of this host becomes a blob or a bundle: hashed while it is copied.
 *
 * Receives an open descriptor (the launcher opened it beneath a file root). Owns it, and what it
 * builds under ingest/ until that is committed; a failure leaves nothing.
 * Emits the digest, and how much is copied so far.
 * Refuses devices, FIFOs, sockets, set-user-ID files, symlinks that lead outside or nowhere, names with
 * control characters, what is over artifact_bytes_max, artifact_files_max or the disk's room, and
 * content that is not the one a pinned reference names.
 * Keeps of the modes only whether a file is executable; keeps modification times.
 * Threading: import_run() on a helper; import_held() from any.
 */
#pragma once

#include "artifact/cas.h"
#include "artifact/ref.h"

struct import;

struct import_result {
    bool tree;
    char hex[DIGEST_HEX];
    uint64_t bytes, leaves;
};

/* hex: the digest it must have; "" accepts any. */
struct import *import_new(struct cas *c, const struct limits *limits, enum artifact_kind kind,
                          int take_fd, const char *hex);
void import_free(struct import *im);
DEFINE_AUTO(import, struct import *, import_free)

void import_stop(struct import *im); /* from any thread: run returns -CODE_CANCELLED soon */
uint64_t import_held(const struct import *im);

/* 0: committed. 1: room is short by *ret_short: make room and run again. */
int import_run(struct import *im, struct import_result *ret, uint64_t *ret_short,
               struct err *e) MUST_USE;
