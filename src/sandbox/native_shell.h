/* native_shell.h -- the node's end of a shell that the launcher made; and how many are to lie ready.
 *
 * Receives the notice that offers one. Owns its control socket, its usage files, and the sockets and volumes not handed out
 * yet. Emits the sandbox's start or why there was none, and to the launcher the pool's size. Refuses a notice that is not
 * whole. */
#pragma once

#include "sandbox/native_impl.h"

struct sandbox;
struct sandbox_pod;

enum {
    SOCKETS_KEPT_MAX = 64,   /* per sandbox */
};

/* One that the launcher made; idle, or with a sandbox in it, or with nobody left to tell. */
struct native_shell {
    struct native *owner;
    struct list_node node; /* in ready */
    uint64_t id;
    int control_fd, cpu_fd, memory_fd;
    int sockets[SOCKETS_KEPT_MAX];
    size_t socket_count;
    bool sockets_asked;
    struct loop_io control_io;
    struct sandbox *sandbox; /* NULL: idle, or freed by its owner */
    struct sandbox_pod *pod; /* that it was taken for; NULL: none */
    bool joined;             /* made for another's pod */
    int volumes[PROTOCOL_VOLUMES_MAX];
    uint32_t volume_count;
};

/* Takes what it needs of the packet; it is in the map afterwards, and nobody's. */
int native_shell_open(struct native *t, const struct notice *n, struct fd_packet *p, struct native_shell **ret,
                      struct err *e) MUST_USE;
void native_shell_free(struct native_shell *s); /* its pod hears of it */

/* Puts sb into s. False: s was dead already (its end is on the way), and sb is as before. Whatever
 * else fails is told by on_ended. */
bool native_shell_use(struct native_shell *s, struct sandbox *sb) MUST_USE;
void native_shell_give(struct native_shell *s, struct list_node *first); /* to the first sandbox of a list that waits */
/* The exec, or the word why not, is older than the shell's end: it is in the socket already. */
void native_shell_hear_out(struct native_shell *s);
void native_shell_sockets_ask(struct native_shell *s);
int native_shell_socket(struct native_shell *s, struct err *e) MUST_USE; /* asks for more before it has none */
void native_shell_on_sockets(struct native *t, const struct notice *n, struct fd_packet *p);

/* How many lie ready follows what came at once lately (demand.h). */
void native_shell_pool_open(struct native *t);
void native_shell_pool_expect(struct native *t, uint32_t functions);
