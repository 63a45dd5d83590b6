/* localfiles.h -- what of the host's own files the node may have, opened for it by the launcher.
 *
 * Receives the file roots, by name, and the data folder as it really lies; then paths, from a node that is not
 * trusted. Owns a descriptor of each root. Emits descriptors to read from: of a regular file, or of a folder as the
 * root of a detached read-only mount, from which ".." leads nowhere.
 * Refuses what is not beneath a root, leads out of it by a link, is neither file nor folder, or is, holds or lies in the
 * data folder. In the launcher's thread. */
#pragma once

#include "base/err.h"

struct localfiles;

/* Roots are absolute; they and data_real must outlive it. */
int localfiles_open(const char *const *roots, size_t count, const char *data_real, struct localfiles **ret,
                    struct err *e) MUST_USE;
void localfiles_free(struct localfiles *f);
DEFINE_AUTO(localfiles, struct localfiles *, localfiles_free)

int localfiles_get(const struct localfiles *f, const char *path, struct err *e) MUST_USE; /* >= 0: to be closed */
