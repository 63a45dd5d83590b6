#include "serving/asked.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

void asked_answer(struct list *open, struct catalog_request *q, int r, const struct catalog_item *item,
                  const struct err *e)
{
    struct service_draft draft;
    list_remove(open, &q->open_node);
    json_decref(TAKE(q->take_body));
    draft = q->draft;
    q->on_done(q, r, item, e); /* may free q */
    service_draft_done(&draft);
}

void asked_refuse(struct list *open, struct catalog_request *q, enum code code, const char *fmt, ...)
{
    struct err e;
    char text[sizeof e.text];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    asked_answer(open, q, err_set(&e, code, "%s", text), NULL, &e);
}

void asked_again(struct loop *l, struct list *waiting)
{
    LIST_EACH(waiting, n, tmp) {
        struct catalog_request *q = CONTAINER_OF(n, struct catalog_request, node);
        list_remove(waiting, n);
        loop_defer(l, &q->task);
    }
}

/* ---- preconditions ---- */

static int uid_check(const char *want, const char *uid, struct err *e)
{
    if (!want || !*want || strcmp(want, uid) == 0)
        return 0;
    return err_set(e, CODE_ABORTED, "Precondition failed: UID in precondition: %.64s, UID in object meta: %s",
                   want, uid);
}

int asked_check_change(const json_t *becomes, const char *uid, int64_t version, struct err *e)
{
    const char *want = json_text_at(becomes, "metadata.resourceVersion");
    uint64_t n;
    if (want && *want && (!str_u64(str_of(want), &n) || (int64_t)n != version))
        return err_set(e, CODE_ABORTED,
                       "the object has been modified; please apply your changes to the latest version "
                       "and try again");
    return uid_check(json_text_at(becomes, "metadata.uid"), uid, e);
}

int asked_check_delete(const struct catalog_request *q, const char *uid, int64_t version, struct err *e)
{
    int r = uid_check(q->uid, uid, e);
    if (r < 0 || !q->version || q->version == version)
        return r;
    return err_set(e, CODE_ABORTED,
                   "Precondition failed: ResourceVersion in precondition: %lld, ResourceVersion in object "
                   "meta: %lld",
                   (long long)q->version, (long long)version);
}

/* ---- what makes an object new ---- */

void asked_random(uint8_t *into, size_t size)
{
    ssize_t n = getrandom(into, size, 0); /* up to 256 bytes never come in part, nor fail */
    ASSERT(n == (ssize_t)size);
}

void asked_stamp(struct object_stamp *s, const char *user)
{
    uint8_t random[10];
    asked_random(random, sizeof random);
    s->now_ms = loop_wall_ms();
    s->user = user;
    const struct uuid id = uuid_v7(s->now_ms, random);
    uuid_format(&id, s->uid);
}

void asked_name_end(char into[ASKED_NAME_END])
{
    static const char letters[] = "bcdfghjklmnpqrstvwxz2456789";
    uint8_t random[ASKED_NAME_END - 1];
    asked_random(random, sizeof random);
    for (size_t i = 0; i < sizeof random; i++)
        into[i] = letters[random[i] % (sizeof letters - 1)];
    into[sizeof random] = '\0';
}
