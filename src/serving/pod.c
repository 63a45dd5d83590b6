#include "serving/pod.h"

#include "codec/digest.h"
#include "codec/names.h"
#include "codec/quantity.h"
#include "serving/containers.h"
#include "serving/pod_config.h"

#include <stdio.h>
#include <stdlib.h>

struct check {
    const json_t *pod, *container;
    enum container_part part;
    const char *at; /* the container's path */
    const struct limits *limits;
    struct refusals *refused, *warnings;
};

static bool among(const char *const *set, size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(set[i], text) == 0)
            return true;
    return false;
}

static const char *text_at(const json_t *j, const char *key)
{
    const char *text = json_string_value(json_object_get(j, key));
    return text ? text : "";
}

/* ---- defaults ---- */

enum { ANSWER_S = 300 }; /* config-defaults: revision-timeout-seconds and revision-response-start-timeout-seconds */

static void set_missing(json_t *object, const char *key, json_t *take_value)
{
    if (json_object_get(object, key))
        json_decref(take_value);
    else
        (void)json_object_set_new(object, key, take_value);
}

static void probe_default(json_t *probe, bool readiness)
{
    static const char *const handlers[] = { "exec", "grpc", "httpGet", "tcpSocket" };
    bool any = false;
    if (!probe)
        return;
    for (size_t i = 0; i < COUNT_OF(handlers); i++)
        any |= json_object_get(probe, handlers[i]) != NULL;
    if (!any)
        (void)json_object_set_new(probe, "tcpSocket", json_object());
    for (size_t i = 2; i < COUNT_OF(handlers); i++) {
        json_t *handler = json_object_get(probe, handlers[i]);
        if (handler)
            set_missing(handler, "port", json_integer(0));
    }
    set_missing(probe, "successThreshold", json_integer(1));
    if (!readiness || json_int_at(probe, "periodSeconds", 0) > 0) {
        set_missing(probe, "timeoutSeconds", json_integer(1));
        set_missing(probe, "failureThreshold", json_integer(3));
    }
    if (!readiness)
        set_missing(probe, "periodSeconds", json_integer(10));
}

static const json_t *volume_find(const json_t *pod, const char *name)
{
    const json_t *volumes = json_object_get(pod, "volumes");
    for (size_t i = 0; i < json_array_size(volumes); i++)
        if (strcmp(text_at(json_array_get(volumes, i), "name"), name) == 0)
            return json_array_get(volumes, i);
    return NULL;
}

/* Everything but scratch space is read-only, whatever was asked. */
static void mounts_default(const json_t *pod, json_t *container)
{
    json_t *mounts = json_object_get(container, "volumeMounts");
    for (size_t i = 0; i < json_array_size(mounts); i++) {
        json_t *mount = json_array_get(mounts, i);
        const json_t *volume = volume_find(pod, text_at(mount, "name"));
        if (volume && !json_object_get(volume, "emptyDir"))
            (void)json_object_set_new(mount, "readOnly", json_true());
    }
}

void pod_default(json_t *pod, bool probed)
{
    const json_t *containers = json_object_get(pod, "containers"), *inits = json_object_get(pod, "initContainers");
    if (json_int_at(pod, "timeoutSeconds", 0) == 0)
        (void)json_object_set_new(pod, "timeoutSeconds", json_integer(ANSWER_S));
    if (json_int_at(pod, "timeoutSeconds", 0) > ANSWER_S) /* it begins in time, however long it may go on */
        set_missing(pod, "responseStartTimeoutSeconds", json_integer(ANSWER_S));
    containers_default(pod);
    size_t serving;
    if (probed && containers_serving(pod, &serving) && json_is_object(json_array_get(containers, serving)))
        set_missing(json_array_get(containers, serving), "readinessProbe", json_object());
    for (size_t i = 0; i < json_array_size(containers); i++) {
        json_t *container = json_array_get(containers, i);
        probe_default(json_object_get(container, "readinessProbe"), true);
        probe_default(json_object_get(container, "livenessProbe"), false);
        probe_default(json_object_get(container, "startupProbe"), false);
        mounts_default(pod, container);
    }
    for (size_t i = 0; i < json_array_size(inits); i++)
        mounts_default(pod, json_array_get(inits, i));
}

/* ---- references ---- */

