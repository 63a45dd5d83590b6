/* native_pod.h -- a pod of the native tier: the shell it was made around, its volumes, and who waits to join it.
 *
 * Receives the sizes of its volumes. Owns nothing but its place in the queue: the shell has the volumes. Emits on_open or
 * on_failed, once. Refuses more volumes than a packet carries, and whoever comes when its shell is gone. */
#pragma once

#include "sandbox/native_impl.h"

struct native_shell;

struct sandbox_pod {
    struct native *owner;
    struct list_node node; /* in pods_waiting */
    const struct sandbox_pod_events *events;
    void *ctx;
    char name[PROTOCOL_NAME_MAX];
    uint64_t volume_bytes[PROTOCOL_VOLUMES_MAX];
    uint32_t volume_count;
    struct native_shell *shell; /* NULL: waits for it, or it ended */
    struct list waiting;     /* struct sandbox: wait for a shell that joins */
    bool pool_hit, told;
    struct err why;
    struct loop_task tell_task;
};

int native_pod_open(struct sandbox_tier *tier, const struct sandbox_pod_spec *spec, const struct sandbox_pod_events *events,
                    void *ctx, struct sandbox_pod **ret, struct err *e) MUST_USE;
void native_pod_free(struct sandbox_pod *p);

void native_pod_take(struct sandbox_pod *p, struct native_shell *s); /* the shell is the pod's from now on */
void native_pod_refuse(struct sandbox_pod *p, const struct err *e);  /* it waits, and no shell comes */
void native_pod_over(struct sandbox_pod *p); /* its shell is gone: there is nothing left to join */
/* Puts sb into the pod's own shell, or asks for one that joins it. */
int native_pod_place(const struct sandbox_spec *spec, struct sandbox *sb, struct err *e) MUST_USE;
/* A shell that joined the one with the id `beside`: to the first that waits for it. */
void native_pod_give(struct native *t, struct native_shell *s, uint64_t beside);
void native_pod_on_volumes(struct native *t, const struct notice *n, struct fd_packet *p);
