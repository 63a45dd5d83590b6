#include "serving/annotations.h"
#include "serving/manifest.h"
#include "serving/pod.h"
#include "serving/revision.h"
#include "serving/service.h"
#include "tap.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static struct limits limits;

static json_t *tree(const char *text)
{
    struct err e = { 0 };
    json_t *j = NULL;
    if (json_read(str_of(text), &limits, &j, &e) < 0)
        printf("# %s: %s\n", text, e.text);
    ASSERT(j);
    return j;
}

static json_t *minimal(void)
{
    limits_default(&limits);
    return tree("{\"apiVersion\":\"serving.knative.dev/v1\",\"kind\":\"Service\","
                "\"metadata\":{\"name\":\"f\"},\"spec\":{\"template\":{\"spec\":{\"containers\":["
                "{\"image\":\"file:///srv/f\"}]}}}}");
}

static void patch_at(json_t *service, char where, const char *patch)
{
    AUTO_JSON json_t *change = tree(patch);
    json_t *pod = json_at(service, POD_PATH);
    json_t *merged;
    switch (where) {
    case 'S': /* the service */
        merged = json_merge_patch(service, change);
        (void)json_object_update(service, merged);
        json_decref(merged);
        return;
    case 'A': /* annotations of the template */
        (void)json_object_set_new(json_at(service, "spec.template"), "metadata",
                                  json_pack("{s:O}", "annotations", change));
        return;
    case 'P': /* the pod */
        merged = json_merge_patch(pod, change);
        (void)json_object_set_new(json_at(service, "spec.template"), "spec", merged);
        return;
    default: /* 'C': the container */
        merged = json_merge_patch(json_at(pod, "containers.0"), change);
        (void)json_array_set_new(json_at(pod, "containers"), 0, merged);
    }
}

static char *text_of(struct refusals *r)
{
    struct buf b;
    buf_init(&b, 1 << 16);
    refusals_text(r, &b);
    return buf_take_text(&b);
}

static struct service_terms terms(void)
{
    return (struct service_terms){ &limits, "default", SERVICE_UNKNOWN_REFUSE, "abcde" };
}

