#include "serving/manifest.h"
#include "base/suggest.h"

#include "codec/quantity.h"

#include <stdlib.h>

/* In strcmp order of path, so that a field is found by bisection; a unit test holds it. */
// clang-format off
const struct manifest_row manifest_rows[] = {
    { "apiVersion", MANIFEST_TEXT, MANIFEST_MAY, .meaning = "serving.knative.dev/v1" },
    { "kind", MANIFEST_TEXT, MANIFEST_MAY, .meaning = "Service" },
    { "metadata", MANIFEST_OBJECT, MANIFEST_MAY,
      .meaning = "name, labels and annotations of the Service" },
    { "metadata.annotations", MANIFEST_TEXT_MAP, MANIFEST_MAY,
      .meaning = "see the table of annotations" },
    { "metadata.creationTimestamp", MANIFEST_ANY, MANIFEST_SERVER, .meaning = "written by hob" },
    { "metadata.deletionGracePeriodSeconds", MANIFEST_ANY, MANIFEST_SERVER,
      .meaning = "written by hob" },
    { "metadata.deletionTimestamp", MANIFEST_ANY, MANIFEST_SERVER, .meaning = "written by hob" },
    { "metadata.finalizers", MANIFEST_ANY, MANIFEST_SERVER, .meaning = "written by hob" },
    { "metadata.generateName", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "a prefix; hob appends five characters" },
    { "metadata.generation", MANIFEST_ANY, MANIFEST_SERVER, .meaning = "written by hob" },
    { "metadata.labels", MANIFEST_TEXT_MAP, MANIFEST_MAY,
      .meaning = "copied to its Configuration and Route; found by labelSelector" },
    { "metadata.managedFields", MANIFEST_ANY, MANIFEST_SERVER, .meaning = "written by hob" },
    { "metadata.name", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "a DNS-1035 label; the first part of the host name" },
    { "metadata.namespace", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "must be that of the address it is sent to" },
    { "metadata.ownerReferences", MANIFEST_ANY, MANIFEST_SERVER, .meaning = "written by hob" },
    { "metadata.resourceVersion", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "on replace: the version that is replaced, else 409" },
    { "metadata.selfLink", MANIFEST_ANY, MANIFEST_SERVER, .meaning = "written by hob" },
    { "metadata.uid", MANIFEST_ANY, MANIFEST_SERVER, .meaning = "written by hob" },
    { "spec", MANIFEST_OBJECT, MANIFEST_MAY, .meaning = "what to run and who gets the traffic" },
    { "spec.template", MANIFEST_OBJECT, MANIFEST_MAY,
      .meaning = "of each Revision; a change makes a new Revision" },
    { "spec.template.metadata", MANIFEST_OBJECT, MANIFEST_MAY, .meaning = "of each Revision" },
    { "spec.template.metadata.annotations", MANIFEST_TEXT_MAP, MANIFEST_MAY,
      .meaning = "see the table of annotations" },
    { "spec.template.metadata.creationTimestamp", MANIFEST_ANY, MANIFEST_SERVER,
      .meaning = "ignored in a template" },
    { "spec.template.metadata.deletionGracePeriodSeconds", MANIFEST_ANY, MANIFEST_SERVER,
      .meaning = "ignored in a template" },
    { "spec.template.metadata.deletionTimestamp", MANIFEST_ANY, MANIFEST_SERVER,
      .meaning = "ignored in a template" },
    { "spec.template.metadata.finalizers", MANIFEST_ANY, MANIFEST_SERVER,
      .meaning = "ignored in a template" },
    { "spec.template.metadata.generateName", MANIFEST_ANY, MANIFEST_SERVER,
      .meaning = "ignored in a template" },
    { "spec.template.metadata.generation", MANIFEST_ANY, MANIFEST_SERVER,
      .meaning = "ignored in a template" },
    { "spec.template.metadata.labels", MANIFEST_TEXT_MAP, MANIFEST_MAY,
      .meaning = "labels of the Revision" },
    { "spec.template.metadata.managedFields", MANIFEST_ANY, MANIFEST_SERVER,
      .meaning = "ignored in a template" },
    { "spec.template.metadata.name", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "name of the next Revision; begins with the name of the Service and a dash" },
    { "spec.template.metadata.namespace", MANIFEST_ANY, MANIFEST_SERVER,
      .meaning = "ignored in a template" },
    { "spec.template.metadata.ownerReferences", MANIFEST_ANY, MANIFEST_SERVER,
      .meaning = "ignored in a template" },
    { "spec.template.metadata.resourceVersion", MANIFEST_ANY, MANIFEST_SERVER,
      .meaning = "ignored in a template" },
    { "spec.template.metadata.selfLink", MANIFEST_ANY, MANIFEST_SERVER,
      .meaning = "ignored in a template" },
    { "spec.template.metadata.uid", MANIFEST_ANY, MANIFEST_SERVER,
      .meaning = "ignored in a template" },
    { "spec.template.spec", MANIFEST_OBJECT, MANIFEST_MAY,
      .meaning = "the container, its volumes and its limits" },
    { "spec.template.spec.activeDeadlineSeconds", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.affinity", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.automountServiceAccountToken", MANIFEST_BOOL, MANIFEST_FALSE,
      .meaning = "there are no tokens to mount" },
    { "spec.template.spec.containerConcurrency", MANIFEST_INT, MANIFEST_MAY,
      .min = 0, .max = 1000, .limit = offsetof(struct limits, container_concurrency_max),
      .initial = "0", .meaning = "requests that an instance may have at once; 0: no limit" },
    { "spec.template.spec.containers", MANIFEST_LIST, MANIFEST_MAY, .keys = "name=user-container",
      .meaning = "the function; with several, the one with ports is it, the others run beside it" },
    { "spec.template.spec.containers[]", MANIFEST_OBJECT, MANIFEST_MAY },
    { "spec.template.spec.containers[].args", MANIFEST_TEXTS, MANIFEST_MAY,
      .meaning = "behind the command" },
    { "spec.template.spec.containers[].command", MANIFEST_TEXTS, MANIFEST_MAY,
      .meaning = "instead of the bundle's own" },
    { "spec.template.spec.containers[].env", MANIFEST_LIST, MANIFEST_MAY, .keys = "name",
      .meaning = "environment; PORT, K_SERVICE, K_CONFIGURATION and K_REVISION are reserved" },
    { "spec.template.spec.containers[].envFrom", MANIFEST_LIST, MANIFEST_MAY,
      .meaning = "every key of ConfigMaps and Secrets as a variable; read when an instance starts" },
    { "spec.template.spec.containers[].envFrom[]", MANIFEST_OBJECT, MANIFEST_MAY,
      .meaning = "one of configMapRef and secretRef" },
    { "spec.template.spec.containers[].envFrom[].configMapRef", MANIFEST_OBJECT, MANIFEST_MAY },
    { "spec.template.spec.containers[].envFrom[].configMapRef.name", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "of a ConfigMap of the same namespace" },
    { "spec.template.spec.containers[].envFrom[].configMapRef.optional", MANIFEST_BOOL, MANIFEST_MAY,
      .meaning = "true: it need not be there" },
    { "spec.template.spec.containers[].envFrom[].prefix", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "before each key" },
    { "spec.template.spec.containers[].envFrom[].secretRef", MANIFEST_OBJECT, MANIFEST_MAY },
    { "spec.template.spec.containers[].envFrom[].secretRef.name", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "of a Secret of the same namespace" },
    { "spec.template.spec.containers[].envFrom[].secretRef.optional", MANIFEST_BOOL, MANIFEST_MAY,
      .meaning = "true: it need not be there" },
    { "spec.template.spec.containers[].env[]", MANIFEST_OBJECT, MANIFEST_MAY },
    { "spec.template.spec.containers[].env[].name", MANIFEST_TEXT, MANIFEST_MAY },
    { "spec.template.spec.containers[].env[].value", MANIFEST_TEXT, MANIFEST_MAY },
    { "spec.template.spec.containers[].env[].valueFrom", MANIFEST_OBJECT, MANIFEST_MAY,
      .meaning = "one of configMapKeyRef and secretKeyRef; read when an instance starts" },
    { "spec.template.spec.containers[].env[].valueFrom.configMapKeyRef", MANIFEST_OBJECT, MANIFEST_MAY },
    { "spec.template.spec.containers[].env[].valueFrom.configMapKeyRef.key", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "of its data" },
    { "spec.template.spec.containers[].env[].valueFrom.configMapKeyRef.name", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "of a ConfigMap of the same namespace" },
    { "spec.template.spec.containers[].env[].valueFrom.configMapKeyRef.optional", MANIFEST_BOOL, MANIFEST_MAY,
      .meaning = "true: without the object or the key there is no such variable" },
    { "spec.template.spec.containers[].env[].valueFrom.fieldRef", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.containers[].env[].valueFrom.fileKeyRef", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.containers[].env[].valueFrom.resourceFieldRef", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.containers[].env[].valueFrom.secretKeyRef", MANIFEST_OBJECT, MANIFEST_MAY },
    { "spec.template.spec.containers[].env[].valueFrom.secretKeyRef.key", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "of its data" },
    { "spec.template.spec.containers[].env[].valueFrom.secretKeyRef.name", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "of a Secret of the same namespace" },
    { "spec.template.spec.containers[].env[].valueFrom.secretKeyRef.optional", MANIFEST_BOOL, MANIFEST_MAY,
      .meaning = "true: without the object or the key there is no such variable" },
    { "spec.template.spec.containers[].image", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "file:///folder[@sha256:\xe2\x80\xa6], a bundle of this machine under --file-root" },
    { "spec.template.spec.containers[].imagePullPolicy", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "Always, IfNotPresent or Never; a bundle is read anew when its digest changed" },
    { "spec.template.spec.containers[].lifecycle", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.containers[].livenessProbe", MANIFEST_OBJECT, MANIFEST_MAY,
      .like = "spec.template.spec.containers[].readinessProbe",
      .meaning = "an instance that fails it is replaced; periodSeconds 10 by default" },
    { "spec.template.spec.containers[].name", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "user-container, or user-container-0 and on where there are several, of an init container "
                 "init-container, if none is given; unique; queue-proxy is reserved" },
    { "spec.template.spec.containers[].ports", MANIFEST_LIST, MANIFEST_MAY,
      .keys = "containerPort,protocol=TCP",
      .meaning = "at most one in all containers together; exactly one where there are several" },
    { "spec.template.spec.containers[].ports[]", MANIFEST_OBJECT, MANIFEST_MAY },
    { "spec.template.spec.containers[].ports[].containerPort", MANIFEST_INT, MANIFEST_MAY,
      .meaning = "where the function listens, 0..65535; 0 or absent: 8080; reserved: 8008, 8012, 8013, 8022, 9090, 9091" },
    { "spec.template.spec.containers[].ports[].hostIP", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.containers[].ports[].hostPort", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.containers[].ports[].name", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "empty, http1 or h2c" },
    { "spec.template.spec.containers[].ports[].protocol", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "TCP" },
    { "spec.template.spec.containers[].readinessProbe", MANIFEST_OBJECT, MANIFEST_MAY,
      .meaning = "when an instance gets requests; default of the container that serves: its port accepts; of "
                 "another: it runs" },
    { "spec.template.spec.containers[].readinessProbe.exec", MANIFEST_OBJECT, MANIFEST_MAY,
      .meaning = "exit code 0 passes; it runs beside the function, with its rights and limits" },
    { "spec.template.spec.containers[].readinessProbe.exec.command", MANIFEST_TEXTS, MANIFEST_MAY },
    { "spec.template.spec.containers[].readinessProbe.failureThreshold", MANIFEST_INT, MANIFEST_MAY,
      .meaning = "default 3 when periodSeconds is not 0" },
    { "spec.template.spec.containers[].readinessProbe.grpc", MANIFEST_OBJECT, MANIFEST_MAY,
      .meaning = "grpc.health.v1.Health/Check over h2c; SERVING passes" },
    { "spec.template.spec.containers[].readinessProbe.grpc.port", MANIFEST_INT, MANIFEST_MAY,
      .min = 0, .max = 65535 },
    { "spec.template.spec.containers[].readinessProbe.grpc.service", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "empty: the server as a whole" },
    { "spec.template.spec.containers[].readinessProbe.httpGet", MANIFEST_OBJECT, MANIFEST_MAY,
      .meaning = "200 to 399 passes; redirects within the instance are followed, 10 at most" },
    { "spec.template.spec.containers[].readinessProbe.httpGet.host", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "the Host header; a probe reaches only the instance itself" },
    { "spec.template.spec.containers[].readinessProbe.httpGet.httpHeaders", MANIFEST_LIST, MANIFEST_MAY },
    { "spec.template.spec.containers[].readinessProbe.httpGet.httpHeaders[]", MANIFEST_OBJECT, MANIFEST_MAY },
    { "spec.template.spec.containers[].readinessProbe.httpGet.httpHeaders[].name", MANIFEST_TEXT, MANIFEST_MAY },
    { "spec.template.spec.containers[].readinessProbe.httpGet.httpHeaders[].value", MANIFEST_TEXT, MANIFEST_MAY },
    { "spec.template.spec.containers[].readinessProbe.httpGet.path", MANIFEST_TEXT, MANIFEST_MAY },
    { "spec.template.spec.containers[].readinessProbe.httpGet.port", MANIFEST_PORT, MANIFEST_MAY,
      .meaning = "default: the container's" },
    { "spec.template.spec.containers[].readinessProbe.httpGet.scheme", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "HTTP or HTTPS; the certificate is not verified, as the kubelet does not" },
    { "spec.template.spec.containers[].readinessProbe.initialDelaySeconds", MANIFEST_INT, MANIFEST_MAY },
    { "spec.template.spec.containers[].readinessProbe.periodSeconds", MANIFEST_INT, MANIFEST_MAY,
      .meaning = "0: as often as useful until it is ready, 100 ms for each answer (Knative's aggressive probing); else it is tried all the while" },
    { "spec.template.spec.containers[].readinessProbe.successThreshold", MANIFEST_INT, MANIFEST_MAY,
      .initial = "1" },
    { "spec.template.spec.containers[].readinessProbe.tcpSocket", MANIFEST_OBJECT, MANIFEST_MAY,
      .meaning = "accepting passes" },
    { "spec.template.spec.containers[].readinessProbe.tcpSocket.host", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "empty, localhost or 127.0.0.1" },
    { "spec.template.spec.containers[].readinessProbe.tcpSocket.port", MANIFEST_PORT, MANIFEST_MAY,
      .meaning = "default: the container's" },
    { "spec.template.spec.containers[].readinessProbe.terminationGracePeriodSeconds", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.containers[].readinessProbe.timeoutSeconds", MANIFEST_INT, MANIFEST_MAY,
      .meaning = "default 1 when periodSeconds is not 0" },
    { "spec.template.spec.containers[].resizePolicy", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.containers[].resources", MANIFEST_OBJECT, MANIFEST_MAY, .initial = "{}",
      .meaning = "limits and requests" },
    { "spec.template.spec.containers[].resources.claims", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.containers[].resources.limits", MANIFEST_QUANTITIES, MANIFEST_MAY,
      .meaning = "cpu, memory, ephemeral-storage: hard limits of an instance" },
    { "spec.template.spec.containers[].resources.requests", MANIFEST_QUANTITIES, MANIFEST_MAY,
      .meaning = "at most the limits; without a limit, a request above the default is the limit" },
    { "spec.template.spec.containers[].restartPolicy", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.containers[].restartPolicyRules", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.containers[].securityContext", MANIFEST_OBJECT, MANIFEST_MAY,
      .meaning = "who the function is; it never has capabilities or new privileges" },
    { "spec.template.spec.containers[].securityContext.allowPrivilegeEscalation", MANIFEST_BOOL, MANIFEST_MAY,
      .meaning = "always false; true is a warning" },
    { "spec.template.spec.containers[].securityContext.appArmorProfile", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.containers[].securityContext.capabilities", MANIFEST_OBJECT, MANIFEST_MAY,
      .meaning = "all are dropped always" },
    { "spec.template.spec.containers[].securityContext.capabilities.add", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.containers[].securityContext.capabilities.drop", MANIFEST_TEXTS, MANIFEST_MAY,
      .meaning = "all are dropped always" },
    { "spec.template.spec.containers[].securityContext.privileged", MANIFEST_BOOL, MANIFEST_FALSE,
      .meaning = "always false" },
    { "spec.template.spec.containers[].securityContext.procMount", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.containers[].securityContext.readOnlyRootFilesystem", MANIFEST_BOOL, MANIFEST_MAY,
      .meaning = "always true; false is a warning" },
    { "spec.template.spec.containers[].securityContext.runAsGroup", MANIFEST_INT, MANIFEST_MAY,
      .min = 0, .max = 2147483647, .meaning = "group id; default 65532" },
    { "spec.template.spec.containers[].securityContext.runAsNonRoot", MANIFEST_BOOL, MANIFEST_MAY,
      .meaning = "true refuses runAsUser 0" },
    { "spec.template.spec.containers[].securityContext.runAsUser", MANIFEST_INT, MANIFEST_MAY,
      .min = 0, .max = 2147483647, .meaning = "user id; default 65532" },
    { "spec.template.spec.containers[].securityContext.seLinuxOptions", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.containers[].securityContext.seccompProfile", MANIFEST_OBJECT, MANIFEST_MAY,
      .meaning = "hob's own allow-list is always on" },
    { "spec.template.spec.containers[].securityContext.seccompProfile.localhostProfile", MANIFEST_TEXT, MANIFEST_MAY },
    { "spec.template.spec.containers[].securityContext.seccompProfile.type", MANIFEST_TEXT, MANIFEST_MAY },
    { "spec.template.spec.containers[].securityContext.windowsOptions", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.containers[].startupProbe", MANIFEST_OBJECT, MANIFEST_MAY,
      .like = "spec.template.spec.containers[].readinessProbe",
      .meaning = "the other probes wait for it; a start that fails it is given up; periodSeconds 10 by default" },
    { "spec.template.spec.containers[].stdin", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.containers[].stdinOnce", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.containers[].terminationMessagePath", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "the end of the log says why it ended" },
    { "spec.template.spec.containers[].terminationMessagePolicy", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "File or FallbackToLogsOnError" },
    { "spec.template.spec.containers[].tty", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.containers[].volumeDevices", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.containers[].volumeMounts", MANIFEST_LIST, MANIFEST_MAY, .keys = "mountPath",
      .meaning = "where the volumes appear" },
    { "spec.template.spec.containers[].volumeMounts[]", MANIFEST_OBJECT, MANIFEST_MAY },
    { "spec.template.spec.containers[].volumeMounts[].mountPath", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "absolute, once; not /, /dev, /dev/log or in /proc; no .." },
    { "spec.template.spec.containers[].volumeMounts[].mountPropagation", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.containers[].volumeMounts[].name", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "of a volume" },
    { "spec.template.spec.containers[].volumeMounts[].readOnly", MANIFEST_BOOL, MANIFEST_MAY,
      .meaning = "true for everything but emptyDir, whatever is said" },
    { "spec.template.spec.containers[].volumeMounts[].recursiveReadOnly", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.containers[].volumeMounts[].subPath", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "one file, or one folder, of a ConfigMap, Secret or projected volume" },
    { "spec.template.spec.containers[].volumeMounts[].subPathExpr", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.containers[].workingDir", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "instead of the bundle's own" },
    { "spec.template.spec.dnsConfig", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.dnsPolicy", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.enableServiceLinks", MANIFEST_BOOL, MANIFEST_MAY, .initial = "false",
      .meaning = "Kubernetes environment variables; there are none" },
    { "spec.template.spec.ephemeralContainers", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.hostAliases", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.hostIPC", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.hostNetwork", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.hostPID", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.hostUsers", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.hostname", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.hostnameOverride", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.idleTimeoutSeconds", MANIFEST_INT, MANIFEST_MAY,
      .min = 0, .max = 2147483647, .meaning = "longest silence inside an answer; 0: none" },
    { "spec.template.spec.imagePullSecrets", MANIFEST_LIST, MANIFEST_IDLE,
      .meaning = "secrets for a registry" },
    { "spec.template.spec.imagePullSecrets[]", MANIFEST_OBJECT, MANIFEST_MAY },
    { "spec.template.spec.imagePullSecrets[].name", MANIFEST_TEXT, MANIFEST_MAY },
    { "spec.template.spec.initContainers", MANIFEST_LIST, MANIFEST_MAY,
      .like = "spec.template.spec.containers",
      .meaning = "run one after the other, each to its end, before the containers start; without ports and probes" },
    { "spec.template.spec.loadBalancingPolicy", MANIFEST_TEXT, MANIFEST_IDLE,
      .meaning = "hob gives a request to the instance with the fewest" },
    { "spec.template.spec.nodeName", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.nodeSelector", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.os", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.overhead", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.preemptionPolicy", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.priority", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.priorityClassName", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.readinessGates", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.resourceClaims", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.resources", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.responseStartTimeoutSeconds", MANIFEST_INT, MANIFEST_MAY,
      .min = 0, .max = 2147483647,
      .meaning = "longest time to the first byte of an answer (300 where timeoutSeconds is more); 0: timeoutSeconds" },
    { "spec.template.spec.restartPolicy", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.runtimeClassName", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.schedulerName", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.schedulingGates", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.securityContext", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.serviceAccount", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.serviceAccountName", MANIFEST_TEXT, MANIFEST_IDLE,
      .meaning = "a DNS-1123 subdomain" },
    { "spec.template.spec.setHostnameAsFQDN", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.shareProcessNamespace", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.subdomain", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.terminationGracePeriodSeconds", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.timeoutSeconds", MANIFEST_INT, MANIFEST_MAY, .min = 0, .max = 600,
      .limit = offsetof(struct limits, request_timeout_s_max), .initial = "300",
      .meaning = "longest time a request may take; 0: the default" },
    { "spec.template.spec.tolerations", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.topologySpreadConstraints", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.volumes", MANIFEST_LIST, MANIFEST_MAY, .keys = "name",
      .meaning = "each must be mounted" },
    { "spec.template.spec.volumes[]", MANIFEST_OBJECT, MANIFEST_MAY },
    { "spec.template.spec.volumes[].awsElasticBlockStore", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.volumes[].azureDisk", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.volumes[].azureFile", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.volumes[].cephfs", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.volumes[].cinder", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.volumes[].configMap", MANIFEST_OBJECT, MANIFEST_MAY,
      .meaning = "its keys as files, read when an instance starts" },
    { "spec.template.spec.volumes[].configMap.defaultMode", MANIFEST_INT, MANIFEST_MAY,
      .meaning = "0 to 0777 (decimal in JSON); default 0644" },
    { "spec.template.spec.volumes[].configMap.items", MANIFEST_LIST, MANIFEST_MAY,
      .meaning = "only these keys, at these paths; absent: all, named as the keys" },
    { "spec.template.spec.volumes[].configMap.items[]", MANIFEST_OBJECT, MANIFEST_MAY },
    { "spec.template.spec.volumes[].configMap.items[].key", MANIFEST_TEXT, MANIFEST_MAY },
    { "spec.template.spec.volumes[].configMap.items[].mode", MANIFEST_INT, MANIFEST_MAY,
      .meaning = "0 to 0777 (decimal in JSON); default: defaultMode" },
    { "spec.template.spec.volumes[].configMap.items[].path", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "below the mount; relative, without .." },
    { "spec.template.spec.volumes[].configMap.name", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "of a ConfigMap of the same namespace" },
    { "spec.template.spec.volumes[].configMap.optional", MANIFEST_BOOL, MANIFEST_MAY,
      .meaning = "true: neither it nor its keys need be there" },
    { "spec.template.spec.volumes[].csi", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.volumes[].downwardAPI", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.volumes[].emptyDir", MANIFEST_OBJECT, MANIFEST_MAY,
      .meaning = "scratch space of one instance, gone with it" },
    { "spec.template.spec.volumes[].emptyDir.medium", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "empty or Memory; it is memory always" },
    { "spec.template.spec.volumes[].emptyDir.sizeLimit", MANIFEST_QUANTITY, MANIFEST_MAY,
      .meaning = "within ephemeral-storage" },
    { "spec.template.spec.volumes[].ephemeral", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.volumes[].fc", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.volumes[].flexVolume", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.volumes[].flocker", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.volumes[].gcePersistentDisk", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.volumes[].gitRepo", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.volumes[].glusterfs", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.volumes[].hostPath", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.volumes[].image", MANIFEST_OBJECT, MANIFEST_MAY,
      .meaning = "a model or any other artifact, mounted read-only" },
    { "spec.template.spec.volumes[].image.pullPolicy", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "Always, IfNotPresent or Never; what is pinned never changes" },
    { "spec.template.spec.volumes[].image.reference", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "file:///path or http(s)://host/path, with @sha256:<hex>" },
    { "spec.template.spec.volumes[].iscsi", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.volumes[].name", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "a DNS-1123 label" },
    { "spec.template.spec.volumes[].nfs", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.volumes[].persistentVolumeClaim", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.volumes[].photonPersistentDisk", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.volumes[].portworxVolume", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.volumes[].projected", MANIFEST_OBJECT, MANIFEST_MAY,
      .meaning = "files of several ConfigMaps and Secrets in one folder" },
    { "spec.template.spec.volumes[].projected.defaultMode", MANIFEST_INT, MANIFEST_MAY,
      .meaning = "0 to 0777 (decimal in JSON); default 0644" },
    { "spec.template.spec.volumes[].projected.sources", MANIFEST_LIST, MANIFEST_MAY,
      .meaning = "where two have the same path, the later one counts" },
    { "spec.template.spec.volumes[].projected.sources[]", MANIFEST_OBJECT, MANIFEST_MAY,
      .meaning = "one of configMap and secret" },
    { "spec.template.spec.volumes[].projected.sources[].clusterTrustBundle", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.volumes[].projected.sources[].configMap", MANIFEST_OBJECT, MANIFEST_MAY },
    { "spec.template.spec.volumes[].projected.sources[].configMap.items", MANIFEST_LIST, MANIFEST_MAY,
      .like = "spec.template.spec.volumes[].configMap.items" },
    { "spec.template.spec.volumes[].projected.sources[].configMap.name", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "of a ConfigMap of the same namespace" },
    { "spec.template.spec.volumes[].projected.sources[].configMap.optional", MANIFEST_BOOL, MANIFEST_MAY,
      .meaning = "true: neither it nor its keys need be there" },
    { "spec.template.spec.volumes[].projected.sources[].downwardAPI", MANIFEST_ANY, MANIFEST_OFF,
      .meaning = "the pod's own fields" },
    { "spec.template.spec.volumes[].projected.sources[].podCertificate", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.volumes[].projected.sources[].secret", MANIFEST_OBJECT, MANIFEST_MAY },
    { "spec.template.spec.volumes[].projected.sources[].secret.items", MANIFEST_LIST, MANIFEST_MAY,
      .like = "spec.template.spec.volumes[].configMap.items" },
    { "spec.template.spec.volumes[].projected.sources[].secret.name", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "of a Secret of the same namespace" },
    { "spec.template.spec.volumes[].projected.sources[].secret.optional", MANIFEST_BOOL, MANIFEST_MAY,
      .meaning = "true: neither it nor its keys need be there" },
    { "spec.template.spec.volumes[].projected.sources[].serviceAccountToken", MANIFEST_ANY, MANIFEST_OFF,
      .meaning = "there are no tokens to mount" },
    { "spec.template.spec.volumes[].quobyte", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.volumes[].rbd", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.volumes[].scaleIO", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.volumes[].secret", MANIFEST_OBJECT, MANIFEST_MAY,
      .meaning = "its keys as files, in memory, read when an instance starts" },
    { "spec.template.spec.volumes[].secret.defaultMode", MANIFEST_INT, MANIFEST_MAY,
      .meaning = "0 to 0777 (decimal in JSON); default 0644" },
    { "spec.template.spec.volumes[].secret.items", MANIFEST_LIST, MANIFEST_MAY,
      .like = "spec.template.spec.volumes[].configMap.items",
      .meaning = "only these keys, at these paths; absent: all, named as the keys" },
    { "spec.template.spec.volumes[].secret.optional", MANIFEST_BOOL, MANIFEST_MAY,
      .meaning = "true: neither it nor its keys need be there" },
    { "spec.template.spec.volumes[].secret.secretName", MANIFEST_TEXT, MANIFEST_MAY,
      .meaning = "of a Secret of the same namespace" },
    { "spec.template.spec.volumes[].storageos", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.template.spec.volumes[].vsphereVolume", MANIFEST_ANY, MANIFEST_NOT },
    { "spec.traffic", MANIFEST_LIST, MANIFEST_MAY,
      .meaning = "absent: all of it to the latest ready Revision" },
    { "spec.traffic[]", MANIFEST_OBJECT, MANIFEST_MAY },
    { "spec.traffic[].configurationName", MANIFEST_TEXT, MANIFEST_MAY },
    { "spec.traffic[].latestRevision", MANIFEST_BOOL, MANIFEST_MAY },
    { "spec.traffic[].percent", MANIFEST_INT, MANIFEST_MAY, .min = 0, .max = 100 },
    { "spec.traffic[].revisionName", MANIFEST_TEXT, MANIFEST_MAY },
    { "spec.traffic[].tag", MANIFEST_TEXT, MANIFEST_MAY },
    { "spec.traffic[].url", MANIFEST_TEXT, MANIFEST_MAY },
    { "status", MANIFEST_ANY, MANIFEST_SERVER, .meaning = "written by hob" },
};
// clang-format on
const size_t manifest_row_count = COUNT_OF(manifest_rows);

static const struct manifest_table service_table = { manifest_rows, COUNT_OF(manifest_rows) };

static const struct manifest_row *row_find(const struct manifest_table *t, const char *path)
{
    size_t low = 0, high = t->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(path, t->rows[middle].path);
        if (order == 0)
            return &t->rows[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

/* ---- where the walk is ---- */

enum { PATH_MAX_BYTES = 512 };

/* The path as the person wrote it ("containers[0].env") and as the table has it ("containers[].env").
 * A path too long for its room is cut: no row has such a path, so it is refused as unknown. */
struct place {
    char seen[PATH_MAX_BYTES], row[PATH_MAX_BYTES];
};

static void step(struct place *into, const struct place *from, const struct manifest_row *at,
                 const char *key)
{
    const char *base = at && at->like ? at->like : from->row;
    const char *dot = *from->seen ? "." : "";
    (void)snprintf(into->seen, sizeof into->seen, "%.400s%s%.100s", from->seen, dot, key);
    (void)snprintf(into->row, sizeof into->row, "%.400s%s%.100s", base, dot, key);
}

static void step_index(struct place *into, const struct place *from, size_t index)
{
    (void)snprintf(into->seen, sizeof into->seen, "%.480s[%zu]", from->seen, index);
    (void)snprintf(into->row, sizeof into->row, "%.480s[]", from->row);
}

struct walk {
    const struct manifest_table *table;
    const struct limits *limits;
    struct manifest_findings *f;
};

/* ---- one value ---- */

static const char *type_name(const json_t *j)
{
    static const char *const names[] = { [JSON_OBJECT] = "object",   [JSON_ARRAY] = "array",
                                         [JSON_STRING] = "string",   [JSON_INTEGER] = "integer",
                                         [JSON_REAL] = "number",     [JSON_TRUE] = "boolean",
                                         [JSON_FALSE] = "boolean",   [JSON_NULL] = "null" };
    return names[json_typeof(j)];
}

static const char *wanted_name(enum manifest_kind kind)
{
    switch (kind) {
    case MANIFEST_OBJECT:
    case MANIFEST_TEXT_MAP:
    case MANIFEST_QUANTITIES: return "object";
    case MANIFEST_LIST:
    case MANIFEST_TEXTS: return "array";
    case MANIFEST_TEXT: return "string";
    case MANIFEST_INT: return "integer";
    case MANIFEST_BOOL: return "boolean";
    case MANIFEST_PORT:
    case MANIFEST_QUANTITY: return "integer or string";
    case MANIFEST_ANY: break;
    }
    return "anything";
}

static bool type_fits(enum manifest_kind kind, const json_t *j)
{
    switch (kind) {
    case MANIFEST_OBJECT:
    case MANIFEST_TEXT_MAP:
    case MANIFEST_QUANTITIES: return json_is_object(j);
    case MANIFEST_LIST:
    case MANIFEST_TEXTS: return json_is_array(j);
    case MANIFEST_TEXT: return json_is_string(j);
    case MANIFEST_INT: return json_is_integer(j);
    case MANIFEST_BOOL: return json_is_boolean(j);
    case MANIFEST_PORT: return json_is_string(j) || json_is_integer(j);
    case MANIFEST_QUANTITY: return json_is_string(j) || json_is_number(j);
    case MANIFEST_ANY: return true;
    }
    UNREACHABLE("every kind returns");
}

static void type_wrong(struct walk *w, const char *path, const char *want, const json_t *j)
{
    refusals_add(&w->f->types, path, NULL,
                 "%s: Invalid value: \"%s\": %s in body must be of type %s: \"%s\"", path,
                 type_name(j), path, want, type_name(j));
}

/* Go would not have put it on the wire: its zero value, and omitempty. */
static bool says_nothing(enum manifest_kind kind, const json_t *j)
{
    if (json_is_null(j) || json_is_false(j))
        return json_is_null(j) || kind == MANIFEST_ANY;
    if (json_is_integer(j))
        return json_integer_value(j) == 0 && kind == MANIFEST_ANY;
    return json_is_string(j) && json_string_length(j) == 0;
}

/* The canonical form, as an API server stores it. NULL: refused. */
static json_t *quantity_canonical(struct walk *w, const char *path, const json_t *j)
{
    struct quantity q;
    struct err e;
    struct buf text;
    char canonical[QUANTITY_TEXT];
    buf_init(&text, 256);
    if (json_is_string(j))
        buf_append(&text, json_string_value(j), json_string_length(j));
    else if (json_is_number(j))
        json_write(j, &text);
    else
        type_wrong(w, path, wanted_name(MANIFEST_QUANTITY), j);
    bool is_type = json_is_string(j) || json_is_number(j);
    int r = is_type ? quantity_parse(buf_str(&text), &q, &e) : -CODE_INVALID;
    buf_done(&text);
    if (r < 0) {
        if (is_type)
            refusals_add(&w->f->types, path, NULL, "%s: Invalid value: %s", path, e.text);
        return NULL;
    }
    quantity_format(&q, canonical);
    return json_string(canonical);
}

static void quantities_apply(struct walk *w, const struct place *at, json_t *map)
{
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(map, next, key, value) {
        struct place inner;
        step(&inner, at, NULL, key);
        json_t *canonical = quantity_canonical(w, inner.seen, value);
        if (canonical)
            (void)json_object_set_new(map, key, canonical);
    }
}

static void texts_check(struct walk *w, const struct place *at, const json_t *j)
{
    const char *key;
    const json_t *value;
    struct place inner;
    for (size_t i = 0; i < json_array_size(j); i++) {
        step_index(&inner, at, i);
        if (!json_is_string(json_array_get(j, i)))
            type_wrong(w, inner.seen, "string", json_array_get(j, i));
    }
    json_object_foreach((json_t *)(uintptr_t)j, key, value) {
        step(&inner, at, NULL, key);
        if (!json_is_string(value))
            type_wrong(w, inner.seen, "string", value);
    }
}

static void range_check(struct walk *w, const struct place *at, const struct manifest_row *row,
                        const json_t *j)
{
    int64_t max = row->max;
    if (row->limit)
        max = (int64_t)*(const uint64_t *)(const void *)((const char *)w->limits + row->limit);
    int64_t n = json_integer_value(j);
    if ((row->min || max) && (n < row->min || n > max))
        refusals_add(&w->f->refused, at->seen, NULL, "expected %lld <= %lld <= %lld",
                     (long long)row->min, (long long)n, (long long)max);
}

static void rule_check(struct walk *w, const struct place *at, const struct manifest_row *row,
                       const json_t *j)
{
    const char *name = strrchr(at->row, '.');
    switch (row->rule) {
    case MANIFEST_FALSE:
        if (!json_is_true(j))
            return;
        refusals_add(&w->f->refused, at->seen, NULL, "must not set the field(s)");
        return;
    case MANIFEST_NOT: refusals_add(&w->f->refused, at->seen, NULL, "must not set the field(s)"); return;
    case MANIFEST_OFF:
        refusals_add(&w->f->refused, at->seen, NULL, "%s support is disabled", name ? name + 1 : at->row);
        return;
    case MANIFEST_IDLE:
        if (json_is_array(j) && json_array_size(j) == 0)
            return;
        refusals_add(&w->f->warnings, at->seen, NULL, "has no effect in hob (%s)", row->meaning);
        return;
    case MANIFEST_MAY:
    case MANIFEST_SERVER: return;
    }
}

/* ---- the walk ---- */

static void value_apply(struct walk *w, const struct place *at, const struct manifest_row *row,
                        json_t *j);

/* A field that is not there, and whose parent is. */
static void defaults_apply(const struct walk *w, const struct place *at, const struct manifest_row *parent, json_t *object)
{
    const char *base = parent && parent->like ? parent->like : at->row;
    size_t size = strlen(base);
    for (size_t i = 0; i < w->table->count; i++) {
        const struct manifest_row *row = &w->table->rows[i];
        const char *rest = row->path + size;
        if (!row->initial || strncmp(row->path, base, size) != 0 || (size > 0 && *rest != '.'))
            continue;
        rest += size > 0;
        if (!strpbrk(rest, ".[") && !json_object_get(object, rest))
            (void)json_object_set_new(object, rest, json_loads(row->initial, JSON_DECODE_ANY, NULL));
    }
}

/* Of the fields that its object may have. Not once the list is full: a hostile manifest would only have us compare. */
static void unknown_add(struct walk *w, const struct place *parent, const struct manifest_row *own, const struct place *at,
                        const char *key)
{
    const char *base = own && own->like ? own->like : parent->row;
    struct suggest near = suggest_begin(str_of(key));
    size_t size = strlen(base);
    for (size_t i = 0; i < w->table->count && w->f->unknown.count < REFUSALS_MAX; i++) {
        const char *path = w->table->rows[i].path, *rest = path + size;
        if (strncmp(path, base, size) != 0 || (size > 0 && *rest++ != '.') || strpbrk(rest, ".["))
            continue;
        suggest_offer(&near, str_of(rest));
    }
    refusals_add(&w->f->unknown, at->seen, NULL, "unknown field \"%s\"%s", at->seen,
                 suggest_clause(&near, (char[SUGGEST_TEXT]){ 0 }));
}

static void object_apply(struct walk *w, const struct place *at, const struct manifest_row *own,
                         json_t *object)
{
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(object, next, key, value) {
        struct place inner;
        step(&inner, at, own, key);
        const struct manifest_row *row = row_find(w->table, inner.row);
        if (!row)
            unknown_add(w, at, own, &inner, key);
        if (!row || row->rule == MANIFEST_SERVER || says_nothing(row->kind, value))
            (void)json_object_del(object, key);
        else
            value_apply(w, &inner, row, value);
        if (row && row->kind == MANIFEST_QUANTITY && type_fits(row->kind, json_object_get(object, key))) {
            json_t *canonical = quantity_canonical(w, inner.seen, value);
            if (canonical)
                (void)json_object_set_new(object, key, canonical);
        }
    }
    defaults_apply(w, at, own, object);
}

static void list_apply(struct walk *w, const struct place *at, const struct manifest_row *own,
                       json_t *list)
{
    struct place from = *at;
    if (own->keys && json_array_size(list) > w->limits->list_elements_max) {
        refusals_add(&w->f->refused, at->seen, NULL,
                     "%zu elements are more than the limit list_elements_max allows (%llu)", json_array_size(list),
                     (unsigned long long)w->limits->list_elements_max);
        (void)json_array_clear(list); /* what checks the elements has no more to do with it */
        return;
    }
    if (own->like)
        (void)snprintf(from.row, sizeof from.row, "%s", own->like);
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct place inner;
        json_t *element = json_array_get(list, i);
        step_index(&inner, &from, i);
        const struct manifest_row *row = row_find(w->table, inner.row);
        ASSERT(row);
        value_apply(w, &inner, row, element);
    }
}

/* Recursion is as deep as the table. */
static void value_apply(struct walk *w, const struct place *at, const struct manifest_row *row,
                        json_t *j)
{
    if (!type_fits(row->kind, j)) {
        type_wrong(w, at->seen, wanted_name(row->kind), j);
        return;
    }
    rule_check(w, at, row, j);
    switch (row->kind) {
    case MANIFEST_OBJECT: object_apply(w, at, row, j); return;
    case MANIFEST_LIST: list_apply(w, at, row, j); return;
    case MANIFEST_QUANTITIES: quantities_apply(w, at, j); return;
    case MANIFEST_TEXTS:
    case MANIFEST_TEXT_MAP: texts_check(w, at, j); return;
    case MANIFEST_INT: range_check(w, at, row, j); return;
    case MANIFEST_QUANTITY: /* rewritten by its parent */
    case MANIFEST_TEXT:
    case MANIFEST_BOOL:
    case MANIFEST_PORT:
    case MANIFEST_ANY: return;
    }
}

void manifest_apply(json_t *object, const struct limits *l, struct manifest_findings *f)
{
    manifest_apply_table(&service_table, object, l, f);
}

void manifest_apply_table(const struct manifest_table *t, json_t *object, const struct limits *l,
                          struct manifest_findings *f)
{
    struct walk w = { t, l, f };
    struct place root = { { 0 }, { 0 } };
    if (json_is_object(object))
        object_apply(&w, &root, NULL, object);
    else
        type_wrong(&w, "object", "object", object);
}

const char *manifest_list_keys(const char *path)
{
    const struct manifest_row *row = row_find(&service_table, path);
    return row ? row->keys : NULL;
}

void manifest_findings_done(struct manifest_findings *f)
{
    refusals_done(&f->unknown);
    refusals_done(&f->types);
    refusals_done(&f->refused);
    refusals_done(&f->warnings);
}

/* ---- the reference page ---- */

static const char *kind_name(enum manifest_kind kind)
{
    static const char *const names[] = {
        [MANIFEST_OBJECT] = "object",         [MANIFEST_LIST] = "list",
        [MANIFEST_TEXT] = "text",             [MANIFEST_TEXTS] = "list of text",
        [MANIFEST_TEXT_MAP] = "map of text",  [MANIFEST_INT] = "integer",
        [MANIFEST_BOOL] = "boolean",          [MANIFEST_PORT] = "number or name",
        [MANIFEST_QUANTITY] = "quantity",     [MANIFEST_QUANTITIES] = "map of quantities",
        [MANIFEST_ANY] = "any",
    };
    return names[kind];
}

static void document_rules(FILE *out, enum manifest_rule rule, const char *title)
{
    const char *comma = "";
    fprintf(out, "\n## %s\n\n", title);
    for (size_t i = 0; i < manifest_row_count; i++) {
        if (manifest_rows[i].rule != rule)
            continue;
        fprintf(out, "%s`%s`", comma, manifest_rows[i].path);
        comma = ",\n";
    }
    fprintf(out, "\n");
}

void manifest_document(FILE *out)
{
    fprintf(out, "# The fields of a Service manifest\n\n"
                 "Made from the table that decodes them (`src/serving/manifest.c`); do not edit.\n\n"
                 "| field | kind | default | range | meaning |\n|---|---|---|---|---|\n");
    for (size_t i = 0; i < manifest_row_count; i++) {
        const struct manifest_row *row = &manifest_rows[i];
        char range[64] = "";
        if (row->rule == MANIFEST_NOT || row->rule == MANIFEST_OFF || row->rule == MANIFEST_SERVER)
            continue;
        if (row->limit)
            for (size_t k = 0; k < limit_row_count; k++)
                if (limit_rows[k].offset == row->limit)
                    (void)snprintf(range, sizeof range, "%lld..`%s`", (long long)row->min,
                                   limit_rows[k].name);
        if (!row->limit && (row->min || row->max))
            (void)snprintf(range, sizeof range, "%lld..%lld", (long long)row->min,
                           (long long)row->max);
        fprintf(out, "| `%s` | %s | %s%s%s | %s | %s%s%s |\n", row->path, kind_name(row->kind),
                row->initial ? "`" : "", row->initial ? row->initial : "", row->initial ? "`" : "",
                range, row->rule == MANIFEST_IDLE ? "*no effect:* " : "",
                row->rule == MANIFEST_FALSE ? "only `false`: " : "", row->meaning ? row->meaning : "");
    }
    document_rules(out, MANIFEST_OFF, "Not yet: refused by name");
    document_rules(out, MANIFEST_NOT, "Forbidden, as in Knative: `must not set the field(s)`");
    document_rules(out, MANIFEST_SERVER, "The server's own: accepted and ignored");
}
