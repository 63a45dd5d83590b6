/* config_watch.h -- tells when a ConfigMap or a Secret has come, changed or gone, by namespace.
 *
 * Receives the change log. Owns its place in it. Emits on_changed for each such change that is still in the log when
 * its turn comes, and with ns NULL where some are not any more: then anything may have changed. Loop thread only.
 */
#pragma once

#include "os/loop.h"
#include "serving/watchlog.h"

struct config_watch;

/* Both outlive it. on_changed comes on a turn of its own, never from inside a change. */
struct config_watch *config_watch_new(struct loop *l, struct watchlog *log,
                                      void (*on_changed)(void *ctx, const char *ns), void *ctx);
void config_watch_free(struct config_watch *w);
