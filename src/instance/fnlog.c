#include "instance/fnlog.h"

#include <stdio.h>
#include <time.h>

void fnlog_init(struct fnlog *l, size_t bytes_max)
{
    *l = (struct fnlog){ 0 };
    buf_init(&l->ring, bytes_max);
    list_init(&l->followers);
}

void fnlog_done(struct fnlog *l)
{
    for (struct list_node *n; (n = list_first(&l->followers)) != NULL;) {
        struct fnlog_follower *f = CONTAINER_OF(n, struct fnlog_follower, node);
        f->on_close(f); /* unfollows, and may free it */
        ASSERT(list_first(&l->followers) != n);
    }
    buf_done(&l->ring);
}

static void forget_oldest(struct fnlog *l, size_t want)
{
    while (l->ring.size > 0 && l->ring.size + want > l->ring.max) {
        struct str rest = buf_str(&l->ring);
        size_t line = str_cut(&rest, '\n').size + 1;
        line = MIN(line, l->ring.size);
        buf_consume(&l->ring, line);
        l->forgotten_bytes += line;
    }
}

void fnlog_line(struct fnlog *l, int64_t wall_ms, const char *instance, struct str text)
{
    char stamp[32];
    struct tm tm;
    time_t seconds = (time_t)(wall_ms / 1000);
    gmtime_r(&seconds, &tm);
    size_t used = strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(stamp + used, sizeof stamp - used, ".%03dZ", (int)(wall_ms % 1000));

    size_t size = strlen(stamp) + strlen(instance) + text.size + 3;
    if (size > l->ring.max)
        return;
    forget_oldest(l, size);
    size_t before = l->ring.size;
    buf_printf(&l->ring, "%s %s ", stamp, instance);
    buf_str_append(&l->ring, text);
    buf_text(&l->ring, "\n");
    ASSERT(!l->ring.overflow);
    l->lines++;
    struct str line = str_from(buf_str(&l->ring), before);
    LIST_EACH(&l->followers, n, tmp) {
        struct fnlog_follower *f = CONTAINER_OF(n, struct fnlog_follower, node);
        f->on_line(f, line);
    }
}

struct str fnlog_tail(const struct fnlog *l, uint32_t lines)
{
    struct str all = buf_str(&l->ring);
    size_t at = all.size;
    while (at > 0) {
        if (all.at[at - 1] == '\n' && lines-- == 0)
            break;
        at--;
    }
    return str_from(all, at);
}

void fnlog_follow(struct fnlog *l, struct fnlog_follower *f) { list_push(&l->followers, &f->node); }

void fnlog_unfollow(struct fnlog *l, struct fnlog_follower *f)
{
    if (list_node_linked(&f->node))
        list_remove(&l->followers, &f->node);
}