/* Absolute, and without a step that goes nowhere or back. */
static bool path_clean(struct str path)
{
    if (path.size < 2 || path.at[0] != '/')
        return false;
    struct str rest = str_from(path, 1);
    for (bool more = true; more;) {
        more = memchr(rest.at, '/', rest.size) != NULL;
        struct str step = str_cut(&rest, '/');
        if (step.size == 0 && rest.size == 0 && !more)
            return path.at[path.size - 1] == '/'; /* one slash at the end is common */
        if (step.size == 0 || str_is(step, ".") || str_is(step, ".."))
            return false;
    }
    return true;
}

/* host[:port]/path, with nothing in it that a request line or a header could not carry. */
static bool url_rest_fits(struct str rest)
{
    for (size_t i = 0; i < rest.size; i++)
        if (rest.at[i] <= ' ' || rest.at[i] >= 0x7f || strchr("\"<>\\^`{|}#@", rest.at[i]))
            return false;
    return rest.size > 0 && rest.at[0] != '/' && memchr(rest.at, '/', rest.size);
}

static bool registry_like(const char *text)
{
    size_t size = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                               "._-/:@");
    return size > 0 && !text[size] && !strstr(text, "//") && !strstr(text, ":/") &&
           !strchr("./:@-_", text[0]) && !strchr("./:@-_", text[size - 1]);
}

enum pod_reference pod_reference_parse(const char *text, bool *ret_pinned, struct err *e)
{
    enum { REFERENCE_MAX = 2048 };
    struct digest ignored;
    struct str base;
    *ret_pinned = false;
    if (strlen(text) > REFERENCE_MAX) {
        (void)err_set(e, CODE_INVALID, "longer than %d bytes", REFERENCE_MAX);
        return POD_REFERENCE_BAD;
    }
    int r = digest_cut(str_of(text), &base, &ignored, e);
    if (r < 0)
        return POD_REFERENCE_BAD;
    *ret_pinned = r == 1;
    if (str_starts(base, STR("file://"))) {
        if (path_clean(str_from(base, 7)))
            return POD_REFERENCE_LOCAL;
        (void)err_set(e, CODE_INVALID, "want file:/// and a path without empty, . or .. steps");
        return POD_REFERENCE_BAD;
    }
    bool plain = str_starts(base, STR("http://"));
    if (plain || str_starts(base, STR("https://"))) {
        if (url_rest_fits(str_from(base, plain ? 7 : 8)))
            return POD_REFERENCE_WEB;
        (void)err_set(e, CODE_INVALID, "want http(s)://host/path");
        return POD_REFERENCE_BAD;
    }
    if (registry_like(text))
        return POD_REFERENCE_REGISTRY;
    (void)err_set(e, CODE_INVALID, "could not parse reference: %.200s", text);
    return POD_REFERENCE_BAD;
}

/* ---- the container ---- */

static void image_check(const struct check *c)
{
    const char *image = json_string_value(json_object_get(c->container, "image"));
    struct err e = { .text = "only file:// folders are images" };
    AUTO_FREE char *details = NULL;
    bool pinned;
    if (!image) {
        refusals_add(c->refused, REFUSAL_AT("%s.image", c->at), NULL, "missing field(s)");
        return;
    }
    switch (pod_reference_parse(image, &pinned, &e)) {
    case POD_REFERENCE_LOCAL: return;
    case POD_REFERENCE_REGISTRY:
        refusals_add(c->refused, REFUSAL_AT("%s.image", c->at),
                     "an image is a folder of this machine for now: file:///path[@sha256:<hex>]",
                     "registry image support is disabled");
        return;
    case POD_REFERENCE_WEB:
    case POD_REFERENCE_BAD:
        details = xasprintf("image: \"%s\", error: %s", image, e.text);
        refusals_add(c->refused, REFUSAL_AT("%s.image", c->at), details, "Failed to parse image reference");
        return;
    }
}

