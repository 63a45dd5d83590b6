/* stock.h -- the launcher's shells: made ahead, offered to the node, joined to pods, ended with the node they were made for.
 *
 * Receives the node's requests about shells, already checked in form (protocol.h). Owns every shell and the uid range of each
 * (its slot). Emits notices, and on_ended when one fewer is left. Refuses more sandboxes than instances_max + the pool's
 * largest size, a pool larger than sandbox_pool_max, more in a pod than PROTOCOL_JOINED_MAX. Loop thread. */
#pragma once

#include "base/limits.h"
#include "sandbox/protocol.h"
#include "sandbox/shell.h"

struct stock;

struct stock_config {
    const struct limits *limits; /* must outlive it, as the maker */
    struct shell_maker *maker;   /* complete but for its callbacks, which are the stock's */
    void (*notify)(void *ctx, const struct notice *n, int *take_fds, size_t count);
    void (*on_ended)(void *ctx); /* stock_is_empty() says whether it was the last */
    void *ctx;
};
struct stock *stock_new(const struct stock_config *c);
void stock_free(struct stock *k); /* waits for the kernel to end what is left */
DEFINE_AUTO(stock, struct stock *, stock_free)

void stock_serve(struct stock *k);  /* a node is there: the pool is filled from now on */
void stock_pause(struct stock *k);  /* nobody listens: nothing is made */
void stock_forget(struct stock *k); /* that node is gone, and what it had goes with it */
void stock_end(struct stock *k);    /* all are killed, and none is made any more */
bool stock_is_empty(const struct stock *k);

/* Of the types about shells. Negative: the node is not to be trusted. */
int stock_request(struct stock *k, const struct request *q, struct err *e) MUST_USE;
