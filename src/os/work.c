#include "os/work.h"
#include "os/fault.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct work_pool {
    struct loop *loop;
    struct loop_io io;
    int event_fd;
    char name[16];
    uint32_t waiting_max, waiting; /* loop thread only */
    uint32_t thread_count;
    pthread_t *threads;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wake;
    struct list todo, done;
    bool stopping;
};

static struct work *next_job(struct work_pool *p)
{
    while (p->todo.count == 0 && !p->stopping)
        pthread_cond_wait(&p->wake, &p->lock);
    if (p->stopping)
        return NULL;
    struct list_node *n = list_first(&p->todo);
    list_remove(&p->todo, n);
    return CONTAINER_OF(n, struct work, node);
}

static void *helper_main(void *arg)
{
    struct work_pool *p = arg;
    const uint64_t one = 1;
    (void)pthread_setname_np(pthread_self(), p->name);
    pthread_mutex_lock(&p->lock);
    for (struct work *w; (w = next_job(p)) != NULL;) {
        pthread_mutex_unlock(&p->lock);
        w->run(w);
        pthread_mutex_lock(&p->lock);
        w->submitted = false;
        list_push(&p->done, &w->node);
        (void)!write(p->event_fd, &one, sizeof one);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static struct work *done_take(struct work_pool *p)
{
    pthread_mutex_lock(&p->lock);
    struct list_node *n = list_first(&p->done);
    if (n)
        list_remove(&p->done, n);
    pthread_mutex_unlock(&p->lock);
    return n ? CONTAINER_OF(n, struct work, node) : NULL;
}

static void done_drain(struct work_pool *p)
{
    for (struct work *w; (w = done_take(p)) != NULL;) {
        ASSERT(p->waiting > 0);
        p->waiting--;
        w->on_done(w);
    }
}

static void on_event(struct loop_io *io, uint32_t events)
{
    struct work_pool *p = CONTAINER_OF(io, struct work_pool, io);
    uint64_t count;
    (void)events;
    (void)!read(p->event_fd, &count, sizeof count);
    done_drain(p);
}

/* Helpers take no signals: those belong to the loop thread. */
static int threads_start(struct work_pool *p, uint32_t threads, struct err *e)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = 0;
    while (p->thread_count < threads && failed == 0) {
        failed = fault_hit("thread")
                     ? EAGAIN
                     : pthread_create(&p->threads[p->thread_count], NULL, helper_main, p);
        p->thread_count += failed == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = failed;
    return failed ? err_sys(e, "start %s thread", p->name) : 0;
}

int work_pool_open(struct loop *l, const char *name, uint32_t threads, uint32_t waiting_max,
                   struct work_pool **ret, struct err *e)
{
    ASSERT(threads > 0);
    AUTO(work_pool) struct work_pool *p = xcalloc(1, sizeof *p);
    p->loop = l;
    p->waiting_max = waiting_max;
    p->threads = xcalloc(threads, sizeof *p->threads);
    snprintf(p->name, sizeof p->name, "%s", name);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    list_init(&p->todo);
    list_init(&p->done);

    p->event_fd = fault_hit("eventfd") ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (p->event_fd < 0)
        return err_sys(e, "eventfd");
    p->io.on_ready = on_event;
    int r = loop_watch(l, &p->io, p->event_fd, EPOLLIN, e);
    if (r < 0)
        return r;
    r = threads_start(p, threads, e);
    if (r < 0)
        return r;
    *ret = TAKE(p);
    return 0;
}

void work_pool_free(struct work_pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    for (uint32_t i = 0; i < p->thread_count; i++)
        pthread_join(p->threads[i], NULL);
    for (struct list_node *n; (n = list_first(&p->todo)) != NULL;) {
        list_remove(&p->todo, n);
        list_push(&p->done, n);
    }
    done_drain(p);
    loop_unwatch(p->loop, &p->io);
    if (p->event_fd >= 0)
        (void)close(p->event_fd);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    free(p->threads);
    free(p);
}

int work_submit(struct work_pool *p, struct work *w, struct err *e)
{
    ASSERT(w->run && w->on_done && !w->submitted);
    if (p->stopping) /* written on this thread: no lock to read it */
        return err_set(e, CODE_CANCELLED, "%s: closing", p->name);
    if (p->waiting >= p->waiting_max)
        return err_set(e, CODE_EXHAUSTED, "%s: %u jobs wait already", p->name, p->waiting);
    p->waiting++;
    pthread_mutex_lock(&p->lock);
    w->submitted = true;
    list_push(&p->todo, &w->node);
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->lock);
    return 0;
}

uint32_t work_waiting(const struct work_pool *p) { return p->waiting; }