#define C0 "spec.template.spec.containers[0]"
#define AN "spec.template.metadata.annotations.autoscaling.knative.dev/"
static const struct {
    char where;
    const char *patch;
    enum service_refusal refusal;
    const char *text;
} refused[] = {
    /* unknown fields */
    { 'P', "{\"foo\":1}", SERVICE_UNKNOWN_FIELDS,
      "unknown field \"spec.template.spec.foo\": spec.template.spec.foo" },
    { 'C', "{\"env\":[{\"name\":\"A\"},{\"nam\":\"B\"}]}", SERVICE_UNKNOWN_FIELDS,
      "unknown field \"" C0 ".env[1].nam\" (did you mean \"name\"?): " C0 ".env[1].nam" },
    { 'C', "{\"livenessProbe\":{\"httpget\":{}}}", SERVICE_UNKNOWN_FIELDS,
      "unknown field \"" C0 ".livenessProbe.httpget\" (did you mean \"httpGet\"?): " C0 ".livenessProbe.httpget" },
    { 'S', "{\"spce\":{}}", SERVICE_UNKNOWN_FIELDS, "unknown field \"spce\" (did you mean \"spec\"?): spce" },
    /* types */
    { 'P', "{\"timeoutSeconds\":\"5\"}", SERVICE_WRONG_TYPES,
      "spec.template.spec.timeoutSeconds: Invalid value: \"string\": spec.template.spec.timeoutSeconds "
      "in body must be of type integer: \"string\": spec.template.spec.timeoutSeconds" },
    { 'P', "{\"containers\":{}}", SERVICE_WRONG_TYPES,
      "spec.template.spec.containers: Invalid value: \"object\": spec.template.spec.containers in body "
      "must be of type array: \"object\": spec.template.spec.containers" },
    { 'P', "{\"containers\":[7]}", SERVICE_WRONG_TYPES,
      C0 ": Invalid value: \"integer\": " C0 " in body must be of type object: \"integer\": " C0 },
    { 'S', "{\"metadata\":{\"labels\":{\"a\":1}}}", SERVICE_WRONG_TYPES,
      "metadata.labels.a: Invalid value: \"integer\": metadata.labels.a in body must be of type string: "
      "\"integer\": metadata.labels.a" },
    { 'S', "{\"spec\":5}", SERVICE_WRONG_TYPES,
      "spec: Invalid value: \"integer\": spec in body must be of type object: \"integer\": spec" },
    { 'C', "{\"resources\":{\"limits\":{\"memory\":\"1GB\"}}}", SERVICE_WRONG_TYPES,
      C0 ".resources.limits.memory: Invalid value: quantities must match the regular expression "
      "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$': " C0 ".resources.limits.memory" },
    { 'C', "{\"resources\":{\"limits\":{\"memory\":true}}}", SERVICE_WRONG_TYPES,
      C0 ".resources.limits.memory: Invalid value: \"boolean\": " C0 ".resources.limits.memory in body "
      "must be of type integer or string: \"boolean\": " C0 ".resources.limits.memory" },
    /* metadata of any object */
    { 'S', "{\"metadata\":{\"name\":null}}", SERVICE_WRONG_METADATA,
      "metadata.name: Required value: name or generateName is required: metadata.name" },
    { 'S', "{\"metadata\":{\"labels\":{\"a b\":\"c\"}}}", SERVICE_WRONG_METADATA,
      "metadata.labels: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', "
      "'_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or "
      "'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?"
      "[A-Za-z0-9]'): metadata.labels" },
    /* Knative's rules: the Service */
    { 'S', "{\"metadata\":{\"name\":\"1f\"}}", SERVICE_NOT_VALID,
      "not a DNS 1035 label: [a DNS-1035 label must consist of lower case alphanumeric characters or "
      "'-', start with an alphabetic character, and end with an alphanumeric character (e.g. "
      "'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')]: "
      "metadata.name" },
    { 'S', "{\"metadata\":{\"annotations\":{\"autoscaling.knative.dev/min-scale\":\"1\"}}}",
      SERVICE_NOT_VALID,
      "invalid key name \"autoscaling.knative.dev/min-scale\": metadata.annotations\nautoscaling "
      "annotations must be put under \"spec.template.metadata.annotations\" to work" },
    { 'S', "{\"metadata\":{\"labels\":{\"serving.knative.dev/x\":\"1\"}}}", SERVICE_NOT_VALID,
      "invalid key name \"serving.knative.dev/x\": metadata.labels" },
    { 'S', "{\"metadata\":{\"labels\":{\"networking.knative.dev/visibility\":\"x\"}}}", SERVICE_NOT_VALID,
      "invalid value: x: metadata.labels.networking.knative.dev/visibility" },
    { 'S', "{\"spec\":{\"template\":{\"metadata\":{\"name\":\"g-1\"}}}}", SERVICE_NOT_VALID,
      "invalid value: \"g-1\" must have prefix \"f-\": spec.template.metadata.name" },
    { 'S', "{\"spec\":{\"template\":null}}", SERVICE_NOT_VALID,
      "missing field(s): spec.template.spec.containers" },
    /* forbidden and disabled */
    { 'P', "{\"hostNetwork\":true,\"nodeSelector\":{\"a\":\"b\"}}", SERVICE_NOT_VALID,
      "must not set the field(s): spec.template.spec.hostNetwork, spec.template.spec.nodeSelector" },
    { 'C', "{\"lifecycle\":{},\"tty\":true,\"securityContext\":{\"privileged\":true}}", SERVICE_NOT_VALID,
      "must not set the field(s): " C0 ".lifecycle, " C0 ".securityContext.privileged, " C0 ".tty" },
    { 'P', "{\"containers\":[{\"image\":\"file:///a\"},{\"image\":\"file:///b\"}]}", SERVICE_NOT_VALID,
      "multi-container is off, but found 2 containers: \nlimit pod_containers_max is 1" },
    { 'P', "{\"initContainers\":[{\"image\":\"file:///a\"}]}", SERVICE_NOT_VALID,
      "pod spec support for init-containers is off, but found 1 init containers: \nlimit pod_containers_max is 1" },
    { 'P', "{\"initContainers\":[{\"imag\":\"file:///a\"}]}", SERVICE_UNKNOWN_FIELDS,
      "unknown field \"spec.template.spec.initContainers[0].imag\" (did you mean \"image\"?): "
      "spec.template.spec.initContainers[0].imag" },
    { 'C', "{\"envFrom\":[{}],\"env\":[{\"name\":\"A\",\"valueFrom\":{}}]}", SERVICE_NOT_VALID,
      "expected exactly one, got neither: " C0 ".envFrom[0].configMapRef, " C0 ".envFrom[0].secretRef, " C0
      ".env[0].valueFrom.configMapKeyRef, " C0 ".env[0].valueFrom.secretKeyRef" },
    { 'C', "{\"env\":[{\"name\":\"A\",\"value\":\"1\",\"valueFrom\":{\"configMapKeyRef\":{\"name\":\"m\",\"key\":\"k\"},"
           "\"secretKeyRef\":{\"name\":\"A_\",\"key\":\"../k\"}}},{\"name\":\"B\",\"valueFrom\":{\"fieldRef\":{}}}]}",
      SERVICE_NOT_VALID,
      "expected exactly one, got both: " C0 ".env[0].valueFrom.configMapKeyRef, " C0
      ".env[0].valueFrom.secretKeyRef\ninvalid value: \"\": " C0 ".env[0].valueFrom\nmay not be specified when `value` is "
      "not empty\ninvalid value: ../k: " C0 ".env[0].valueFrom.secretKeyRef.key\na valid config key must consist of "
      "alphanumeric characters, '-', '_' or '.'\ninvalid value: A_: " C0 ".env[0].valueFrom.secretKeyRef.name\na "
      "lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
      "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
      "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')\nmust not set the field(s): " C0
      ".env[1].valueFrom.fieldRef" },
    { 'C', "{\"envFrom\":[{\"prefix\":\"1\",\"configMapRef\":{\"optional\":true}}]}", SERVICE_NOT_VALID,
      "invalid value: 1: " C0 ".envFrom[0].prefix\na valid environment variable name must consist of alphabetic characters, "
      "digits, '_', '-', or '.', and must not start with a digit (e.g. 'my.env-name',  or 'MY_ENV.NAME',  or "
      "'MyEnvName1', regex used for validation is '[-._a-zA-Z][-._a-zA-Z0-9]*')\nmissing field(s): " C0
      ".envFrom[0].configMapRef.name" },
    { 'P', "{\"containers\":[{\"image\":\"file:///f\",\"volumeMounts\":[{\"name\":\"m\",\"mountPath\":\"/a\",\"subPath\":"
           "\"/x\"},{\"name\":\"m\",\"mountPath\":\"/b\",\"subPath\":\"x/../y\"}]}],\"volumes\":[{\"name\":\"m\","
           "\"configMap\":{\"defaultMode\":512,\"items\":[{\"key\":\"k\",\"path\":\"../k\"},{\"key\":\"k\",\"path\":"
           "\"/etc/passwd\",\"mode\":-1},{\"path\":\"..data\"},{\"key\":\"k\",\"path\":\"a//b\"}]}}]}",
      SERVICE_NOT_VALID,
      "invalid value: -1: spec.template.spec.volumes[0].configMap.items[1].mode\n"
      "must be a number between 0 and 0777 (octal), both inclusive\n"
      "invalid value: ../k: spec.template.spec.volumes[0].configMap.items[0].path\nmust not contain '..'\n"
      "invalid value: ..data: spec.template.spec.volumes[0].configMap.items[2].path\nmust not start with '..'\n"
      "invalid value: /etc/passwd: spec.template.spec.volumes[0].configMap.items[1].path\nmust be a relative path\n"
      "invalid value: /x: " C0 ".volumeMounts[0].subPath\nmust be a relative path\n"
      "invalid value: 512: spec.template.spec.volumes[0].configMap.defaultMode\n"
      "must be a number between 0 and 0777 (octal), both inclusive\n"
      "invalid value: a//b: spec.template.spec.volumes[0].configMap.items[3].path\n"
      "must be plain names of at most 255 bytes between single slashes\n"
      "invalid value: x/../y: " C0 ".volumeMounts[1].subPath\nmust not contain '..'\n"
      "missing field(s): spec.template.spec.volumes[0].configMap.items[2].key, "
      "spec.template.spec.volumes[0].configMap.name" },
    { 'P', "{\"containers\":[{\"image\":\"file:///f\",\"volumeMounts\":[{\"name\":\"m\",\"mountPath\":\"/a\"}]}],"
           "\"volumes\":[{\"name\":\"m\",\"projected\":{\"sources\":[{\"serviceAccountToken\":{\"path\":\"t\"}},"
           "{\"downwardAPI\":{\"items\":[]}},{},{\"secret\":{\"name\":\"s\"},\"configMap\":{\"name\":\"c\"}}]}}]}",
      SERVICE_NOT_VALID,
      "downwardAPI support is disabled: spec.template.spec.volumes[0].projected.sources[1].downwardAPI\n"
      "expected exactly one, got both: spec.template.spec.volumes[0].projected.sources[3].configMap, "
      "spec.template.spec.volumes[0].projected.sources[3].secret\n"
      "expected exactly one, got neither: spec.template.spec.volumes[0].projected.sources[2].configMap, "
      "spec.template.spec.volumes[0].projected.sources[2].secret\n"
      "serviceAccountToken support is disabled: spec.template.spec.volumes[0].projected.sources[0].serviceAccountToken" },
    /* ranges */
    { 'P', "{\"containerConcurrency\":1001}", SERVICE_NOT_VALID,
      "expected 0 <= 1001 <= 1000: spec.template.spec.containerConcurrency" },
    { 'P', "{\"containerConcurrency\":-1,\"timeoutSeconds\":601}", SERVICE_NOT_VALID,
      "expected 0 <= -1 <= 1000: spec.template.spec.containerConcurrency\nexpected 0 <= 601 <= 600: "
      "spec.template.spec.timeoutSeconds" },
    { 'C', "{\"securityContext\":{\"runAsUser\":-1}}", SERVICE_NOT_VALID,
      "expected 0 <= -1 <= 2147483647: " C0 ".securityContext.runAsUser" },
    /* the container */
    { 'C', "{\"image\":null}", SERVICE_NOT_VALID, "missing field(s): " C0 ".image" },
    { 'C', "{\"image\":\"file://srv\"}", SERVICE_NOT_VALID,
      "Failed to parse image reference: " C0 ".image\nimage: \"file://srv\", error: want file:/// and a "
      "path without empty, . or .. steps" },
    { 'C', "{\"image\":\"file:///a/../b\"}", SERVICE_NOT_VALID,
      "Failed to parse image reference: " C0 ".image\nimage: \"file:///a/../b\", error: want file:/// "
      "and a path without empty, . or .. steps" },
    { 'C', "{\"image\":\"gcr.io/x:latest\"}", SERVICE_NOT_VALID,
      "registry image support is disabled: " C0 ".image\nan image is a folder of this machine for now: "
      "file:///path[@sha256:<hex>]" },
    { 'C', "{\"image\":\"a b\"}", SERVICE_NOT_VALID,
      "Failed to parse image reference: " C0 ".image\nimage: \"a b\", error: could not parse reference: "
      "a b" },
    { 'C', "{\"name\":\"queue-proxy\"}", SERVICE_NOT_VALID,
      "\"queue-proxy\" is a reserved container name: " C0 ".name" },
    { 'C', "{\"env\":[{\"name\":\"PORT\",\"value\":\"1\"},{\"value\":\"x\"},{\"name\":\"A=B\"}]}",
      SERVICE_NOT_VALID,
      "\"PORT\" is a reserved environment variable: " C0 ".env[0].name\ninvalid value: A=B: " C0
      ".env[2].name\na valid environment variable name must consist of alphabetic characters, digits, "
      "'_', '-', or '.', and must not start with a digit (e.g. 'my.env-name',  or 'MY_ENV.NAME',  or "
      "'MyEnvName1', regex used for validation is '[-._a-zA-Z][-._a-zA-Z0-9]*')\nmissing field(s): " C0
      ".env[1].name" },
    { 'C', "{\"ports\":[{\"containerPort\":8012}]}", SERVICE_NOT_VALID,
      "invalid value: 8012 is a reserved port: " C0 ".ports.containerPort\n8012 is a reserved port, "
      "please use a different value" },
    { 'C', "{\"ports\":[{\"containerPort\":65536,\"protocol\":\"UDP\",\"name\":\"web\"}]}",
      SERVICE_NOT_VALID,
      "Port name web is not allowed: " C0 ".ports\nName must be empty, or one of: 'h2c', 'http1'\n"
      "expected 0 <= 65536 <= 65535: " C0 ".ports.containerPort\ninvalid value: UDP: " C0
      ".ports.protocol" },
    { 'C', "{\"ports\":[{\"containerPort\":1},{\"containerPort\":2}]}", SERVICE_NOT_VALID,
      "more than one container port is set: spec.template.spec.containers[*].ports\nOnly a single port "
      "is allowed across all containers" },
    { 'C', "{\"ports\":[{\"hostPort\":80}]}", SERVICE_NOT_VALID,
      "must not set the field(s): " C0 ".ports[0].hostPort" },
    { 'C', "{\"resources\":{\"limits\":{\"nvidia.com/gpu\":1,\"cpu\":\"-1\"}}}", SERVICE_NOT_VALID,
      "invalid value: -1: " C0 ".resources.limits.cpu\nmust be greater than or equal to 0\nthis node has "
      "no nvidia.com/gpu: " C0 ".resources.limits.nvidia.com/gpu\nhob does not promise devices that are "
      "not there; see hob doctor" },
    { 'C', "{\"resources\":{\"limits\":{\"cpu\":\"0\"}}}", SERVICE_NOT_VALID,
      "invalid value: 0: " C0 ".resources.limits.cpu\na limit of cpu must be 1m to 1024000m" },
    { 'C', "{\"resources\":{\"limits\":{\"memory\":\"9223372036854775807\"}}}", SERVICE_NOT_VALID,
      "invalid value: 9223372036854775807: " C0 ".resources.limits.memory\na limit of memory must be 4194304 to "
      "1099511627776" },
    { 'C', "{\"resources\":{\"limits\":{\"memory\":\"1Ki\"}}}", SERVICE_NOT_VALID,
      "invalid value: 1Ki: " C0 ".resources.limits.memory\na limit of memory must be 4194304 to 1099511627776" },
    { 'C', "{\"resources\":{\"requests\":{\"cpu\":\"2000\"}}}", SERVICE_NOT_VALID,
      "invalid value: 2k: " C0 ".resources.requests.cpu\na request for cpu must be 0m to 1024000m" },
    { 'C', "{\"resources\":{\"limits\":{\"ephemeral-storage\":\"1Ei\"}}}", SERVICE_NOT_VALID,
      "invalid value: 1Ei: " C0 ".resources.limits.ephemeral-storage\na limit of ephemeral-storage must be 65536 to "
      "1099511627776" },
    { 'C', "{\"resources\":{\"limits\":{\"memory\":\"1Gi\"},\"requests\":{\"memory\":\"1025Mi\"}}}",
      SERVICE_NOT_VALID,
      "invalid value: 1025Mi: " C0 ".resources.requests.memory\nmust be less than or equal to memory "
      "limit of 1Gi" },
    { 'C', "{\"securityContext\":{\"runAsUser\":0,\"runAsNonRoot\":true}}", SERVICE_NOT_VALID,
      "invalid value: 0: " C0 ".securityContext.runAsUser\nrunAsNonRoot is true" },
    { 'C', "{\"terminationMessagePolicy\":\"x\",\"imagePullPolicy\":\"y\",\"workingDir\":\"z\"}",
      SERVICE_NOT_VALID,
      "invalid value: x: " C0 ".terminationMessagePolicy\ninvalid value: y: " C0
      ".imagePullPolicy\ninvalid value: z: " C0 ".workingDir\nmust be absolute" },
    /* probes */
    { 'C', "{\"readinessProbe\":{\"failureThreshold\":1,\"timeoutSeconds\":1}}", SERVICE_NOT_VALID,
      "failureThreshold is disallowed when periodSeconds is zero: " C0
      ".readinessProbe.failureThreshold\ntimeoutSeconds is disallowed when periodSeconds is zero: " C0
      ".readinessProbe.timeoutSeconds" },
    { 'C', "{\"readinessProbe\":{\"periodSeconds\":1,\"timeoutSeconds\":-1,\"successThreshold\":0}}",
      SERVICE_NOT_VALID,
      "expected 1 <= -1 <= 2147483647: " C0 ".readinessProbe.timeoutSeconds\nexpected 1 <= 0 <= "
      "2147483647: " C0 ".readinessProbe.successThreshold" },
    { 'C', "{\"readinessProbe\":{\"httpGet\":{},\"tcpSocket\":{}}}", SERVICE_NOT_VALID,
      "expected exactly one, got both: " C0 ".readinessProbe.httpGet, " C0 ".readinessProbe.tcpSocket" },
    { 'C', "{\"readinessProbe\":{\"httpGet\":{\"port\":\"web\",\"scheme\":\"FTP\"}}}", SERVICE_NOT_VALID,
      "invalid value: FTP: " C0 ".readinessProbe.httpGet.scheme\ninvalid value: web: " C0
      ".readinessProbe.httpGet.port\nProbe port must match container port" },
    { 'C', "{\"livenessProbe\":{\"exec\":{}}}", SERVICE_NOT_VALID,
      "missing field(s): " C0 ".livenessProbe.exec.command" },
    { 'C', "{\"livenessProbe\":{\"successThreshold\":2,\"periodSeconds\":0,\"tcpSocket\":{\"host\":\"other\"}}}",
      SERVICE_NOT_VALID,
      "expected 1 <= 0 <= 2147483647: " C0 ".livenessProbe.periodSeconds\ninvalid value: 2: " C0
      ".livenessProbe.successThreshold\nmust be 1\ninvalid value: other: " C0
      ".livenessProbe.tcpSocket.host\na probe reaches only the instance itself" },
    { 'C', "{\"startupProbe\":{\"failureThreshold\":-1,\"httpGet\":{\"path\":\"/a b\",\"host\":\"x y\","
           "\"httpHeaders\":[{\"name\":\"A:\",\"value\":\"x\\r\\ny\"},{\"name\":\"B\",\"value\":\"c d\"}]}}}",
      SERVICE_NOT_VALID,
      "expected 1 <= -1 <= 2147483647: " C0 ".startupProbe.failureThreshold\ninvalid value: /a b: " C0
      ".startupProbe.httpGet.path\nwant at most 2000 bytes that a request line can carry\ninvalid value: A:: "
      C0 ".startupProbe.httpGet.httpHeaders[0].name\ninvalid value: x\r\ny: " C0
      ".startupProbe.httpGet.httpHeaders[0].value\ninvalid value: x y: " C0 ".startupProbe.httpGet.host" },
    /* volumes and mounts */
    { 'P', "{\"containers\":[{\"image\":\"file:///f\",\"volumeMounts\":[{\"name\":\"m\",\"mountPath\":"
           "\"/c/../../etc\"},{\"name\":\"m\",\"mountPath\":\"//proc/\"},{\"name\":\"m\",\"mountPath\":"
           "\"/proc/1\"},{\"name\":\"m\",\"mountPath\":\"/process/..x\"}]}],\"volumes\":[{\"name\":\"m\",\"configMap\":"
           "{\"name\":\"a\"}}]}",
      SERVICE_NOT_VALID,
      "invalid value: /c/../../etc: " C0 ".volumeMounts[0].mountPath\nmust not contain '..'\nmountPath \"/proc\" is a "
      "reserved path: " C0 ".volumeMounts[1].mountPath\nmountPath \"/proc/1\" is a reserved path: " C0
      ".volumeMounts[2].mountPath" },
    { 'P', "{\"volumes\":[{\"name\":\"m\",\"emptyDir\":{}}]}", SERVICE_NOT_VALID,
      "volume with name \"m\" not mounted: spec.template.spec.volumes[0].name" },
    { 'C', "{\"volumeMounts\":[{\"name\":\"m\",\"mountPath\":\"/m\"}]}", SERVICE_NOT_VALID,
      "volumeMount has no matching volume: " C0 ".volumeMounts[0].name" },
    { 'P', "{\"containers\":[{\"image\":\"file:///f\",\"volumeMounts\":[{\"name\":\"m\",\"mountPath\":"
           "\"/a\"},{\"name\":\"m\",\"mountPath\":\"/.//a/\"},{\"name\":\"m\",\"mountPath\":"
           "\"/dev/./log\"},{\"name\":\"m\",\"mountPath\":\"b\"},{\"name\":\"m\"}]}],"
           "\"volumes\":[{\"name\":\"m\",\"emptyDir\":{\"medium\":\"Disk\",\"sizeLimit\":\"-1Mi\"}}]}",
      SERVICE_NOT_VALID,
      "invalid value: \"/.//a/\" must be unique: " C0 ".volumeMounts[1].mountPath\ninvalid value: "
      "-1Mi: spec.template.spec.volumes[0].emptyDir.sizeLimit\ninvalid value: Disk: "
      "spec.template.spec.volumes[0].emptyDir.medium\ninvalid value: b: " C0
      ".volumeMounts[3].mountPath\nmissing field(s): " C0
      ".volumeMounts[4].mountPath\nmountPath \"/dev/log\" is a reserved path: " C0
      ".volumeMounts[2].mountPath" },
    { 'P', "{\"containers\":[{\"image\":\"file:///f\",\"volumeMounts\":[{\"name\":\"m\",\"mountPath\":"
           "\"/a\",\"subPath\":\"x\"}]}],\"volumes\":[{\"name\":\"m\"},{\"name\":\"m\",\"emptyDir\":{},"
           "\"image\":{\"reference\":\"ftp://x/y\"}}]}",
      SERVICE_NOT_VALID,
      "duplicate volume name \"m\": spec.template.spec.volumes[1].name\nexpected exactly one, got both: "
      "spec.template.spec.volumes[1].emptyDir, spec.template.spec.volumes[1].image\nexpected exactly "
      "one, got neither: spec.template.spec.volumes[0].configMap, spec.template.spec.volumes[0].emptyDir, "
      "spec.template.spec.volumes[0].image, spec.template.spec.volumes[0].projected, "
      "spec.template.spec.volumes[0].secret\ninvalid value: ftp://x/y: "
      "spec.template.spec.volumes[1].image.reference\ncould not parse reference: ftp://x/y\nsubPath "
      "support is disabled: " C0 ".volumeMounts[0].subPath\nhob mounts a part of a configMap, secret or projected volume "
      "only" },
    { 'P', "{\"containers\":[{\"image\":\"file:///f\",\"volumeMounts\":[{\"name\":\"m\",\"mountPath\":"
           "\"/a\"}]}],\"volumes\":[{\"name\":\"m\",\"image\":{\"reference\":\"http://h/m.bin\"}}]}",
      SERVICE_NOT_VALID,
      "invalid value: http://h/m.bin: spec.template.spec.volumes[0].image.reference\nwhat comes over the "
      "network is verified before its first use: add @sha256:<hex>" },
    /* traffic */
    { 'S', "{\"spec\":{\"traffic\":[{\"percent\":50}]}}", SERVICE_NOT_VALID,
      "Traffic targets sum to 50, want 100: spec.traffic" },
    { 'S', "{\"spec\":{\"traffic\":[{\"percent\":101,\"url\":\"x\"},{\"percent\":-1,\"configurationName\":"
           "\"f\"}]}}",
      SERVICE_NOT_VALID,
      "expected 0 <= -1 <= 100: spec.traffic[1].percent\nexpected 0 <= 101 <= 100: "
      "spec.traffic[0].percent\nmust not set the field(s): spec.traffic[0].url, "
      "spec.traffic[1].configurationName" },
    { 'S', "{\"spec\":{\"traffic\":[{\"percent\":100,\"tag\":\"a\"},{\"percent\":0,\"tag\":\"a\"}]}}",
      SERVICE_NOT_VALID, "Multiple definitions for \"a\": spec.traffic[0].tag, spec.traffic[1].tag" },
    { 'S', "{\"spec\":{\"traffic\":[{\"percent\":100,\"revisionName\":\"f-1\",\"latestRevision\":true}]}}",
      SERVICE_NOT_VALID,
      "may not set revisionName \"f-1\" when latestRevision is true: spec.traffic[0].latestRevision" },
    { 'S', "{\"metadata\":{\"annotations\":{\"serving.knative.dev/rollout-duration\":\"soon\"}}}",
      SERVICE_NOT_VALID,
      "invalid value: soon: metadata.annotations.serving.knative.dev/rollout-duration\n"
      "duration \"soon\": not a number with a unit" },
    { 'S', "{\"metadata\":{\"annotations\":{\"serving.knative.dev/rollout-duration\":\"-5s\"}}}",
      SERVICE_NOT_VALID,
      "rollout-duration=-5s must be positive: metadata.annotations.serving.knative.dev/rollout-duration" },
    { 'S', "{\"metadata\":{\"annotations\":{\"serving.knative.dev/rollout-duration\":\"1500ms\"}}}",
      SERVICE_NOT_VALID,
      "rollout-duration=1500ms is not at second precision: "
      "metadata.annotations.serving.knative.dev/rollout-duration" },
    { 'S', "{\"metadata\":{\"annotations\":{\"serving.knative.dev/rolloutDuration\":\"-5s\"}}}",
      SERVICE_NOT_VALID,
      "rollout-duration=-5s must be positive: metadata.annotations.serving.knative.dev/rolloutDuration" },
    { 'S', "{\"spec\":{\"traffic\":[{\"percent\":100,\"tag\":\"a2345678901234567890123456789012345678901234567890123456789012\"}]}}",
      SERVICE_NOT_VALID,
      "invalid value: its host would begin with a2345678901234567890123456789012345678901234567890123456789012-f, and no "
      "part of a host name is longer than 63 bytes: spec.traffic[0].tag" },
    /* annotations */
    { 'A', "{\"autoscaling.knative.dev/min-scale\":\"x\"}", SERVICE_NOT_VALID,
      "invalid value: x: " AN "min-scale" },
    { 'A', "{\"autoscaling.knative.dev/minScale\":\"-1\"}", SERVICE_NOT_VALID,
      "expected 0 <= -1 <= 2147483647: " AN "minScale" },
    { 'A', "{\"autoscaling.knative.dev/max-scale\":\"2147483648\"}", SERVICE_NOT_VALID,
      "expected 0 <= 2147483648 <= 2147483647: " AN "max-scale" },
    { 'A', "{\"autoscaling.knative.dev/min-scale\":\"242\"}", SERVICE_NOT_VALID,
      "min-scale=242 can never be reached: this node has room for 256 instances, 15 of them for the first ones of other "
      "services: " AN "min-scale" },
    { 'A', "{\"autoscaling.knative.dev/min-scale\":\"3\",\"autoscaling.knative.dev/max-scale\":\"2\"}",
      SERVICE_NOT_VALID, "max-scale=2 is less than min-scale=3: " AN "max-scale, " AN "min-scale" },
    { 'A', "{\"autoscaling.knative.dev/target\":\"0.001\"}", SERVICE_NOT_VALID,
      "target 0.001 should be at least 0.01: " AN "target" },
    { 'A', "{\"autoscaling.knative.dev/target-utilization-percentage\":\"0\"}", SERVICE_NOT_VALID,
      "expected 1 <= 0 <= 100: " AN "target-utilization-percentage" },
    { 'A', "{\"autoscaling.knative.dev/window\":\"2s\"}", SERVICE_NOT_VALID,
      "expected 6s <= 2s <= 1h0m0s: " AN "window" },
    { 'A', "{\"autoscaling.knative.dev/window\":\"6500ms\"}", SERVICE_NOT_VALID,
      "must be specified with at most second precision: " AN "window" },
    { 'A', "{\"autoscaling.knative.dev/scale-to-zero-pod-retention-period\":\"2h\"}", SERVICE_NOT_VALID,
      "expected 0s <= 2h <= 1h0m0s: " AN "scale-to-zero-pod-retention-period" },
    { 'A', "{\"autoscaling.knative.dev/target-burst-capacity\":\"-2\"}", SERVICE_NOT_VALID,
      "invalid value: -2: " AN "target-burst-capacity" },
    { 'A', "{\"autoscaling.knative.dev/panic-threshold-percentage\":\"100\"}", SERVICE_NOT_VALID,
      "expected 110 <= 100 <= 1000: " AN "panic-threshold-percentage" },
    { 'A', "{\"autoscaling.knative.dev/class\":\"x.autoscaling.knative.dev\"}", SERVICE_NOT_VALID,
      "invalid value: x.autoscaling.knative.dev: " AN "class" },
    { 'A', "{\"autoscaling.knative.dev/metric\":\"cpu\"}", SERVICE_NOT_VALID,
      "invalid value: cpu: " AN "metric" },
    { 'A', "{\"autoscaling.knative.dev/activation-scale\":\"1\"}", SERVICE_NOT_VALID,
      "activation-scale=1 must be greater than 1: " AN "activation-scale" },
    { 'A', "{\"autoscaling.knative.dev/activation-scale\":\"3\",\"autoscaling.knative.dev/max-scale\":"
           "\"2\"}",
      SERVICE_NOT_VALID, "max-scale=2 is less than activation-scale=3: " AN "activation-scale" },
    { 'A', "{\"serving.knative.dev/progress-deadline\":\"1.5s\"}", SERVICE_NOT_VALID,
      "progress-deadline=1.5s is not at second precision: "
      "spec.template.metadata.annotations.serving.knative.dev/progress-deadline" },
    { 'A', "{\"hob.dev/queue-depth\":\"many\"}", SERVICE_NOT_VALID,
      "invalid value: many: spec.template.metadata.annotations.hob.dev/queue-depth" },
    { 'A', "{\"hob.dev/start-budget\":\"0s\"}", SERVICE_NOT_VALID,
      "expected 1ms <= 0s <= 1h0m0s: spec.template.metadata.annotations.hob.dev/start-budget" },
    { 'A', "{\"hob.dev/min-scale\":\"1\"}", SERVICE_NOT_VALID,
      "invalid key name \"hob.dev/min-scale\" (did you mean \"autoscaling.knative.dev/min-scale\"?): "
      "spec.template.metadata.annotations.hob.dev/min-scale" },
    { 'A', "{\"hob.dev/elephant\":\"1\"}", SERVICE_NOT_VALID,
      "invalid key name \"hob.dev/elephant\": "
      "spec.template.metadata.annotations.hob.dev/elephant" },
    { 'A', "{\"hob.dev/task-queue\":\"\"}", SERVICE_NOT_VALID,
      "invalid value: a name has 1 to 1000 bytes, this one 0: spec.template.metadata.annotations.hob.dev/task-queue" },
    { 'A', "{\"hob.dev/task-queue\":\"a\\tb\"}", SERVICE_NOT_VALID,
      "invalid value: a name has no control characters: spec.template.metadata.annotations.hob.dev/task-queue" },
    { 'A', "{\"hob.dev/task-queue\":\"/_sys/x\"}", SERVICE_NOT_VALID,
      "invalid value: /_sys/x: spec.template.metadata.annotations.hob.dev/task-queue\nNames that begin with /_sys/ are "
      "Temporal's own" },
    { 'A', "{\"hob.dev/task-queue-namespace\":\"orders\"}", SERVICE_NOT_VALID,
      "missing field(s): spec.template.metadata.annotations.hob.dev/task-queue" },
    { 'A', "{\"hob.dev/task-queue\":\"q\",\"hob.dev/task-queue-namespace\":\"\"}", SERVICE_NOT_VALID,
      "invalid value: a name has 1 to 255 bytes, this one 0: "
      "spec.template.metadata.annotations.hob.dev/task-queue-namespace" },
    { 'A', "{\"hob.dev/task-queue\":\"q\",\"autoscaling.knative.dev/metric\":\"rps\"}", SERVICE_NOT_VALID,
      "invalid value: rps: " AN "metric\nWhat is bound to a task queue is scaled on tasks at once: concurrency" },
    { 'A', "{\"hob.dev/quue-depth\":\"1\"}", SERVICE_NOT_VALID,
      "invalid key name \"hob.dev/quue-depth\" (did you mean \"hob.dev/queue-depth\"?): "
      "spec.template.metadata.annotations.hob.dev/quue-depth" },
};