static void env_check(const struct check *c)
{
    static const char *const reserved[] = { "PORT", "K_SERVICE", "K_CONFIGURATION", "K_REVISION" };
    const size_t first = c->part == CONTAINER_SERVES ? 0 : 1; /* the others have no port, so PORT may be theirs */
    const json_t *env = json_object_get(c->container, "env");
    for (size_t i = 0; i < json_array_size(env); i++) {
        const char *name = text_at(json_array_get(env, i), "name");
        struct refusal_path path = refusal_path("%s.env[%zu].name", c->at, i);
        struct err e;
        if (!*name)
            refusals_add(c->refused, path.text, NULL, "missing field(s)");
        else if (among(reserved + first, COUNT_OF(reserved) - first, name))
            refusals_add(c->refused, path.text, NULL, "\"%s\" is a reserved environment variable", name);
        else if (!names_env(str_of(name), &e))
            refusals_add(c->refused, path.text, e.text, "invalid value: %s", name);
        pod_config_env_check(json_array_get(env, i), REFUSAL_AT("%s.env[%zu]", c->at, i), c->refused);
    }
    pod_config_env_from_check(json_object_get(c->container, "envFrom"), REFUSAL_AT("%s.envFrom", c->at), c->refused);
}

static void ports_check(const struct check *c)
{
    static const int64_t reserved[] = { 8008, 8012, 8013, 8022, 9090, 9091 };
    const json_t *ports = json_object_get(c->container, "ports"), *port = json_array_get(ports, 0);
    if (!port)
        return;
    int64_t number = json_int_at(port, "containerPort", 0);
    const char *name = text_at(port, "name"), *protocol = text_at(port, "protocol");
    for (size_t i = 0; i < COUNT_OF(reserved); i++) {
        char why[80];
        (void)snprintf(why, sizeof why, "%lld is a reserved port, please use a different value",
                       (long long)number);
        if (number == reserved[i])
            refusals_add(c->refused, REFUSAL_AT("%s.ports.containerPort", c->at), why,
                         "invalid value: %lld is a reserved port", (long long)number);
    }
    if (number < 0 || number > 65535)
        refusals_add(c->refused, REFUSAL_AT("%s.ports.containerPort", c->at), NULL, "expected 0 <= %lld <= 65535",
                     (long long)number);
    if (*protocol && strcmp(protocol, "TCP") != 0)
        refusals_add(c->refused, REFUSAL_AT("%s.ports.protocol", c->at), NULL, "invalid value: %s", protocol);
    if (*name && strcmp(name, "h2c") != 0 && strcmp(name, "http1") != 0)
        refusals_add(c->refused, REFUSAL_AT("%s.ports", c->at), "Name must be empty, or one of: 'h2c', 'http1'",
                     "Port name %s is not allowed", name);
}

/* What an instance can have of it: the range of the limit that is its default. Not of this machine: what the
 * machine has is looked at when an instance starts. */
static bool resource_range(const char *name, uint64_t *ret_min, uint64_t *ret_max, bool *ret_milli)
{
    static const char *const of[][2] = { { "cpu", "sandbox_cpu_milli" },
                                         { "memory", "sandbox_memory_bytes" },
                                         { "ephemeral-storage", "sandbox_scratch_bytes" } };
    for (size_t i = 0; i < COUNT_OF(of); i++)
        for (size_t k = 0; strcmp(of[i][0], name) == 0 && k < limit_row_count; k++)
            if (strcmp(limit_rows[k].name, of[i][1]) == 0) {
                *ret_milli = i == 0;
                *ret_min = i == 0 ? 1 : limit_rows[k].min; /* a core's thousandth is Kubernetes' smallest, too */
                *ret_max = limit_rows[k].max;
                return true;
            }
    return false;
}

/* A limit of 0 would be no limit to the kernel, and one beyond what exists the same in more words. */
static void range_check(const struct check *c, const char *path, bool is_limit, const char *name, const char *text,
                        const struct quantity *q)
{
    uint64_t min, max;
    bool milli;
    if (!resource_range(name, &min, &max, &milli))
        return;
    uint64_t asked = (uint64_t)(milli ? quantity_milli(q) : quantity_units(q));
    char why[160];
    const char *unit = milli ? "m" : "";
    snprintf(why, sizeof why, "%s %s must be %llu%s to %llu%s", is_limit ? "a limit of" : "a request for", name,
             (unsigned long long)(is_limit ? min : 0), unit, (unsigned long long)max, unit);
    if ((is_limit && asked < min) || asked > max)
        refusals_add(c->refused, path, why, "invalid value: %s", text);
}

