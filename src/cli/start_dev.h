/* start_dev.h -- what `hob server start-dev` understands, as settings of `hob serve`. Pure. */
#pragma once

#include "cli/serve_opts.h"

/* argv: no program name. s->data: the file that was named, or NULL: none was. */
int start_dev_read(struct serve_settings *s, int argc, const char *const *argv, struct err *e) MUST_USE;
