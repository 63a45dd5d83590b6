#include "cli/objects.h"

#include <stdio.h>
#include <time.h>

const char *object_text(const json_t *j, const char *path)
{
    const char *text = json_text_at(j, path);
    return text ? text : "";
}

const char *object_label(const json_t *j, const char *key)
{
    const char *text = json_text_key(j, "metadata.labels", key);
    return text ? text : "";
}

const char *object_annotation(const json_t *j, const char *key)
{
    const char *text = json_text_key(j, "metadata.annotations", key);
    return text ? text : "";
}

const char *object_time(const struct cli *c, const char *rfc3339, char into[HUMAN_TEXT])
{
    int64_t ms;
    if (c->out_term.tty && human_rfc3339_parse(str_of(rfc3339), &ms))
        return human_age((int64_t)time(NULL) - ms / 1000, into);
    snprintf(into, HUMAN_TEXT, "%s", rfc3339);
    return into;
}

const char *object_age(const struct cli *c, const json_t *j, char into[HUMAN_TEXT])
{
    return object_time(c, object_text(j, "metadata.creationTimestamp"), into);
}

/* Of all targets together that name it: a Revision may stand in the traffic more than once. */
static int64_t share_of(const json_t *traffic, const char *revision)
{
    int64_t percent = 0;
    json_t *one;
    size_t i;
    json_array_foreach(traffic, i, one)
        if (strcmp(object_text(one, "revisionName"), revision) == 0)
            percent += json_int_at(one, "percent", 0);
    return percent;
}

static bool named_before(const json_t *traffic, size_t index)
{
    const char *name = object_text(json_array_get(traffic, index), "revisionName");
    for (size_t k = 0; k < index; k++)
        if (strcmp(object_text(json_array_get(traffic, k), "revisionName"), name) == 0)
            return true;
    return false;
}

const char *object_serving(const json_t *service, char into[OBJECT_SERVING])
{
    const json_t *traffic = json_at(service, "status.traffic");
    size_t used = 0;
    json_t *one;
    size_t i;
    into[0] = '\0';
    json_array_foreach(traffic, i, one) {
        const char *name = object_text(one, "revisionName");
        int64_t percent = share_of(traffic, name);
        if (percent <= 0 || named_before(traffic, i))
            continue;
        if (percent >= 100)
            used += (size_t)snprintf(into + used, OBJECT_SERVING - used, "%s", name);
        else
            used += (size_t)snprintf(into + used, OBJECT_SERVING - used, "%s%s %lld%%", used ? ", " : "", name,
                                     (long long)percent);
        if (used >= OBJECT_SERVING)
            break; /* cut; describe shows them one by one */
    }
    if (!into[0])
        snprintf(into, OBJECT_SERVING, "%s", object_text(service, "status.latestReadyRevisionName"));
    return into;
}

const char *object_scale(const json_t *service, char into[HUMAN_TEXT])
{
    const json_t *template = json_at(service, "spec.template");
    const char *min = object_annotation(template, "autoscaling.knative.dev/min-scale");
    const char *max = object_annotation(template, "autoscaling.knative.dev/max-scale");
    snprintf(into, HUMAN_TEXT, "%s..%s", min[0] ? min : "0", max[0] && max[0] != '0' ? max : "any");
    return into;
}

struct object_condition object_condition_at(const json_t *j)
{
    struct object_condition c = {
        .status = object_text(j, "status"),
        .reason = object_text(j, "reason"),
        .message = object_text(j, "message"),
        .since = object_text(j, "lastTransitionTime"),
        .style = STYLE_WARN,
    };
    if (strcmp(c.status, "True") == 0)
        c.style = STYLE_GOOD;
    else if (strcmp(c.status, "False") == 0)
        c.style = STYLE_BAD;
    return c;
}

struct object_condition object_condition(const json_t *j, const char *type)
{
    json_t *one;
    size_t i;
    json_array_foreach(json_at(j, "status.conditions"), i, one)
        if (strcmp(object_text(one, "type"), type) == 0)
            return object_condition_at(one);
    return (struct object_condition){ "Unknown", "", "", "", STYLE_WARN };
}
