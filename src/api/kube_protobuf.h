/* kube_protobuf.h -- the core kinds as kubectl's typed commands send them ("create configmap"). Pure.
 *
 * Receives application/vnd.kubernetes.protobuf: the four bytes "k8s\0", then a runtime.Unknown around one Namespace,
 * ConfigMap or Secret. Emits the tree that the same object is in JSON. Refuses (CODE_INVALID) other kinds, what is cut
 * short or does not fit its type, text that is not UTF-8, and more than json_nodes_max values. Fields that only a
 * server sets are passed over. Answers are JSON always: every client that sends this accepts that.
 */
#pragma once

#include "codec/json.h"

#define KUBE_PROTOBUF_TYPE "application/vnd.kubernetes.protobuf"

int kube_protobuf_read(struct str text, const struct limits *l, json_t **ret, struct err *e) MUST_USE;