static void resource_check(const struct check *c, const char *kind, const char *name,
                           const char *text)
{
    static const char *const known[] = { "cpu", "memory", "ephemeral-storage" };
    struct refusal_path path = refusal_path("%s.resources.%s.%s", c->at, kind, name);
    struct quantity q;
    struct err e;
    if (quantity_parse(str_of(text), &q, &e) < 0)
        return; /* refused with the types */
    if (q.negative)
        refusals_add(c->refused, path.text, "must be greater than or equal to 0", "invalid value: %s",
                     text);
    else if (!among(known, COUNT_OF(known), name) && q.nano > 0)
        refusals_add(c->refused, path.text,
                     "hob does not promise devices that are not there; see hob doctor",
                     "this node has no %s", name);
    else
        range_check(c, path.text, strcmp(kind, "limits") == 0, name, text, &q);
}

static void resources_check(const struct check *c)
{
    static const char *const kinds[] = { "limits", "requests" };
    const json_t *resources = json_object_get(c->container, "resources");
    const json_t *limits = json_object_get(resources, "limits");
    const char *name;
    const json_t *value;
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        json_object_foreach(json_object_get(resources, kinds[i]), name, value)
            resource_check(c, kinds[i], name, json_string_value(value));
    json_object_foreach(json_object_get(resources, "requests"), name, value) {
        const char *most = json_string_value(json_object_get(limits, name));
        struct quantity asked, limit;
        struct err e;
        AUTO_FREE char *why = NULL;
        if (!most || quantity_parse(str_of(json_string_value(value)), &asked, &e) < 0 ||
            quantity_parse(str_of(most), &limit, &e) < 0 || asked.nano <= limit.nano)
            continue;
        why = xasprintf("must be less than or equal to %s limit of %s", name, most);
        refusals_add(c->refused, REFUSAL_AT("%s.resources.requests.%s", c->at, name), why,
                     "invalid value: %s", json_string_value(value));
    }
}

static void security_check(const struct check *c)
{
    const json_t *security = json_object_get(c->container, "securityContext");
    const char *profile = json_text_at(security, "seccompProfile.type");
    if (json_is_true(json_object_get(security, "runAsNonRoot")) &&
        json_int_at(security, "runAsUser", 65532) == 0)
        refusals_add(c->refused, REFUSAL_AT("%s.securityContext.runAsUser", c->at), "runAsNonRoot is true",
                     "invalid value: 0");
    if (json_is_true(json_object_get(security, "allowPrivilegeEscalation")))
        refusals_add(c->warnings, REFUSAL_AT("%s.securityContext.allowPrivilegeEscalation", c->at), NULL,
                     "a function never gains privileges in hob; true has no effect");
    if (json_is_false(json_object_get(security, "readOnlyRootFilesystem")))
        refusals_add(c->warnings, REFUSAL_AT("%s.securityContext.readOnlyRootFilesystem", c->at), NULL,
                     "the root is always read-only in hob; write to /tmp or an emptyDir");
    if (profile && strcmp(profile, "RuntimeDefault") != 0)
        refusals_add(c->warnings, REFUSAL_AT("%s.securityContext.seccompProfile.type", c->at), NULL,
                     "hob's own system call filter is always on; %s has no effect", profile);
}

static void names_check(const struct check *c)
{
    static const char *const policies[] = { "File", "FallbackToLogsOnError", "" };
    static const char *const pulls[] = { "Always", "IfNotPresent", "Never", "" };
    const char *policy = text_at(c->container, "terminationMessagePolicy");
    const char *pull = text_at(c->container, "imagePullPolicy");
    const char *directory = text_at(c->container, "workingDir");
    if (strcmp(text_at(c->container, "name"), "queue-proxy") == 0)
        refusals_add(c->refused, REFUSAL_AT("%s.name", c->at), NULL, "\"queue-proxy\" is a reserved container name");
    if (!among(policies, COUNT_OF(policies), policy))
        refusals_add(c->refused, REFUSAL_AT("%s.terminationMessagePolicy", c->at), NULL, "invalid value: %s",
                     policy);
    if (!among(pulls, COUNT_OF(pulls), pull))
        refusals_add(c->refused, REFUSAL_AT("%s.imagePullPolicy", c->at), NULL, "invalid value: %s", pull);
    if (*directory && *directory != '/')
        refusals_add(c->refused, REFUSAL_AT("%s.workingDir", c->at), "must be absolute", "invalid value: %s",
                     directory);
}

