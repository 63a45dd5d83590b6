/* children.h -- the launcher's two children, the node and the fetcher: forked, watched, started again.
 *
 * Receives what each is to run. Owns their processes: they end with it, and with the launcher. Emits on_link with our end of
 * a packet socket whose other end the child has, and on_ended with the status. Refuses nothing: one that could not be started
 * is tried again after a pause, which doubles for one that keeps ending. Who is wanted is the caller's to say. Loop thread,
 * in a process of one thread. */
#pragma once

#include "os/loop.h"

enum child_role { CHILD_NODE, CHILD_FETCHER, CHILDREN };
const char *children_name(enum child_role role);

struct children;
struct children_events {
    void (*run)(void *ctx, enum child_role role, int link_fd); /* in the child; must exec or _exit */
    int (*on_link)(void *ctx, enum child_role role, int take_fd, struct err *e); /* negative: the child is killed */
    bool (*wanted)(void *ctx, enum child_role role); /* asked when a pause is over */
    void (*on_ended)(void *ctx, enum child_role role, int status); /* may start, restart or kill any */
};
/* `events` must outlive it. */
struct children *children_new(struct loop *l, const struct children_events *events, void *ctx);
void children_free(struct children *k); /* kills, without a word */
DEFINE_AUTO(children, struct children *, children_free)

void children_start(struct children *k, enum child_role role);   /* nothing if it runs */
void children_restart(struct children *k, enum child_role role); /* after a pause */
void children_kill(struct children *k, enum child_role role);    /* on_ended follows, if it runs; and no restart */
bool children_run(const struct children *k, enum child_role role);
