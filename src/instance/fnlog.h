/* fnlog.h -- what a function wrote to stdout and stderr, kept for a while and followed live.
 *
 * Receives whole lines (cut at log_line_bytes_max by the reader). Owns a ring of `bytes_max`; the
 * oldest lines go first. Emits each line to every follower. Refuses nothing.
 */
#pragma once

#include "base/buf.h"
#include "base/list.h"

struct fnlog {
    struct buf ring; /* whole lines "2026-11-23T11:00:00.123Z instance text\n" */
    struct list followers;
    uint64_t lines, forgotten_bytes;
};
struct fnlog_follower { /* embedded; zero it first */
    struct list_node node;
    void (*on_line)(struct fnlog_follower *f, struct str line); /* may unfollow itself */
    void (*on_close)(struct fnlog_follower *f); /* the log goes; must unfollow */
};

void fnlog_init(struct fnlog *l, size_t bytes_max);
void fnlog_done(struct fnlog *l); /* tells the followers first */
void fnlog_line(struct fnlog *l, int64_t wall_ms, const char *instance, struct str text);
struct str fnlog_tail(const struct fnlog *l, uint32_t lines); /* borrowed until the next line */
void fnlog_follow(struct fnlog *l, struct fnlog_follower *f);
void fnlog_unfollow(struct fnlog *l, struct fnlog_follower *f);