TEST(what_is_wrong_is_refused_with_path_and_reason_in_knative_words)
{
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        AUTO_JSON json_t *in = minimal();
        struct service_terms t = terms();
        struct service_draft d;
        limits.pod_containers_max = 1; /* so that the words for a feature that is off are seen, too */
        patch_at(in, refused[i].where, refused[i].patch);
        service_prepare(in, NULL, &t, &d);
        AUTO_FREE char *text = text_of(&d.refused);
        bool right = d.refusal == refused[i].refusal && strcmp(text, refused[i].text) == 0 && !d.object;
        if (!right)
            printf("# row %zu %s: refusal %d\n# got      %s\n# expected %s\n", i, refused[i].patch,
                   (int)d.refusal, text, refused[i].text);
        service_draft_done(&d);
        CHECK(right);
    }
}

/* ---- several containers ---- */

#define TWO(a, b) "{\"containers\":[{\"image\":\"file:///a\"" a "},{\"image\":\"file:///b\"" b "}]}"
#define SERVING   ",\"ports\":[{\"containerPort\":80}]"
#define BEFORE(a, i) "{\"containers\":[{\"image\":\"file:///a\"" a "}],\"initContainers\":[{\"image\":\"file:///i\"" i "}]}"
#define C1 "spec.template.spec.containers[1]"
#define I0 "spec.template.spec.initContainers[0]"
#define NO_OWN_PORT "a container without ports has no port of its own to try"

