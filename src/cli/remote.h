/* remote.h -- calls of the API, blocking, with its errors turned into ours.
 *
 * Receives targets made by remote_target(). Emits trees, or an error whose code exits.h understands and
 * whose text names what the server said. Refuses answers over `api answer` bounds (64 MiB).
 */
#pragma once

#include "cli/cli.h"
#include "codec/json.h"

enum { REMOTE_BODY_BYTES_MAX = 64 << 20, REMOTE_TIMEOUT_MS = 30000, REMOTE_COMPLETE_MS = 300 };

/* Literal, segment, literal, segment, …, NULL: segments are percent-encoded. The caller frees. */
char *remote_target(const char *literal, ...) __attribute__((sentinel));

int remote_get(struct cli *c, const char *target, json_t **ret, struct err *e) MUST_USE;
/* As the server would show it in columns (a Table of meta.k8s.io/v1). */
int remote_get_table(struct cli *c, const char *target, json_t **ret, struct err *e) MUST_USE;
/* body NULL: none. ret NULL: not wanted. */
int remote_send(struct cli *c, const char *method, const char *target, const json_t *body,
                json_t **ret, struct err *e) MUST_USE;
int remote_merge(struct cli *c, const char *target, const json_t *patch, struct err *e) MUST_USE; /* RFC 7396 */
/* An answer as it came, whatever its status; the caller ends it with http_client_answer_done(). */
struct http_client_answer;
int remote_raw(struct cli *c, const char *method, const char *target, uint32_t timeout_ms, struct http_client_answer *ret,
               struct err *e) MUST_USE;
/* A short call for completion: no error is worth reporting. NULL: none. */
json_t *remote_peek(struct cli *c, const char *target);

/* A service of the chosen namespace; where there is none, the error names the nearest. */
int remote_service(struct cli *c, const char *name, json_t **ret, struct err *e) MUST_USE;
void remote_suggest_service(struct cli *c, const char *name, struct err *e);

/* Where functions are called: HOB_INGRESS, or what the server says. The caller frees. */
int remote_ingress(struct cli *c, char **ret, struct err *e) MUST_USE;

/* Fills e from an answer >= 400: Kubernetes Status, problem+json, or plain text. */
int remote_error(int status, struct str body, const struct limits *l, struct err *e);

#define REMOTE_KNATIVE "/apis/serving.knative.dev/v1"
