/* expand.h -- $(NAME) in environment, command and arguments, as Kubernetes replaces it. Pure.
 *
 * "$(NAME)" of a known name becomes its value, "$$" becomes "$"; everything else stays as it is.
 */
#pragma once

#include "base/buf.h"

/* NULL: no such name. */
typedef const char *expand_find(const void *ctx, struct str name);
void expand_text(const char *text, expand_find *find, const void *ctx, struct buf *into);