static const struct {
    const char *patch, *text; /* "": it is right */
} several[] = {
    { TWO(SERVING, ""), "" },
    { TWO("", SERVING), "" },
    { BEFORE("", ""), "" },
    { TWO("", ""), "missing field(s): spec.template.spec.containers.ports\n"
                   "the container with a port is the one that gets the requests" },
    { TWO(SERVING, SERVING), "more than one container port is set: spec.template.spec.containers[*].ports\n"
                             "Only a single port is allowed across all containers" },
    { TWO(SERVING ",\"name\":\"x\"", ",\"name\":\"x\""), "duplicate container name \"x\": " C1 ".name" },
    { TWO(SERVING ",\"name\":\"a_b\"", ""), "invalid value: a_b: " C0 ".name\na lowercase RFC 1123 label must consist of "
      "lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name', "
      " or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')" },
    { BEFORE(",\"name\":\"x\"", ",\"name\":\"x\""), "duplicate container name \"x\": " C0 ".name" },
    { TWO(SERVING, ",\"env\":[{\"name\":\"PORT\",\"value\":\"1\"}]"), "" },
    { TWO(SERVING, ",\"env\":[{\"name\":\"K_SERVICE\",\"value\":\"1\"}]"),
      "\"K_SERVICE\" is a reserved environment variable: " C1 ".env[0].name" },
    { TWO(",\"env\":[{\"name\":\"PORT\"}]", SERVING), "" }, /* the first is the sidecar */
    { TWO(SERVING, ",\"readinessProbe\":{\"tcpSocket\":{\"port\":90}}"), "" },
    { TWO(SERVING, ",\"readinessProbe\":{\"exec\":{\"command\":[\"x\"]}}"), "" },
    { TWO(SERVING, ",\"livenessProbe\":{\"httpGet\":{\"path\":\"/\"}}"),
      "missing field(s): " C1 ".livenessProbe.httpGet.port\n" NO_OWN_PORT },
    { BEFORE("", ",\"readinessProbe\":{\"tcpSocket\":{\"port\":90}}"),
      "field not allowed in an init container: " I0 ".readinessProbe" },
    { BEFORE("", SERVING), "must not set the field(s): " I0 ".ports" },
    { BEFORE("", ",\"lifecycle\":{}"), "must not set the field(s): " I0 ".lifecycle" },
    { TWO(SERVING, ",\"restartPolicy\":\"Always\""), "must not set the field(s): " C1 ".restartPolicy" },
    { TWO(SERVING, ",\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/v\"}]"),
      "volumeMount has no matching volume: " C1 ".volumeMounts[0].name" },
};

