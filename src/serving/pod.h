/* pod.h -- the rules of spec.template.spec that join fields: containers, ports, probes, volumes.
 *
 * Receives the pod part of a manifest after manifest_apply() found nothing wrong with its types.
 * pod_default() completes it as Knative's webhook does (`probed` false: without a readiness probe that was not asked for); pod_check() says what Knative's would refuse,
 * and what hob cannot do yet. Pure.
 */
#pragma once

#include "codec/json.h"
#include "serving/refusals.h"

#define POD_PATH "spec.template.spec"

void pod_default(json_t *pod, bool probed);
void pod_check(const json_t *pod, const struct limits *l, struct refusals *refused,
               struct refusals *warnings);

enum pod_reference {
    POD_REFERENCE_LOCAL,    /* file:///… */
    POD_REFERENCE_WEB,      /* http(s)://… */
    POD_REFERENCE_REGISTRY, /* host/name:tag: not yet */
    POD_REFERENCE_BAD,      /* e says why */
};
enum pod_reference pod_reference_parse(const char *text, bool *ret_pinned, struct err *e);
