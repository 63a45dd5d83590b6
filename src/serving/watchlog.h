/* watchlog.h -- what was committed, in order: the one log that every watch reads from. Pure.
 *
 * Receives each committed change once, versions rising. Owns them packed (packed.h), at most watch_events_max of
 * them and watch_log_bytes of memory (one always fits); the oldest go. Emits events to cursors, as a client with a filter
 * sees them: an object that begins to match is ADDED to it, one that no longer does is DELETED.
 * Refuses nothing that is slow: a slow reader is a cursor; one whose next event is gone is told WATCH_TOO_OLD
 * and lists again. After a restart the log is empty and begins at the store's version.
 *
 * Invariant: the log holds every change with a version above its floor, and no other.
 */
#pragma once

#include "base/list.h"
#include "codec/json.h"
#include "codec/packed.h"

struct watchlog;

enum watch_type { WATCH_ADDED, WATCH_MODIFIED, WATCH_DELETED };
struct watch_event { /* borrowed until anybody reads on, or the log is appended to */
    enum watch_type type;
    int64_t version;
    const char *kind, *ns, *name; /* kind as in the store: "services"; ns "": of the whole cluster */
    const char *text; /* the object with this version in it; DELETED: as it was last, with this version */
};

struct watch_filter { /* borrowed */
    const char *kind, *ns, *name; /* ns, name NULL: any */
    /* NULL: all, which costs the least. labels: the object's, NULL where it has none. */
    bool (*matches)(void *ctx, const struct watch_event *event, const json_t *labels);
    void *ctx;
};
struct watch_cursor { /* a value; made by watchlog_seek() */
    uint64_t next;   /* position of the next event */
    int64_t version; /* everything up to here was seen: what a bookmark says */
};
enum watch_verdict { WATCH_NONE, WATCH_EVENT, WATCH_TOO_OLD };

/* Embedded; in the log until it is removed. on_change comes from inside an append: it only takes note. */
struct watch_listener {
    struct list_node node;
    void (*on_change)(struct watch_listener *l);
};

struct watchlog *watchlog_new(const struct limits *limits, int64_t version); /* limits outlive it */
void watchlog_free(struct watchlog *w); /* its listeners are forgotten, not called */
DEFINE_AUTO(watchlog, struct watchlog *, watchlog_free)

/* For texts that are to be shared with the log, which outlives them. */
struct packer *watchlog_packer(const struct watchlog *w);
/* before NULL: ADDED; after NULL: DELETED. Both are JSON objects with metadata. version > the last. Returns
 * `after` packed, for the caller to share (packed_share) before the next append; NULL: there is none. */
struct packed *watchlog_append(struct watchlog *w, int64_t version, const char *kind, const char *ns,
                               const char *name, const char *before, const char *after);
int64_t watchlog_version(const struct watchlog *w); /* of the last change: a list's resourceVersion */
uint64_t watchlog_forgotten(const struct watchlog *w); /* events that made room for others */
uint64_t watchlog_bytes(const struct watchlog *w); /* memory of the events; some of it shared with who appended */

/* To just behind `version`. WATCH_NONE: done; WATCH_TOO_OLD: what followed it is not all here any more. */
enum watch_verdict watchlog_seek(const struct watchlog *w, int64_t version, struct watch_cursor *ret);
/* The next event that the filter lets through. */
enum watch_verdict watchlog_next(struct watchlog *w, struct watch_cursor *c,
                                 const struct watch_filter *f, struct watch_event *ret);

void watchlog_listen(struct watchlog *w, struct watch_listener *l);
void watchlog_unlisten(struct watchlog *w, struct watch_listener *l); /* fine if not listening */