TEST(several_containers_are_taken_or_refused_in_knative_words)
{
    for (size_t i = 0; i < COUNT_OF(several); i++) {
        AUTO_JSON json_t *in = minimal();
        struct service_terms t = terms();
        struct service_draft d;
        limits.pod_containers_max = 3;
        patch_at(in, 'P', several[i].patch);
        service_prepare(in, NULL, &t, &d);
        AUTO_FREE char *text = text_of(&d.refused);
        bool right = strcmp(text, several[i].text) == 0 && (*text ? !d.object : d.object != NULL);
        if (!right)
            printf("# row %zu %s\n# got      %s\n# expected %s\n", i, several[i].patch, text, several[i].text);
        service_draft_done(&d);
        CHECK(right);
    }
}

TEST(containers_have_a_bound_and_names)
{
    AUTO_JSON json_t *in = minimal();
    struct service_terms t = terms();
    struct service_draft d;
    limits.pod_containers_max = 3;
    patch_at(in, 'P', "{\"containers\":[{\"image\":\"file:///a\"},{\"image\":\"file:///b\",\"name\":\"user-container-0\""
                      SERVING "},{\"image\":\"file:///c\"}],\"initContainers\":[{\"image\":\"file:///i\"}]}");
    service_prepare(in, NULL, &t, &d);
    AUTO_FREE char *text = text_of(&d.refused);
    CHECK_STR(text, "expected 1 <= 4 <= 3: spec.template.spec.containers\nwith the init containers (limit "
                    "pod_containers_max)");
    service_draft_done(&d);
    limits.pod_containers_max = 4;
    service_prepare(in, NULL, &t, &d);
    CHECK(d.object != NULL);
    CHECK_STR(json_text_at(d.object, POD_PATH ".containers.0.name"), "user-container-1");
    CHECK_STR(json_text_at(d.object, POD_PATH ".containers.2.name"), "user-container-2");
    CHECK_STR(json_text_at(d.object, POD_PATH ".initContainers.0.name"), "init-container");
    CHECK(json_at(d.object, POD_PATH ".containers.1.readinessProbe") != NULL);
    CHECK(json_at(d.object, POD_PATH ".containers.0.readinessProbe") == NULL);
    CHECK(json_at(d.object, POD_PATH ".initContainers.0.readinessProbe") == NULL);
    service_draft_done(&d);
}

