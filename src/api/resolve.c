#include "api/resolve.h"

#include "api/admin.h"
#include "base/list.h"
#include "codec/json.h"

#include <stdio.h>
#include <stdlib.h>

struct resolve_desk {
    const struct limits *limits;
    struct artifact_store *artifacts;
    struct list asked; /* struct question */
};

struct question {
    struct list_node node;
    struct resolve_desk *desk;
    struct http_call *call;
    struct artifact_use *use;
    char digest[80], reference[512];
};

static void question_free(struct question *q)
{
    list_remove(&q->desk->asked, &q->node);
    artifact_use_free(q->use);
    free(q);
}

static void on_present(struct artifact_use *u, const char *path, const char *digest)
{
    struct question *q = artifact_use_ctx(u);
    (void)path;
    snprintf(q->digest, sizeof q->digest, "%s", digest);
}

static void on_verified(struct artifact_use *u)
{
    struct question *q = artifact_use_ctx(u);
    struct http_call *c = q->call;
    struct buf b;
    AUTO_JSON json_t *j = json_pack("{s:s, s:s, s:I}", "reference", q->reference, "digest", q->digest, "sizeBytes",
                                    (json_int_t)artifact_use_facts(u)->size_bytes);
    question_free(q);
    buf_init(&b, KIB(8));
    json_write(j, &b);
    http_answer(c, 200, "application/json", NULL, buf_str(&b));
    buf_done(&b);
}

static void on_failed(struct artifact_use *u, enum phase at, bool retryable, const struct err *e)
{
    struct question *q = artifact_use_ctx(u);
    struct http_call *c = q->call;
    const struct err why = *e;
    (void)at;
    (void)retryable;
    question_free(q);
    admin_refuse(c, &why);
}

static int reference_take(struct http_call *c, char *into, size_t size, struct err *e)
{
    struct str text = http_call_param(c, "reference");
    if (!text.at || !str_starts(text, STR("file://")) || text.size >= size || memchr(text.at, '\0', text.size))
        return err_set(e, CODE_INVALID, "reference: want file:// and a path of at most %zu bytes", size - 1);
    if (memmem(text.at, text.size, "@sha256:", 8))
        return err_set(e, CODE_INVALID, "reference: it names its digest already");
    snprintf(into, size, STR_FMT, STR_ARG(text));
    return 0;
}

int resolve_ask(struct resolve_desk *d, struct http_call *c, struct err *e)
{
    struct str kind = http_call_param(c, "kind");
    bool model = kind.at && str_is(kind, "model");
    if (kind.at && !model && !str_is(kind, "image"))
        return err_set(e, CODE_INVALID, "kind: want image or model");
    if (d->asked.count >= d->limits->api_resolves_max)
        return err_set(e, CODE_EXHAUSTED, "%u references are read already (limit api_resolves_max)", d->asked.count);
    struct question *q = xcalloc(1, sizeof *q);
    const struct artifact_request request = {
        .kind = model ? ARTIFACT_MODEL : ARTIFACT_BUNDLE,
        .reference = q->reference,
        .on_present = on_present,
        .on_verified = on_verified,
        .on_failed = on_failed,
        .ctx = q,
    };
    *q = (struct question){ .desk = d, .call = c };
    int r = reference_take(c, q->reference, sizeof q->reference, e);
    if (r == 0)
        r = artifact_use_start(d->artifacts, &request, &q->use, e);
    if (r < 0) {
        free(q);
        return r;
    }
    list_push(&d->asked, &q->node);
    return 0;
}

struct resolve_desk *resolve_desk_new(const struct limits *limits, struct artifact_store *artifacts)
{
    struct resolve_desk *d = xcalloc(1, sizeof *d);
    d->limits = limits;
    d->artifacts = artifacts;
    list_init(&d->asked);
    return d;
}

void resolve_desk_free(struct resolve_desk *d)
{
    if (!d)
        return;
    LIST_EACH(&d->asked, n, tmp)
        question_free(CONTAINER_OF(n, struct question, node));
    free(d);
}