/* ---- probes ---- */

static void probe_port_check(const struct check *c, const json_t *probe, const char *base,
                             const char *handler)
{
    const json_t *port = json_object_get(json_object_get(probe, handler), "port");
    const char *own = json_text_at(c->container, "ports.0.name");
    struct refusal_path path = refusal_path("%s.%s.port", base, handler);
    if (json_is_string(port) && strcmp(json_string_value(port), own ? own : "http") != 0)
        refusals_add(c->refused, path.text, "Probe port must match container port", "invalid value: %s",
                     json_string_value(port));
    else if (json_is_integer(port) &&
             (json_integer_value(port) < 0 || json_integer_value(port) > 65535))
        refusals_add(c->refused, path.text, NULL, "expected 0 <= %lld <= 65535",
                     (long long)json_integer_value(port));
}

/* What a request line and a head can carry, and nothing that would end them. */
static bool probe_text_fits(const char *text, bool blanks)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f || (*text == ' ' && !blanks))
            return false;
    return true;
}

static void probe_http_check(const struct check *c, const json_t *http, const char *base)
{
    enum { PATH_MAX_BYTES = 2000, HEADERS_MAX = 64 };
    const char *scheme = text_at(http, "scheme"), *path = text_at(http, "path"), *host = text_at(http, "host");
    const json_t *headers = json_object_get(http, "httpHeaders");
    if (*scheme && strcmp(scheme, "HTTP") != 0 && strcmp(scheme, "HTTPS") != 0)
        refusals_add(c->refused, REFUSAL_AT("%s.httpGet.scheme", base), NULL, "invalid value: %s", scheme);
    if (strlen(path) > PATH_MAX_BYTES || !probe_text_fits(path, false))
        refusals_add(c->refused, REFUSAL_AT("%s.httpGet.path", base),
                     "want at most 2000 bytes that a request line can carry", "invalid value: %.64s",
                     path);
    if (strlen(host) > 255 || !probe_text_fits(host, false))
        refusals_add(c->refused, REFUSAL_AT("%s.httpGet.host", base), NULL, "invalid value: %.64s", host);
    if (json_array_size(headers) > HEADERS_MAX)
        refusals_add(c->refused, REFUSAL_AT("%s.httpGet.httpHeaders", base), NULL,
                     "expected 0 <= %zu <= %d", json_array_size(headers), HEADERS_MAX);
    for (size_t i = 0; i < MIN(json_array_size(headers), (size_t)HEADERS_MAX); i++) {
        const json_t *header = json_array_get(headers, i);
        const char *name = text_at(header, "name"), *value = text_at(header, "value");
        static const char token[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                                    "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
        if (!*name || name[strspn(name, token)] || strlen(name) > 256)
            refusals_add(c->refused, REFUSAL_AT("%s.httpGet.httpHeaders[%zu].name", base, i), NULL,
                         "invalid value: %.64s", name);
        if (strlen(value) > 8192 || !probe_text_fits(value, true))
            refusals_add(c->refused, REFUSAL_AT("%s.httpGet.httpHeaders[%zu].value", base, i), NULL,
                         "invalid value: %.64s", value);
    }
}

static void probe_exec_check(const struct check *c, const json_t *command, const char *base)
{
    size_t bytes = 0;
    for (size_t i = 0; i < json_array_size(command); i++)
        bytes += json_string_length(json_array_get(command, i)) + 1;
    if (json_array_size(command) == 0)
        refusals_add(c->refused, REFUSAL_AT("%s.exec.command", base), NULL, "missing field(s)");
    else if (bytes > c->limits->probe_command_bytes_max)
        refusals_add(c->refused, REFUSAL_AT("%s.exec.command", base),
                     "its bytes, with one for each word (limit probe_command_bytes_max)",
                     "expected 1 <= %zu <= %llu", bytes,
                     (unsigned long long)c->limits->probe_command_bytes_max);
    else if (json_string_length(json_array_get(command, 0)) == 0)
        refusals_add(c->refused, REFUSAL_AT("%s.exec.command[0]", base), NULL, "missing field(s)");
}

static void probe_handler_check(const struct check *c, const json_t *probe, const char *base)
{
    enum { GRPC_SERVICE_MAX = 1024 };
    static const char *const local[] = { "", "localhost", "127.0.0.1" };
    const json_t *exec = json_object_get(probe, "exec"), *http = json_object_get(probe, "httpGet");
    const char *host = text_at(json_object_get(probe, "tcpSocket"), "host");
    probe_port_check(c, probe, base, "httpGet");
    probe_port_check(c, probe, base, "tcpSocket");
    if (http)
        probe_http_check(c, http, base);
    if (!among(local, COUNT_OF(local), host))
        refusals_add(c->refused, REFUSAL_AT("%s.tcpSocket.host", base),
                     "a probe reaches only the instance itself", "invalid value: %.64s", host);
    if (exec)
        probe_exec_check(c, json_object_get(exec, "command"), base);
    if (strlen(text_at(json_object_get(probe, "grpc"), "service")) > GRPC_SERVICE_MAX)
        refusals_add(c->refused, REFUSAL_AT("%s.grpc.service", base), "longer than 1024 bytes",
                     "invalid value: %.64s", text_at(json_object_get(probe, "grpc"), "service"));
}

static void at_least(const struct check *c, const json_t *probe, const char *base, const char *key,
                     int64_t min)
{
    int64_t n = json_int_at(probe, key, 0);
    if (n < min || n > INT32_MAX)
        refusals_add(c->refused, REFUSAL_AT("%s.%s", base, key), NULL,
                     "expected %lld <= %lld <= 2147483647", (long long)min, (long long)n);
}

static void probe_times_check(const struct check *c, const json_t *probe, const char *base,
                              bool readiness)
{
    static const char *const aggressive_not[] = { "failureThreshold", "timeoutSeconds" };
    at_least(c, probe, base, "periodSeconds", readiness ? 0 : 1);
    at_least(c, probe, base, "initialDelaySeconds", 0);
    at_least(c, probe, base, "successThreshold", 1);
    if (!readiness && json_int_at(probe, "successThreshold", 1) > 1)
        refusals_add(c->refused, REFUSAL_AT("%s.successThreshold", base), "must be 1",
                     "invalid value: %lld", (long long)json_int_at(probe, "successThreshold", 1));
    if (!readiness || json_int_at(probe, "periodSeconds", 0) != 0) {
        at_least(c, probe, base, "timeoutSeconds", 1);
        at_least(c, probe, base, "failureThreshold", 1);
        return;
    }
    for (size_t i = 0; i < COUNT_OF(aggressive_not); i++)
        if (json_int_at(probe, aggressive_not[i], 0) != 0)
            refusals_add(c->refused, REFUSAL_AT("%s.%s", base, aggressive_not[i]), NULL,
                         "%s is disallowed when periodSeconds is zero", aggressive_not[i]);
}

static void probe_check(const struct check *c, const char *name, bool readiness)
{
    static const char *const handlers[] = { "exec", "grpc", "httpGet", "tcpSocket" };
    const json_t *probe = json_object_get(c->container, name);
    struct refusal_path base = refusal_path("%s.%s", c->at, name);
    size_t count = 0;
    if (!probe)
        return;
    for (size_t i = 0; i < COUNT_OF(handlers); i++)
        count += json_object_get(probe, handlers[i]) != NULL;
    for (size_t i = 0; i < COUNT_OF(handlers); i++)
        if (count > 1 && json_object_get(probe, handlers[i]))
            refusals_add(c->refused, REFUSAL_AT("%s.%s", base.text, handlers[i]), NULL,
                         "expected exactly one, got both");
    probe_handler_check(c, probe, base.text);
    probe_times_check(c, probe, base.text, readiness);
}

/* ---- volumes ---- */

static void model_check(const struct check *c, const json_t *volume, size_t index)
{
    const char *reference = json_text_at(volume, "image.reference");
    struct refusal_path path = refusal_path(POD_PATH ".volumes[%zu].image.reference", index);
    struct err e;
    bool pinned;
    if (!reference) {
        refusals_add(c->refused, path.text, NULL, "missing field(s)");
        return;
    }
    switch (pod_reference_parse(reference, &pinned, &e)) {
    case POD_REFERENCE_LOCAL:
        if (!pinned)
            refusals_add(c->warnings, path.text, NULL,
                         "not pinned by @sha256:<hex>, so what is mounted may differ from what was tested");
        return;
    case POD_REFERENCE_WEB:
        if (!pinned)
            refusals_add(c->refused, path.text,
                         "what comes over the network is verified before its first use: add @sha256:<hex>",
                         "invalid value: %s", reference);
        return;
    case POD_REFERENCE_REGISTRY:
        refusals_add(c->refused, path.text,
                     "want file:///path or http(s)://host/path, with @sha256:<hex>",
                     "registry image support is disabled");
        return;
    case POD_REFERENCE_BAD:
        refusals_add(c->refused, path.text, e.text, "invalid value: %s", reference);
        return;
    }
}

static void scratch_check(const struct check *c, const json_t *volume, size_t index)
{
    const json_t *scratch = json_object_get(volume, "emptyDir");
    const char *medium = text_at(scratch, "medium"), *size = text_at(scratch, "sizeLimit");
    if (scratch && !c->limits->feature_empty_dir)
        refusals_add(c->refused, "", NULL, "EmptyDir volume support is disabled, but found EmptyDir volume %s",
                     text_at(volume, "name"));
    if (*medium && strcmp(medium, "Memory") != 0)
        refusals_add(c->refused, REFUSAL_AT(POD_PATH ".volumes[%zu].emptyDir.medium", index), NULL,
                     "invalid value: %s", medium);
    uint64_t min, max;
    bool milli;
    struct quantity q;
    struct err e;
    if (*size && quantity_parse(str_of(size), &q, &e) == 0 && resource_range("ephemeral-storage", &min, &max, &milli) &&
        (q.negative || (uint64_t)quantity_units(&q) > max))
        refusals_add(c->refused, REFUSAL_AT(POD_PATH ".volumes[%zu].emptyDir.sizeLimit", index), NULL,
                     "invalid value: %s", size);
}

static void source_check(const struct check *c, const json_t *volume, size_t index)
{
    static const char *const sources[] = { "configMap", "emptyDir", "image", "projected", "secret" };
    size_t count = 0;
    for (size_t i = 0; i < COUNT_OF(sources); i++)
        count += json_object_get(volume, sources[i]) != NULL;
    for (size_t i = 0; count != 1 && i < COUNT_OF(sources); i++)
        if (count == 0 || json_object_get(volume, sources[i]))
            refusals_add(c->refused, REFUSAL_AT(POD_PATH ".volumes[%zu].%s", index, sources[i]), NULL,
                         "expected exactly one, got %s", count ? "both" : "neither");
    if (json_object_get(volume, "image"))
        model_check(c, volume, index);
    if (json_object_get(volume, "emptyDir"))
        scratch_check(c, volume, index);
    pod_config_volume_check(volume, REFUSAL_AT(POD_PATH ".volumes[%zu]", index), c->refused);
}

static void volumes_check(const struct check *c)
{
    const json_t *volumes = json_object_get(c->pod, "volumes");
    size_t count = json_array_size(volumes);
    if (count > c->limits->sandbox_mounts_max) {
        refusals_add(c->refused, POD_PATH ".volumes", NULL, "expected 0 <= %zu <= %llu", count,
                     (unsigned long long)c->limits->sandbox_mounts_max);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *volume = json_array_get(volumes, i);
        const char *name = text_at(volume, "name");
        struct refusal_path path = refusal_path(POD_PATH ".volumes[%zu].name", i);
        struct err e;
        if (!*name)
            refusals_add(c->refused, path.text, NULL, "missing field(s)");
        else if (!names_label(str_of(name), &e))
            refusals_add(c->refused, path.text, NULL, "invalid value: %s", name);
        if (volume_find(c->pod, name) != volume)
            refusals_add(c->refused, path.text, NULL, "duplicate volume name \"%s\"", name);
        if (!containers_mount(c->pod, name))
            refusals_add(c->refused, path.text, NULL, "volume with name \"%s\" not mounted", name);
        source_check(c, volume, i);
    }
}

/* "/a//b/./c/../" -> "/a/b", as Go's path.Clean on an absolute path. */
static void clean_path(const char *path, char *into, size_t size)
{
    size_t used = 0;
    struct str rest = str_of(path);
    while (rest.size > 0) {
        struct str step = str_cut(&rest, '/');
        if (step.size == 0 || str_is(step, "."))
            continue;
        if (str_is(step, "..")) {
            while (used > 0 && into[--used] != '/')
                ;
            continue;
        }
        if (used + step.size + 2 > size)
            break;
        into[used++] = '/';
        memcpy(into + used, step.at, step.size);
        used += step.size;
    }
    if (used == 0)
        into[used++] = '/';
    into[used] = '\0';
}

enum { MOUNT_PATH_MAX = 1024 };

/* A step up, which no mount follows. */
static bool leads_up(const char *path)
{
    for (struct str rest = str_of(path); rest.size > 0;)
        if (str_is(str_cut(&rest, '/'), ".."))
            return true;
    return false;
}

static void mount_path_check(const struct check *c, const json_t *mounts, size_t index)
{
    static const char *const reserved[] = { "/", "/dev", "/dev/log", "/proc" };
    const char *given = text_at(json_array_get(mounts, index), "mountPath");
    struct refusal_path path = refusal_path("%s.volumeMounts[%zu].mountPath", c->at, index);
    char clean[MOUNT_PATH_MAX + 2], other[MOUNT_PATH_MAX + 2];
    clean_path(given, clean, sizeof clean);
    if (!*given)
        refusals_add(c->refused, path.text, NULL, "missing field(s)");
    else if (*given != '/')
        refusals_add(c->refused, path.text, NULL, "invalid value: %s", given);
    else if (strlen(given) > MOUNT_PATH_MAX)
        refusals_add(c->refused, path.text, "longer than 1024 bytes", "invalid value: %.64s", given);
    else if (leads_up(given))
        refusals_add(c->refused, path.text, "must not contain '..'", "invalid value: %s", given);
    else if (among(reserved, COUNT_OF(reserved), clean) || str_starts(str_of(clean), STR("/proc/")))
        refusals_add(c->refused, path.text, NULL, "mountPath \"%s\" is a reserved path", clean);
    for (size_t i = 0; *given == '/' && i < index; i++) {
        clean_path(text_at(json_array_get(mounts, i), "mountPath"), other, sizeof other);
        if (strcmp(clean, other) != 0)
            continue;
        refusals_add(c->refused, path.text, NULL, "invalid value: \"%s\" must be unique", given);
        break;
    }
}

static void mounts_check(const struct check *c)
{
    const json_t *mounts = json_object_get(c->container, "volumeMounts");
    size_t count = json_array_size(mounts);
    if (count > c->limits->sandbox_mounts_max) {
        refusals_add(c->refused, REFUSAL_AT("%s.volumeMounts", c->at), NULL, "expected 0 <= %zu <= %llu", count,
                     (unsigned long long)c->limits->sandbox_mounts_max);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *mount = json_array_get(mounts, i), *volume = volume_find(c->pod, text_at(mount, "name"));
        pod_config_sub_path_check(mount, volume, REFUSAL_AT("%s.volumeMounts[%zu]", c->at, i), c->refused);
        if (!volume)
            refusals_add(c->refused, REFUSAL_AT("%s.volumeMounts[%zu].name", c->at, i), NULL,
                         "volumeMount has no matching volume");
        mount_path_check(c, mounts, i);
    }
}

/* ---- all of it ---- */

static void container_check(void *ctx, const json_t *container, enum container_part part, const char *at)
{
    struct check *c = ctx;
    c->container = container;
    c->part = part;
    c->at = at;
    names_check(c);
    image_check(c);
    env_check(c);
    ports_check(c);
    resources_check(c);
    security_check(c);
    if (part != CONTAINER_INIT) { /* there none may be: containers_check() says so */
        probe_check(c, "readinessProbe", true);
        probe_check(c, "livenessProbe", false);
        probe_check(c, "startupProbe", false);
    }
    mounts_check(c);
}

void pod_check(const json_t *pod, const struct limits *l, struct refusals *refused,
               struct refusals *warnings)
{
    const char *account = text_at(pod, "serviceAccountName");
    struct check c = { .pod = pod, .limits = l, .refused = refused, .warnings = warnings };
    struct err e;
    if (*account && !names_subdomain(str_of(account), &e))
        refusals_add(refused, POD_PATH ".serviceAccountName", e.text, "invalid value: %s", account);
    if (json_array_size(json_object_get(pod, "containers")) == 0)
        refusals_add(refused, POD_PATH ".containers", NULL, "missing field(s)");
    containers_check(pod, l, refused);
    containers_each(pod, container_check, &c);
    volumes_check(&c);
}