static char *prepared(json_t *in, char **ret_warnings)
{
    struct service_terms t = terms();
    struct service_draft d;
    struct buf b;
    service_prepare(in, NULL, &t, &d);
    *ret_warnings = text_of(&d.warnings);
    char *refusals = text_of(&d.refused);
    if (!d.object)
        printf("# %s\n", refusals);
    free(refusals);
    buf_init(&b, 1 << 20);
    if (d.object)
        json_write(d.object, &b);
    service_draft_done(&d);
    return buf_take_text(&b);
}

TEST(a_minimal_service_is_completed_as_knative_stores_it)
{
    AUTO_JSON json_t *in = minimal();
    AUTO_FREE char *warnings = NULL;
    AUTO_FREE char *text = prepared(in, &warnings);
    CHECK_STR(text,
              "{\"apiVersion\":\"serving.knative.dev/v1\",\"kind\":\"Service\",\"metadata\":{\"name\":"
              "\"f\",\"namespace\":\"default\"},\"spec\":{\"template\":{\"spec\":{\"containers\":[{"
              "\"image\":\"file:///srv/f\",\"resources\":{},\"name\":\"user-container\",\"readinessProbe\":{\"tcpSocket\":"
              "{\"port\":0},\"successThreshold\":1}}],\"containerConcurrency\":0,"
              "\"enableServiceLinks\":false,\"timeoutSeconds\":300},\"metadata\":{}},\"traffic\":[{"
              "\"latestRevision\":true,\"percent\":100}]}}");
    CHECK_STR(warnings, "");
}

TEST(what_clients_send_out_of_habit_is_dropped_without_a_word)
{
    AUTO_JSON json_t *in = minimal();
    AUTO_JSON json_t *plain = minimal();
    AUTO_FREE char *w1 = NULL;
    AUTO_FREE char *w2 = NULL;
    patch_at(in, 'C', "{\"name\":\"\",\"resources\":{},\"stdin\":false,\"workingDir\":\"\"}");
    patch_at(in, 'P', "{\"hostNetwork\":false,\"nodeName\":\"\",\"timeoutSeconds\":0}");
    (void)json_object_set_new(in, "status", json_pack("{s:[]}", "conditions"));
    (void)json_object_set_new(json_object_get(in, "metadata"), "creationTimestamp", json_null());
    (void)json_object_set_new(json_object_get(in, "metadata"), "uid", json_string("x"));
    (void)json_object_set_new(json_at(in, "spec.template"), "metadata",
                              json_pack("{s:n,s:s}", "creationTimestamp", "name", ""));
    AUTO_FREE char *text = prepared(in, &w1);
    AUTO_FREE char *expected = prepared(plain, &w2);
    AUTO_JSON json_t *a = tree(text);
    AUTO_JSON json_t *b = tree(expected);
    CHECK(json_equal(a, b));
    CHECK_STR(w1, "");
}

TEST(a_completed_service_is_not_changed_by_coming_again)
{
    AUTO_JSON json_t *in = minimal();
    AUTO_FREE char *w1 = NULL;
    AUTO_FREE char *w2 = NULL;
    patch_at(in, 'P',
             "{\"containers\":[{\"image\":\"file:///f\",\"resources\":{\"limits\":{\"memory\":\"1024Mi\","
             "\"cpu\":0.5}},\"readinessProbe\":{\"periodSeconds\":5,\"httpGet\":{\"path\":\"/h\"}},"
             "\"volumeMounts\":[{\"name\":\"m\",\"mountPath\":\"/m\"},{\"name\":\"s\",\"mountPath\":"
             "\"/s\"}]}],\"volumes\":[{\"name\":\"m\",\"image\":{\"reference\":\"file:///m@sha256:" HEX64
             "\"}},{\"name\":\"s\",\"emptyDir\":{\"sizeLimit\":\"0.5Gi\"}}]}");
    AUTO_FREE char *once = prepared(in, &w1);
    AUTO_JSON json_t *again = tree(once);
    AUTO_FREE char *twice = prepared(again, &w2);
    CHECK_STR(twice, once);
    CHECK_STR(w1, "");
    CHECK_STR(json_text_key(again, POD_PATH ".containers.0.resources.limits", "memory"), "1Gi");
    CHECK_STR(json_text_key(again, POD_PATH ".containers.0.resources.limits", "cpu"), "500m");
    CHECK_STR(json_text_at(again, POD_PATH ".volumes.1.emptyDir.sizeLimit"), "512Mi");
    CHECK(json_is_true(json_at(again, POD_PATH ".containers.0.volumeMounts.0.readOnly")));
    CHECK(!json_at(again, POD_PATH ".containers.0.volumeMounts.1.readOnly"));
    CHECK_EQ(json_int_at(again, POD_PATH ".containers.0.readinessProbe.failureThreshold", 0), 3);
    CHECK_EQ(json_int_at(again, POD_PATH ".containers.0.readinessProbe.timeoutSeconds", 0), 1);
}

TEST(a_worker_without_port_is_not_probed_and_the_port_that_hob_serves_is_refused)
{
    AUTO_JSON json_t *in = minimal();
    AUTO_FREE char *w1 = NULL;
    AUTO_FREE char *w2 = NULL;
    AUTO_FREE char *w3 = NULL;
    patch_at(in, 'A', "{\"hob.dev/task-queue\":\"q\"}");
    AUTO_FREE char *once = prepared(in, &w1);
    AUTO_JSON json_t *worker = tree(once);
    CHECK(json_at(worker, POD_PATH ".containers.0.image") && !json_at(worker, POD_PATH ".containers.0.readinessProbe"));
    AUTO_FREE char *again = prepared(worker, &w2);
    CHECK_STR(again, once);

    AUTO_JSON json_t *with_port = minimal();
    patch_at(with_port, 'A', "{\"hob.dev/task-queue\":\"q\"}");
    patch_at(with_port, 'C', "{\"ports\":[{\"containerPort\":8080}]}");
    AUTO_FREE char *probed = prepared(with_port, &w3);
    AUTO_JSON json_t *served = tree(probed);
    CHECK(json_at(served, POD_PATH ".containers.0.readinessProbe.tcpSocket"));

    AUTO_JSON json_t *taken = minimal();
    patch_at(taken, 'A', "{\"hob.dev/task-queue\":\"q\"}");
    patch_at(taken, 'C', "{\"ports\":[{\"containerPort\":7233}]}");
    struct service_draft d;
    struct service_terms t = terms();
    service_prepare(taken, NULL, &t, &d);
    CHECK(d.refusal == SERVICE_NOT_VALID && d.refused.count == 1);
    CHECK_STR(d.refused.rows[0].path, POD_PATH ".containers[0].ports.containerPort");
    service_draft_done(&d);
}

#define EMPTY_STATE "{\"containers\":[{\"image\":\"file:///f\",\"volumeMounts\":[{\"name\":\"agent-state\"," \
                    "\"mountPath\":\"/s\"}]}],\"volumes\":[{\"name\":\"agent-state\",\"emptyDir\":{}}]}"
