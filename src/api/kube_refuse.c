#include "api/kube_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void kube_refuse_with(struct http_call *c, int code, const char *reason, const char *message)
{
    kube_refuse(c, &(struct kube_refusal){ .code = code, .reason = reason, .message = message });
}

void kube_refuse_not_found(struct http_call *c, const struct kube_resource *r, const char *name)
{
    AUTO_FREE char *message = xasprintf("%s \"%s\" not found", r->full, name);
    kube_refuse(c, &(struct kube_refusal){ .code = 404,
                                           .reason = "NotFound",
                                           .message = message,
                                           .resource = r,
                                           .name = name });
}

void kube_refuse_method(struct http_call *c, const char *allow)
{
    kube_refuse(c, &(struct kube_refusal){ .code = 405,
                                           .reason = "MethodNotAllowed",
                                           .message = "the server does not allow this method on the "
                                                      "requested resource",
                                           .allow = allow });
}

/* 422 with one cause per field; `rows` hold whole sentences "path: what". */
static void refuse_invalid(struct http_call *c, const struct kube_resource *r, const char *name,
                           struct refusals *why, const char *cause)
{
    struct buf text;
    json_t *causes = json_array();
    buf_init(&text, 1 << 20);
    buf_printf(&text, "%s \"%s\" is invalid: %s", r->full_kind, name, why->count > 1 ? "[" : "");
    for (uint32_t i = 0; i < why->count; i++) {
        const struct refusal_row *row = &why->rows[i];
        size_t skip = strlen(row->path) + 2;
        const char *message = strlen(row->message) > skip ? row->message + skip : row->message;
        buf_printf(&text, "%s%s", i ? ", " : "", row->message);
        (void)json_array_append_new(causes, json_pack("{s:s,s:s,s:s}", "reason", cause, "message", message,
                                                      "field", row->path));
    }
    if (why->count > 1)
        buf_text(&text, "]");
    AUTO_FREE char *message = buf_take_text(&text);
    kube_refuse(c, &(struct kube_refusal){ .code = 422,
                                           .reason = "Invalid",
                                           .message = message,
                                           .resource = r,
                                           .name = name,
                                           .take_causes = causes });
}

static void refuse_unknown(struct http_call *c, const struct kube_resource *r, struct refusals *why)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    buf_printf(&text, "%s in version \"%s\" cannot be handled as a %s: strict decoding error: ", r->name,
               r->version, r->name);
    for (uint32_t i = 0; i < why->count; i++)
        buf_printf(&text, "%s%s", i ? ", " : "", why->rows[i].message);
    AUTO_FREE char *message = buf_take_text(&text);
    kube_refuse_with(c, 400, "BadRequest", message);
}

static void refuse_draft(struct http_call *c, const struct kube_resource *r, const char *name,
                         struct service_draft *d, const struct err *e)
{
    struct buf text;
    switch (d->refusal) {
    case SERVICE_ACCEPTED: kube_refuse_with(c, 400, "BadRequest", e->text); return;
    case SERVICE_UNKNOWN_FIELDS: refuse_unknown(c, r, &d->refused); return;
    case SERVICE_WRONG_TYPES: refuse_invalid(c, r, name, &d->refused, "FieldValueTypeInvalid"); return;
    case SERVICE_WRONG_METADATA: refuse_invalid(c, r, name, &d->refused, "FieldValueInvalid"); return;
    case SERVICE_NOT_VALID: break;
    }
    buf_init(&text, 1 << 20);
    buf_text(&text, "admission webhook \"validation.webhook." SERVING_GROUP
                    "\" denied the request: validation failed: ");
    refusals_text(&d->refused, &text);
    AUTO_FREE char *message = buf_take_text(&text);
    kube_refuse_with(c, 400, "BadRequest", message);
}

static void refuse_conflict(struct http_call *c, const struct kube_resource *r, const char *name,
                            const char *why)
{
    AUTO_FREE char *message = xasprintf(
        "Operation cannot be fulfilled on %s \"%s\": %s", r->full, name, why);
    kube_refuse(c, &(struct kube_refusal){ .code = 409,
                                           .reason = "Conflict",
                                           .message = message,
                                           .resource = r,
                                           .name = name });
}

static void refuse_exists(struct http_call *c, const struct kube_resource *r, const char *name)
{
    AUTO_FREE char *message = xasprintf("%s \"%s\" already exists", r->full, name);
    kube_refuse(c, &(struct kube_refusal){ .code = 409,
                                           .reason = "AlreadyExists",
                                           .message = message,
                                           .resource = r,
                                           .name = name });
}

static void refuse_forbidden(struct http_call *c, const struct kube_resource *r, const char *name,
                             const char *why)
{
    AUTO_FREE char *message = xasprintf("%s \"%s\" is forbidden: %s", r->full, name, why);
    kube_refuse(c, &(struct kube_refusal){ .code = 403,
                                           .reason = "Forbidden",
                                           .message = message,
                                           .resource = r,
                                           .name = name });
}

void kube_refuse_err(struct http_call *c, const struct kube_resource *r, struct catalog_request *q, int code,
                     const struct err *e)
{
    const char *name = q->name;
    struct kube_refusal why = { .message = e->text, .resource = r, .name = name };
    switch (-code) {
    case CODE_INVALID: refuse_draft(c, r, name, &q->draft, e); return;
    case CODE_NOT_FOUND: kube_refuse_not_found(c, r, name); return;
    case CODE_DENIED: refuse_forbidden(c, r, name, e->text); return;
    case CODE_PRECONDITION:
    case CODE_ABORTED: refuse_conflict(c, r, name, e->text); return;
    case CODE_EXISTS: refuse_exists(c, r, name); return;
    case CODE_EXHAUSTED:
        why.code = 429;
        why.reason = "TooManyRequests";
        why.retry_after_s = 1;
        break;
    case CODE_CANCELLED:
    case CODE_UNAVAILABLE:
        why.code = 503;
        why.reason = "ServiceUnavailable";
        why.retry_after_s = 1;
        break;
    default:
        why.code = 500;
        why.reason = "InternalError";
        break;
    }
    kube_refuse(c, &why);
}

void kube_refuse_media(struct http_call *c, const char *accepted)
{
    AUTO_FREE char *message = xasprintf(
        "the body of the request was in an unknown format - accepted media types include: %s", accepted);
    kube_refuse_with(c, 415, "UnsupportedMediaType", message);
}

bool kube_bad_request(struct http_call *c, const char *fmt, ...)
{
    char message[800];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    kube_refuse_with(c, 400, "BadRequest", message);
    return false;
}
