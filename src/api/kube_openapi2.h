/* kube_openapi2.h -- the OpenAPI v2 document as old clients of Kubernetes want it: in protocol buffers. Pure.
 *
 * Receives the document as a JSON tree of ours. Emits the same as an openapi.v2.Document (gnostic's schema of OpenAPI,
 * which kubectl before 1.27 reads and nothing else): it finds there whether dry runs are served and what `explain` says.
 * What that schema has no field for is left out; what of a tree is not in its place (a text where an object belongs),
 * too. Refuses nothing.
 */
#pragma once

#include "base/buf.h"
#include "codec/json.h"

#define KUBE_OPENAPI2_TYPE "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

void kube_openapi2_write(const json_t *document, struct buf *into);