static const struct {
    char where;
    const char *patch, *warning; /* a part of it; NULL: none at all */
} warned[] = {
    { 'C', "{\"env\":[{\"name\":\"MODEL_URI\",\"value\":\"s3://b/m\"}]}",
      "every instance downloads for itself" },
    { 'C', "{\"env\":[{\"name\":\"HF_MODEL_ID\",\"value\":\"org/name\"}]}",
      "every instance downloads for itself" },
    { 'C', "{\"env\":[{\"name\":\"MODEL\",\"value\":\"/models/a\"}]}", NULL },
    { 'C', "{\"env\":[{\"name\":\"DOCS\",\"value\":\"https://x/y\"}]}", NULL },
    { 'C', "{\"env\":[{\"name\":\"OPENAI_BASE_URL\",\"value\":\"http://m/v1\"}]}",
      "any number of requests may reach it at once" },
    { 'P', EMPTY_STATE, "lost with its instance, and instances end when nobody calls" },
    { 'P', "{\"containers\":[{\"image\":\"file:///f\",\"volumeMounts\":[{\"name\":\"m\",\"mountPath\":"
           "\"/m\"}]}],\"volumes\":[{\"name\":\"m\",\"image\":{\"reference\":\"file:///m\"}}]}",
      "not pinned by @sha256" },
    { 'A', "{\"autoscaling.knative.dev/minscale\":\"1\"}", "no annotation has this name (did you mean \"autoscaling.knative.dev/min-scale\"?): " AN "minscale" },
    { 'A', "{\"autoscaling.knative.dev/metric\":\"rps\"}", NULL },
    { 'A', "{\"autoscaling.knative.dev/panic-window-percentage\":\"20\"}", NULL },
    { 'A', "{\"autoscaling.knative.dev/class\":\"hpa.autoscaling.knative.dev\","
           "\"autoscaling.knative.dev/metric\":\"cpu\"}", "hob scales on concurrency, not on cpu" },
    { 'A', "{\"autoscaling.knative.dev/class\":\"hpa.autoscaling.knative.dev\"}",
      "hob scales as kpa.autoscaling.knative.dev does, not as hpa.autoscaling.knative.dev" },
    { 'A', "{\"autoscaling.knative.dev/max-scale\":\"1000\"}", "at most 256 instances" },
    { 'A', "{\"autoscaling.knative.dev/max-scale\":\"10\",\"autoscaling.knative.dev/window\":\"30s\"}",
      NULL },
    { 'C', "{\"securityContext\":{\"allowPrivilegeEscalation\":true}}", "never gains privileges" },
    { 'C', "{\"securityContext\":{\"allowPrivilegeEscalation\":false,\"runAsNonRoot\":true,"
           "\"readOnlyRootFilesystem\":true,\"capabilities\":{\"drop\":[\"ALL\"]},\"seccompProfile\":{"
           "\"type\":\"RuntimeDefault\"}}}",
      NULL },
    { 'C', "{\"livenessProbe\":{\"tcpSocket\":{}},\"startupProbe\":{\"httpGet\":{}}}", NULL },
    { 'P', "{\"serviceAccountName\":\"robot\"}", "has no effect in hob" },
};

TEST(mistakes_that_can_be_seen_are_warned_of)
{
    for (size_t i = 0; i < COUNT_OF(warned); i++) {
        AUTO_JSON json_t *in = minimal();
        AUTO_FREE char *warnings = NULL;
        patch_at(in, warned[i].where, warned[i].patch);
        AUTO_FREE char *text = prepared(in, &warnings);
        CHECK(*text);
        if (warned[i].warning ? !strstr(warnings, warned[i].warning) : *warnings)
            FAIL("row %zu %s: '%s', expected '%s'", i, warned[i].patch, warnings,
                 warned[i].warning ? warned[i].warning : "");
    }
}

TEST(a_bounded_product_of_concurrency_and_scale_is_no_swarm)
{
    AUTO_JSON json_t *in = minimal();
    AUTO_FREE char *warnings = NULL;
    patch_at(in, 'C', "{\"env\":[{\"name\":\"OPENAI_BASE_URL\",\"value\":\"http://m/v1\"}]}");
    patch_at(in, 'P', "{\"containerConcurrency\":4}");
    patch_at(in, 'A', "{\"autoscaling.knative.dev/max-scale\":\"8\"}");
    AUTO_FREE char *text = prepared(in, &warnings);
    CHECK(*text);
    CHECK_STR(warnings, "");
}

TEST(unknown_fields_are_dropped_where_the_caller_asks_for_it)
{
    AUTO_JSON json_t *in = minimal();
    struct service_terms t = terms();
    struct service_draft d;
    patch_at(in, 'P', "{\"foo\":1}");
    t.unknown = SERVICE_UNKNOWN_WARN;
    service_prepare(in, NULL, &t, &d);
    CHECK_EQ(d.refusal, SERVICE_ACCEPTED);
    CHECK(!json_at(d.object, POD_PATH ".foo"));
    AUTO_FREE char *warnings = text_of(&d.warnings);
    CHECK_STR(warnings, "unknown field \"spec.template.spec.foo\": ");
    service_draft_done(&d);
    t.unknown = SERVICE_UNKNOWN_DROP;
    service_prepare(in, NULL, &t, &d);
    AUTO_FREE char *none = text_of(&d.warnings);
    CHECK(d.object && !*none);
    service_draft_done(&d);
}

TEST(a_name_can_be_completed)
{
    AUTO_JSON json_t *in = minimal();
    AUTO_FREE char *warnings = NULL;
    patch_at(in, 'S', "{\"metadata\":{\"name\":null,\"generateName\":\"f-\"}}");
    AUTO_FREE char *text = prepared(in, &warnings);
    CHECK(strstr(text, "\"name\":\"f-abcde\""));
}

TEST(a_named_template_may_not_change_under_its_name)
{
    AUTO_JSON json_t *in = minimal();
    struct service_terms t = terms();
    struct service_draft before, after;
    patch_at(in, 'S', "{\"spec\":{\"template\":{\"metadata\":{\"name\":\"f-one\"}}}}");
    service_prepare(in, NULL, &t, &before);
    CHECK(before.object);
    patch_at(in, 'C', "{\"image\":\"file:///other\"}");
    service_prepare(in, before.object, &t, &after);
    AUTO_FREE char *text = text_of(&after.refused);
    CHECK_STR(text, "Saw the following changes without a name change (-old +new): "
                    "spec.template.metadata.name\ntemplate.spec.containers[0].image:\n\t-: "
                    "\"file:///srv/f\"\n\t+: \"file:///other\"");
    service_draft_done(&after);
    patch_at(in, 'S', "{\"spec\":{\"template\":{\"metadata\":{\"name\":\"f-two\"}}}}");
    service_prepare(in, before.object, &t, &after);
    CHECK(after.object);
    service_draft_done(&after);
    service_draft_done(&before);
}

TEST(the_creator_may_not_be_changed)
{
    AUTO_JSON json_t *in = minimal();
    struct service_terms t = terms();
    struct service_draft before, after;
    patch_at(in, 'S', "{\"metadata\":{\"annotations\":{\"serving.knative.dev/creator\":\"a\"}}}");
    service_prepare(in, NULL, &t, &before);
    patch_at(in, 'S', "{\"metadata\":{\"annotations\":{\"serving.knative.dev/creator\":\"b\"}}}");
    service_prepare(in, before.object, &t, &after);
    AUTO_FREE char *text = text_of(&after.refused);
    CHECK_STR(text, "annotation value is immutable: metadata.annotations.serving.knative.dev/creator");
    service_draft_done(&after);
    service_draft_done(&before);
}

TEST(the_table_of_fields_is_sorted_and_whole)
{
    for (size_t i = 0; i < manifest_row_count; i++) {
        const struct manifest_row *row = &manifest_rows[i];
        if (i > 0 && strcmp(manifest_rows[i - 1].path, row->path) >= 0)
            FAIL("%s is out of order", row->path);
        bool found = row->kind != MANIFEST_LIST || row->like, like = !row->like;
        AUTO_FREE char *element = xasprintf("%s[]", row->path);
        for (size_t k = 0; k < manifest_row_count; k++) {
            found |= strcmp(manifest_rows[k].path, element) == 0;
            like |= row->like && strcmp(manifest_rows[k].path, row->like) == 0;
        }
        if (!found || !like)
            FAIL("%s: no row for its elements, or for what it is like", row->path);
        if (row->initial) {
            json_t *j = json_loads(row->initial, JSON_DECODE_ANY, NULL);
            if (!j)
                FAIL("%s: its default is not JSON", row->path);
            json_decref(j);
        }
    }
}

TEST(the_same_refusal_twice_is_said_once)
{
    struct refusals r = { 0 };
    refusals_add(&r, "b", "why", "wrong %d", 1);
    refusals_add(&r, "a", "why", "wrong 1");
    refusals_add(&r, "b", "why", "wrong 1");
    refusals_add(&r, "b", NULL, "wrong 1");
    AUTO_FREE char *text = text_of(&r);
    CHECK_STR(text, "wrong 1: b\nwrong 1: a, b\nwhy");
    refusals_done(&r);
}

