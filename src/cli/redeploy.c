#include "cli/redeploy.h"

#include "cli/objects.h"
#include "cli/remote.h"

#include <stdio.h>
#include <time.h>

enum { MARK_BYTES_MAX = 4096 };

const char *redeploy_digest(const char *pinned, const char *was, const char *now, bool failed)
{
    bool differs = pinned[0] ? strcmp(pinned, now) != 0 : failed && strcmp(was, now) != 0;
    if (now[0] && differs)
        return now;
    return was[0] ? was : NULL;
}

static json_t *containers_of(const json_t *service)
{
    return json_at(service, "spec.template.spec.containers");
}

static const char *mark_of(const json_t *service, const char *key)
{
    return object_annotation(json_at(service, "spec.template"), key);
}

static void mark(json_t *service, const char *key, const char *value)
{
    json_t *template = json_at(service, "spec.template");
    if (!json_is_object(json_object_get(template, "metadata")))
        json_object_set_new(template, "metadata", json_object());
    json_t *metadata = json_object_get(template, "metadata");
    if (!json_is_object(json_object_get(metadata, "annotations")))
        json_object_set_new(metadata, "annotations", json_object());
    json_object_set_new(json_object_get(metadata, "annotations"), key, json_string(value));
}

static bool is_unpinned_folder(const char *image)
{
    return str_starts(str_of(image), STR("file://")) && !strstr(image, "@sha256:");
}

/* Another image makes a new Revision by itself, and old marks would be about something else. */
static bool same_images(const json_t *old, const json_t *service)
{
    const json_t *was = containers_of(old), *now = containers_of(service);
    if (json_array_size(was) != json_array_size(now))
        return false;
    for (size_t i = 0; i < json_array_size(now); i++)
        if (strcmp(object_text(json_array_get(was, i), "image"), object_text(json_array_get(now, i), "image")) != 0)
            return false;
    return true;
}

/* "" until its first start. */
static const char *pinned_of(const json_t *revision, size_t index)
{
    const char *name = object_text(json_array_get(json_at(revision, "spec.containers"), index), "name");
    json_t *one;
    size_t i;
    json_array_foreach(json_at(revision, "status.containerStatuses"), i, one)
        if (strcmp(object_text(one, "name"), name) == 0)
            return object_text(one, "imageDigest");
    return "";
}

/* What lies there now; NULL: nobody could tell, and that was said. */
static json_t *look(struct cli *c, const char *image)
{
    AUTO_FREE char *target = remote_target("/v1/resolve?kind=image&reference=", image, NULL);
    json_t *answer = NULL;
    struct err e = { 0 };
    if (remote_send(c, "POST", target, NULL, &answer, &e) == 0)
        return answer;
    cli_note(c, "whether %s changed could not be looked at: %s", image, e.text);
    return NULL;
}

struct folders {
    struct buf pinned, now; /* digests of the unpinned ones, with commas between */
    bool all_pinned, all_seen;
    const char *one; /* that changed, or was not known: for the remark */
};

static void digest_append(struct buf *b, const char *digest)
{
    buf_printf(b, "%s%s", b->size ? "," : "", digest);
}

static void folder_look(struct cli *c, const json_t *revision, size_t index, const char *image, struct folders *f)
{
    AUTO_JSON json_t *answer = look(c, image);
    const char *pinned = pinned_of(revision, index), *now = object_text(answer, "digest");
    digest_append(&f->pinned, pinned);
    digest_append(&f->now, now);
    f->all_pinned &= pinned[0] != '\0';
    f->all_seen &= now[0] != '\0';
    if (!f->one || strcmp(pinned, now) != 0)
        f->one = image;
}

static void folders_mark(struct cli *c, const json_t *old, const json_t *revision, json_t *service)
{
    struct folders f = { .all_pinned = true, .all_seen = true };
    const json_t *containers = containers_of(service);
    const char *was = mark_of(old, REDEPLOY_DIGEST);
    buf_init(&f.pinned, MARK_BYTES_MAX);
    buf_init(&f.now, MARK_BYTES_MAX);
    for (size_t i = 0; i < json_array_size(containers); i++)
        if (is_unpinned_folder(object_text(json_array_get(containers, i), "image")))
            folder_look(c, revision, i, object_text(json_array_get(containers, i), "image"), &f);
    AUTO_FREE char *pinned = buf_take_text(&f.pinned), *now = buf_take_text(&f.now);
    bool failed = strcmp(object_condition(revision, "Ready").status, "False") == 0;
    const char *wanted = redeploy_digest(f.all_pinned ? pinned : "", was, f.all_seen ? now : "", failed);
    if (!wanted)
        return;
    mark(service, REDEPLOY_DIGEST, wanted);
    if (strcmp(wanted, was) != 0)
        cli_note(c, "%s is not what %s %s: a new revision", f.one, object_text(revision, "metadata.name"),
                 f.all_pinned ? "runs" : "could not start with");
}

static void time_mark(json_t *service)
{
    char text[40];
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    size_t used = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + used, sizeof text - used, ".%03dZ", (int)(now.tv_nsec / 1000000));
    mark(service, REDEPLOY_TIME, text);
}

void redeploy_mark(struct cli *c, const json_t *old, json_t *service, bool force)
{
    const char *newest = object_text(old, "status.latestCreatedRevisionName");
    if (!json_is_object(json_at(service, "spec.template")))
        return; /* the server says what is wrong with it */
    if (force) {
        time_mark(service);
        return;
    }
    if (!newest[0] || !same_images(old, service))
        return;
    if (mark_of(old, REDEPLOY_TIME)[0] && !mark_of(service, REDEPLOY_TIME)[0])
        mark(service, REDEPLOY_TIME, mark_of(old, REDEPLOY_TIME));
    AUTO_FREE char *target = remote_target(REMOTE_KNATIVE "/namespaces/", object_text(old, "metadata.namespace"),
                                           "/revisions/", newest, NULL);
    AUTO_JSON json_t *revision = NULL;
    struct err e = { 0 };
    if (remote_get(c, target, &revision, &e) < 0) {
        cli_note(c, "what %s pinned could not be looked at: %s", newest, e.text);
        return;
    }
    if (!mark_of(service, REDEPLOY_DIGEST)[0])
        folders_mark(c, old, revision, service);
}