TEST(refusals_have_a_bound_and_say_so)
{
    AUTO_JSON json_t *in = minimal();
    struct service_terms t = terms();
    struct service_draft d;
    json_t *env = json_array();
    for (int i = 0; i < REFUSALS_MAX + 7; i++)
        (void)json_array_append_new(env, json_pack("{s:s}", "name", "PORT"));
    (void)json_object_set_new(json_at(in, POD_PATH ".containers.0"), "env", env);
    service_prepare(in, NULL, &t, &d);
    AUTO_FREE char *text = text_of(&d.refused);
    CHECK(str_ends(str_of(text), STR("\nand 7 more")));
    service_draft_done(&d);
}

/* ---- numbers at the edge of what they can be ------------------------------------------------- */

/* %s: the number. The leaf's name is what a refusal has to mention. */
static const struct {
    char where;
    const char *patch, *leaf;
} numbers[] = {
    { 'P', "{\"containerConcurrency\":%s}", "containerConcurrency" },
    { 'P', "{\"timeoutSeconds\":%s}", "timeoutSeconds" },
    { 'P', "{\"responseStartTimeoutSeconds\":%s}", "responseStartTimeoutSeconds" },
    { 'P', "{\"idleTimeoutSeconds\":%s}", "idleTimeoutSeconds" },
    { 'C', "{\"ports\":[{\"containerPort\":%s}]}", "ports" },
    { 'C', "{\"securityContext\":{\"runAsUser\":%s}}", "runAsUser" },
    { 'C', "{\"securityContext\":{\"runAsGroup\":%s}}", "runAsGroup" },
    { 'C', "{\"readinessProbe\":{\"periodSeconds\":%s}}", "readinessProbe" },
    { 'C', "{\"readinessProbe\":{\"periodSeconds\":3,\"timeoutSeconds\":%s}}", "readinessProbe" },
    { 'C', "{\"readinessProbe\":{\"successThreshold\":%s}}", "readinessProbe" },
    { 'C', "{\"livenessProbe\":{\"initialDelaySeconds\":%s}}", "livenessProbe" },
    { 'C', "{\"startupProbe\":{\"failureThreshold\":%s}}", "startupProbe" },
    { 'C', "{\"resources\":{\"limits\":{\"cpu\":%s}}}", "resources.limits.cpu" },
    { 'C', "{\"resources\":{\"limits\":{\"memory\":%s}}}", "resources.limits.memory" },
    { 'C', "{\"resources\":{\"limits\":{\"ephemeral-storage\":%s}}}", "resources.limits.ephemeral-storage" },
    { 'C', "{\"resources\":{\"requests\":{\"cpu\":%s}}}", "resources.requests.cpu" },
    { 'C', "{\"resources\":{\"requests\":{\"memory\":%s}}}", "resources.requests.memory" },
    { 'A', "{\"autoscaling.knative.dev/min-scale\":\"%s\"}", "min-scale" },
    { 'A', "{\"autoscaling.knative.dev/max-scale\":\"%s\"}", "max-scale" },
    { 'A', "{\"autoscaling.knative.dev/initial-scale\":\"%s\"}", "initial-scale" },
    { 'A', "{\"autoscaling.knative.dev/activation-scale\":\"%s\"}", "activation-scale" },
    { 'A', "{\"autoscaling.knative.dev/target\":\"%s\"}", "target" },
    { 'A', "{\"autoscaling.knative.dev/target-burst-capacity\":\"%s\"}", "target-burst-capacity" },
    { 'A', "{\"autoscaling.knative.dev/target-utilization-percentage\":\"%s\"}", "target-utilization-percentage" },
    { 'A', "{\"autoscaling.knative.dev/panic-threshold-percentage\":\"%s\"}", "panic-threshold-percentage" },
    { 'A', "{\"autoscaling.knative.dev/window\":\"%ss\"}", "window" },
    { 'A', "{\"autoscaling.knative.dev/scale-down-delay\":\"%ss\"}", "scale-down-delay" },
    { 'A', "{\"autoscaling.knative.dev/scale-to-zero-pod-retention-period\":\"%ss\"}", "retention-period" },
};
static const char *const extremes[] = {
    "0", "1", "-1", "0.5", "-0", "2147483647", "2147483648", "4294967295", "4294967296", "9223372036854775807",
    "9223372036854775808", "-9223372036854775808", "18446744073709551615", "18446744073709551616", "1e18", "1e308",
    "1e400", "-1e400", "0.0000000001", "99999999999999999999999999999999999999999",
};

/* What runs an instance may be made of these without looking again. */
static bool is_sane(const struct revision *r)
{
    const uint64_t tib = UINT64_C(1) << 40;
    return r->memory_bytes <= tib && (r->memory_bytes == 0 || r->memory_bytes >= MIB(4)) && r->ephemeral_bytes <= tib &&
           r->cpu_milli <= 1024000 && r->port > 0 && r->timeout_s > 0 && r->timeout_s <= limits.request_timeout_s_max &&
           r->container_concurrency <= limits.container_concurrency_max && r->window_us >= 6000000 &&
           r->window_us <= UINT64_C(3600000000) && r->retention_us <= UINT64_C(3600000000) &&
           r->scale_down_delay_us <= UINT64_C(3600000000) && r->target > 0 && r->total > 0 &&
           r->uid <= INT32_MAX && r->gid <= INT32_MAX && r->min_scale <= INT32_MAX && r->max_scale <= INT32_MAX &&
           r->initial_scale <= INT32_MAX && r->activation_scale <= INT32_MAX;
}

/* Refused by its name, or accepted and sane. */
static void extreme_run(const char *patch, char where, const char *leaf)
{
    AUTO_JSON json_t *in = minimal();
    AUTO_JSON json_t *probe = NULL;
    struct err e = { 0 };
    struct service_draft d;
    struct service_terms t = terms();
    if (json_read(str_of(patch), &limits, &probe, &e) < 0)
        return; /* no JSON number: refused with the text */
    patch_at(in, where, patch);
    service_prepare(in, NULL, &t, &d);
    AUTO_FREE char *text = text_of(&d.refused);
    if (d.refusal != SERVICE_ACCEPTED) {
        if (!strstr(text, leaf))
            FAIL("%s: refused without its name: %s", patch, text);
    } else {
        const struct revision_source s = { .ns = "ns", .service = "f", .name = "f-00001", .generation = 1,
                                           .annotations = json_at(d.object, "spec.template.metadata.annotations"),
                                           .pod = json_at(d.object, POD_PATH) };
        struct revision *r = NULL;
        int decoded = revision_decode(&s, &limits, &r, &e);
        bool sane = decoded == 0 && is_sane(r);
        revision_free(r);
        if (!sane)
            printf("# %s: accepted, but %s\n", patch, decoded < 0 ? e.text : "the revision is not sane");
        if (!sane)
            tap_failed = true;
    }
    service_draft_done(&d);
}

TEST(initial_scale_zero_is_refused_where_it_is_not_allowed)
{
    AUTO_JSON json_t *a = json_pack("{s:s}", "autoscaling.knative.dev/initial-scale", "0");
    struct limits l;
    limits_default(&l);
    for (uint64_t allowed = 0; allowed < 2; allowed++) {
        struct refusals no = { 0 }, warnings = { 0 };
        l.scale_initial_zero = allowed;
        annotations_check(a, "at", &l, &no, &warnings);
        uint32_t count = no.count;
        bool said = count == 1 && strcmp(no.rows[0].message, "invalid value: 0") == 0;
        refusals_done(&no);
        refusals_done(&warnings);
        CHECK(allowed ? count == 0 : said);
    }
}

TEST(a_number_at_the_edge_is_refused_by_name_or_does_no_harm)
{
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        for (size_t k = 0; k < COUNT_OF(extremes); k++)
            for (int quoted = 0; quoted < 1 + (numbers[i].where == 'C'); quoted++) {
                char number[64], patch[256];
                snprintf(number, sizeof number, quoted ? "\"%s\"" : "%s", extremes[k]);
                const char *hole = strstr(numbers[i].patch, "%s");
                snprintf(patch, sizeof patch, "%.*s%s%s", (int)(hole - numbers[i].patch), numbers[i].patch, number,
                         hole + 2);
                extreme_run(patch, numbers[i].where, numbers[i].leaf);
            }
}

TEST_MAIN()
