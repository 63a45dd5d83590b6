/* The API as its clients see it: bytes over a loopback socket, a store on disk, nothing faked between. */
#include "api/kube.h"
#include "fds.h"
#include "os/fault.h"
#include "serving/events.h"
#include "serving/namespaces.h"
#include "tap.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

struct world {
    struct limits limits;
    struct loop *loop;
    struct store *store;
    struct catalog *catalog;
    struct registry *registry;
    struct namespaces *namespaces;
    struct events *events;
    struct kube *kube;
    struct http_server *server;
    struct revision *revisions[8]; /* emitted, in order */
    int revision_count;
    int listen_fd, limited;
    struct sockaddr_in address;
    char dir[64];
    struct err e;
};

static void on_revision(void *ctx, struct revision *take_r, bool was_ready)
{
    struct world *w = ctx;
    (void)was_ready;
    if (w->revision_count < 8)
        w->revisions[w->revision_count++] = take_r;
    else
        revision_free(take_r);
}
static void on_gone(void *ctx, const char *ns, const char *service) { (void)ctx, (void)ns, (void)service; }
static void on_needed(void *ctx, const char *digest, bool needed) { (void)ctx, (void)digest, (void)needed; }
static void on_route(void *ctx, const struct route_table *t) { (void)ctx, (void)t; }
static void on_idle(void *ctx, const char *ns, const char *service, const char *revision)
{
    (void)ctx, (void)ns, (void)service, (void)revision;
}
static const struct catalog_observer observer = { on_revision, on_route, on_idle, on_gone,
                                                 on_needed };

static void on_limit(void *ctx, const char *limit)
{
    struct world *w = ctx;
    (void)limit;
    w->limited++;
}

static void on_request(void *ctx, struct http_call *c)
{
    struct world *w = ctx;
    if (!kube_handle(w->kube, c))
        http_answer(c, 299, "text/plain", NULL, STR("not kube's"));
}
static const struct http_server_ops ops = { on_request };

static bool world_open(struct world *w)
{
    socklen_t size = sizeof w->address;
    *w = (struct world){ .listen_fd = -1, .address = { .sin_family = AF_INET } };
    limits_default(&w->limits);
    snprintf(w->dir, sizeof w->dir, "/tmp/hob-kube-XXXXXX");
    w->address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    w->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (!mkdtemp(w->dir) || bind(w->listen_fd, (struct sockaddr *)&w->address, size) < 0 ||
        listen(w->listen_fd, 16) < 0 ||
        getsockname(w->listen_fd, (struct sockaddr *)&w->address, &size) < 0)
        return false;
    if (loop_open(&w->loop, &w->e) < 0 || store_open(w->loop, w->dir, &w->limits, &w->store, &w->e) < 0 ||
        catalog_open(w->loop, w->store, &w->limits, "127.0.0.1:80", &observer, w, &w->catalog, &w->e) < 0)
        return false;
    if (registry_open(w->loop, w->store, catalog_log(w->catalog), &w->limits, &w->registry, &w->e) < 0)
        return false;
    w->namespaces = namespaces_new(w->loop, w->catalog, w->registry);
    w->events = events_new(w->loop, w->catalog, w->registry, &w->limits);
    const struct kube_sources sources = { .loop = w->loop, .catalog = w->catalog,
                                          .registry = w->registry, .limits = &w->limits,
                                          .ingress = "127.0.0.1:80", .api = "127.0.0.1:8081",
                                          .on_limit = on_limit, .ctx = w };
    w->kube = kube_new(&sources);
    return http_server_open(w->loop, &w->limits, w->listen_fd, &ops, w, &w->server, &w->e) == 0;
}

static void world_free(struct world *w)
{
    http_server_free(w->server);
    kube_free(w->kube);
    events_free(w->events);
    namespaces_free(w->namespaces);
    registry_free(w->registry);
    catalog_free(w->catalog);
    store_free(w->store);
    loop_free(w->loop);
    for (int i = 0; i < w->revision_count; i++)
        revision_free(w->revisions[i]);
    if (w->listen_fd >= 0)
        close(w->listen_fd);
    DIR *d = opendir(w->dir);
    for (struct dirent *entry; d && (entry = readdir(d)) != NULL;)
        (void)unlinkat(dirfd(d), entry->d_name, 0);
    if (d)
        closedir(d);
    (void)rmdir(w->dir);
}
static void world_auto(struct world *w) { world_free(w); }

static int dial(struct world *w, const char *method, const char *target, const char *headers,
                struct str body)
{
    AUTO_FREE char *head = xasprintf("%s %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n%sContent-Length: "
                                     "%zu\r\n\r\n",
                                     method, target, headers, body.size);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&w->address, sizeof w->address) < 0 ||
        send(fd, head, strlen(head), MSG_NOSIGNAL) < 0 ||
        (body.size && send(fd, body.at, body.size, MSG_NOSIGNAL) < 0)) {
        close(fd);
        return -1;
    }
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

/* The whole answer, head and body. */
static char *ask(struct world *w, const char *method, const char *target, const char *headers,
                 const char *body)
{
    char piece[8192];
    struct buf all;
    buf_init(&all, 1 << 22);
    int fd = dial(w, method, target, headers ? headers : "", str_of(body ? body : ""));
    for (ssize_t n = -1; fd >= 0 && n != 0;) {
        if (loop_turn(w->loop, false, &w->e) < 0)
            abort();
        n = recv(fd, piece, sizeof piece, 0);
        if (n > 0)
            buf_append(&all, piece, (size_t)n);
        else if (n < 0 && errno != EAGAIN)
            break;
        else if (n < 0)
            usleep(200); /* the store's thread is at work; what is awaited is the end of the answer */
    }
    if (fd >= 0)
        close(fd);
    return buf_take_text(&all);
}

static int status_of(const char *answer) { return strlen(answer) > 12 ? atoi(answer + 9) : 0; }

static json_t *body_of(struct world *w, const char *answer)
{
    const char *at = strstr(answer, "\r\n\r\n");
    json_t *j = NULL;
    struct err e;
    if (!at || json_read(str_trim(str_of(at + 4)), &w->limits, &j, &e) < 0)
        return NULL;
    return j;
}

#define SERVICES "/apis/serving.knative.dev/v1/namespaces/default/services"
#define REVISIONS "/apis/serving.knative.dev/v1/namespaces/default/revisions"
#define HEAD_OF(name) "{\"apiVersion\":\"serving.knative.dev/v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"" name "\"}"
#define SERVICE(name) HEAD_OF(name) ",\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"image\":\"file:///a\"}]}}}}"
#define JSON "Content-Type: application/json\r\n"
#define TABLE_ACCEPT_EARLY "Accept: application/json;as=Table;v=v1;g=meta.k8s.io\r\n"
#define AGGREGATED "Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json\r\n"
#define JSON_PATCH "Content-Type: application/json-patch+json\r\n"
#define APPLY "Content-Type: application/apply-patch+yaml\r\n"
#define MERGE "Content-Type: application/merge-patch+json\r\n"
#define YAML_SERVICE                                                                               \
    "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata:\n  name: yy\nspec:\n  template:\n    spec:\n" \
    "      containers:\n      - image: file:///a\n        env: [{name: A, value: \"yes\"}]\n"
#define LONG_NAME "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

/* One conversation; each step sees what the ones before it did. */
static const struct {
    const char *method, *target, *headers, *body;
    int status;
    const char *has; /* parts of the answer, separated by a newline */
} story[] = {
    { "GET", SERVICES, NULL, NULL, 200, "\"kind\":\"ServiceList\"\n\"items\":[]\n\"resourceVersion\":\"0\"" },
    { "POST", SERVICES, JSON, SERVICE("f"), 201, "\"generation\":1\n\"uid\":\"\n\"url\":\"http://f.default.localhost\"" },
    { "POST", SERVICES, JSON, SERVICE("f"), 409,
      "\"reason\":\"AlreadyExists\"\nservices.serving.knative.dev \\\"f\\\" already exists" },
    { "GET", SERVICES "/f", NULL, NULL, 200, "\"kind\":\"Service\"\n\"latestCreatedRevisionName\":\"f-00001\"" },
    { "HEAD", SERVICES "/f", NULL, NULL, 200, "application/json" },
    { "GET", SERVICES "/g", NULL, NULL, 404,
      "\"message\":\"services.serving.knative.dev \\\"g\\\" not found\"\n\"reason\":\"NotFound\"\n\"details\":{\"name\":\"g\",\"group\":\"serving.knative.dev\",\"kind\":\"services\"}\n\"code\":404\n\"status\":\"Failure\"" },
    { "POST", SERVICES, "Content-Type: application/yaml\r\n", YAML_SERVICE, 201, "\"value\":\"yes\"" },
    { "POST", SERVICES, "Content-Type: application/yaml\r\n", "a: &x 1\n", 400, "anchors are not accepted" },
    { "POST", SERVICES, "Content-Type: text/plain\r\n", "x", 415,
      "\"reason\":\"UnsupportedMediaType\"\nthe body of the request was in an unknown format - accepted media types include: application/json, application/yaml" },
    { "GET", SERVICES, "Accept: application/xml\r\n", NULL, 406, "\"reason\":\"NotAcceptable\"" },
    { "GET", SERVICES "/f", "Accept: application/yaml\r\n", NULL, 200, "Content-Type: application/yaml\n\nkind: Service\n" },
    { "POST", SERVICES, JSON, "{", 400, "\"reason\":\"BadRequest\"\nerror decoding the body: json: line 1" },
    { "POST", SERVICES, JSON, "[]", 400, "the body is not an object" },
    { "POST", SERVICES, JSON, "{\"apiVersion\":\"serving.knative.dev/v1\"}", 400, "Object 'Kind' is missing" },
    { "POST", SERVICES, JSON, "{\"kind\":\"Route\",\"apiVersion\":\"serving.knative.dev/v1\"}", 400,
      "the kind in the data (Route)" },
    { "POST", SERVICES, JSON, "{\"kind\":\"Service\",\"apiVersion\":\"v1\"}", 400,
      "the API version in the data (v1) does not match the expected API version (serving.knative.dev/v1)" },
    { "POST", SERVICES, JSON, "{\"kind\":\"Service\",\"apiVersion\":\"serving.knative.dev/v1\",\"metadata\":{\"name\":\"g\",\"namespace\":\"x\"}}", 400,
      "the namespace of the provided object does not match the namespace sent on the request" },
    { "PUT", SERVICES "/g", JSON, SERVICE("f"), 400,
      "the name of the object (f) does not match the name on the URL (g)" },
    { "PUT", SERVICES "/g", JSON, SERVICE("g"), 404, "services.serving.knative.dev \\\"g\\\" not found" },
    /* refusals of each gate */
    { "POST", SERVICES, JSON, HEAD_OF("g") ",\"spec\":{\"tmpl\":{}}}", 400,
      "\"message\":\"Service in version \\\"v1\\\" cannot be handled as a Service: strict decoding error: unknown field \\\"spec.tmpl\\\"\"" },
    { "POST", SERVICES "?fieldValidation=Warn", JSON, HEAD_OF("w") ",\"tmpl\":1,\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"image\":\"file:///a\"}]}}}}", 201,
      "Warning: 299 - \"unknown field \\\"tmpl\\\"\"\r" },
    { "POST", SERVICES "?fieldValidation=Maybe", JSON, SERVICE("g"), 400, "fieldValidation: Unsupported value" },
    { "POST", SERVICES "?dryRun=Some", JSON, SERVICE("g"), 400, "dryRun: Unsupported value" },
    { "POST", SERVICES, JSON, HEAD_OF("g") ",\"spec\":{\"template\":{\"spec\":{\"timeoutSeconds\":\"1\"}}}}", 422,
      "\"reason\":\"Invalid\"\n\"message\":\"Service.serving.knative.dev \\\"g\\\" is invalid: spec.template.spec.timeoutSeconds: Invalid value: \\\"string\\\": spec.template.spec.timeoutSeconds in body must be of type integer: \\\"string\\\"\"\n\"field\":\"spec.template.spec.timeoutSeconds\"\n\"reason\":\"FieldValueTypeInvalid\"" },
    { "POST", SERVICES, JSON, SERVICE("G"), 422, "Service.serving.knative.dev \\\"G\\\" is invalid: metadata.name: Invalid value: \\\"G\\\": a lowercase RFC 1123 subdomain" },
    { "POST", SERVICES, JSON, SERVICE(LONG_NAME), 400, "not a DNS 1035 label: [must be no more than 63 bytes]: metadata.name" },
    { "POST", SERVICES, JSON, HEAD_OF("g") ",\"spec\":{}}", 400,
      "\"message\":\"admission webhook \\\"validation.webhook.serving.knative.dev\\\" denied the request: validation failed: missing field(s): spec.template.spec.containers\"\n\"reason\":\"BadRequest\"" },
    /* changing */
    { "PATCH", SERVICES "/f", MERGE, "{\"metadata\":{\"labels\":{\"team\":\"a\"}}}", 200, "\"team\":\"a\"\n\"generation\":1" },
    { "PATCH", SERVICES "/f", "Content-Type: application/strategic-merge-patch+json\r\n", "{}", 415,
      "accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml" },
    { "PATCH", SERVICES "/f", JSON_PATCH, "[{\"op\":\"test\",\"path\":\"/metadata/labels/team\",\"value\":\"a\"},"
      "{\"op\":\"add\",\"path\":\"/metadata/labels/x~1y\",\"value\":\"z\"}]", 200, "\"x/y\":\"z\"" },
    { "PATCH", SERVICES "/f", JSON_PATCH, "[{\"op\":\"remove\",\"path\":\"/metadata/labels/x~1y\"}]", 200, "\"team\":\"a\"" },
    { "PATCH", SERVICES "/f", JSON_PATCH, "[{\"op\":\"test\",\"path\":\"/metadata/labels/team\",\"value\":\"b\"}]", 422,
      "\"reason\":\"Invalid\"\nthe server rejected our request due to an error in our request: testing value /metadata/labels/team failed" },
    { "PATCH", SERVICES "/f", JSON_PATCH, "[{\"op\":\"jump\",\"path\":\"/a\"}]", 400, "there is no \\\"jump\\\"" },
    { "PATCH", SERVICES "/f", JSON_PATCH, "{}", 400, "the patch is not an array" },
    { "PATCH", SERVICES "/g", JSON_PATCH, "[]", 404, "not found" },
    { "PATCH", SERVICES "/f?force=true", MERGE, "{}", 400, "force: Forbidden" },
    /* whatever a patch does, an object at this address is left */
    { "PATCH", SERVICES "/f", JSON_PATCH, "[{\"op\":\"add\",\"path\":\"\",\"value\":[1]}]", 400, "what the patch leaves is not an object" },
    { "PATCH", SERVICES "/f", JSON_PATCH, "[{\"op\":\"add\",\"path\":\"\",\"value\":\"x\"}]", 400, "what the patch leaves is not an object" },
    { "PATCH", SERVICES "/f", JSON_PATCH, "[{\"op\":\"add\",\"path\":\"\",\"value\":7}]", 400, "what the patch leaves is not an object" },
    { "PATCH", SERVICES "/f", JSON_PATCH, "[{\"op\":\"add\",\"path\":\"\",\"value\":null}]", 400, "what the patch leaves is not an object" },
    { "PATCH", SERVICES "/f", JSON_PATCH, "[{\"op\":\"replace\",\"path\":\"/metadata/name\",\"value\":\"thief\"}]", 400, "the name of the object (thief) does not match the name on the URL (" },
    { "PATCH", SERVICES "/f", JSON_PATCH, "[{\"op\":\"replace\",\"path\":\"/metadata/namespace\",\"value\":\"elsewhere\"}]", 400, "does not match the namespace sent on the request (elsewhere, default)" },
    { "PATCH", SERVICES "/f", JSON_PATCH, "[{\"op\":\"replace\",\"path\":\"/metadata/uid\",\"value\":\"1-2\"}]", 422, "metadata.uid: Invalid value: \\\"1-2\\\": field is immutable" },
    { "PATCH", SERVICES "/f", JSON_PATCH, "[{\"op\":\"replace\",\"path\":\"/kind\",\"value\":\"Thief\"}]", 400, "the kind in the data (Thief)" },
    { "PATCH", SERVICES "/f", JSON_PATCH, "[{\"op\":\"remove\",\"path\":\"/metadata/name\"}]", 400, "name must be provided" },
    { "PATCH", SERVICES "/f", MERGE, "{\"metadata\":{\"name\":null}}", 400, "name must be provided" },
    { "PATCH", SERVICES "/f", MERGE, "{\"metadata\":{\"uid\":\"1-2\"}}", 422, "metadata.uid: Invalid value" },
    /* server-side apply */
    { "PATCH", SERVICES "/s", APPLY, "{}", 400, "Object 'Kind' is missing" },
    { "PATCH", SERVICES "/s", APPLY, SERVICE("s"), 400, "fieldManager: Required value" },
    { "PATCH", SERVICES "/s?fieldManager=ann&dryRun=All", APPLY, SERVICE("s"), 201, "\"manager\":\"ann\"\n\"operation\":\"Apply\"" },
    { "GET", SERVICES "/s", NULL, NULL, 404, "not found" },
    { "PATCH", SERVICES "/s?fieldManager=ann", APPLY, "apiVersion: serving.knative.dev/v1\nkind: Service\nspec: {template: {spec: {containers: [{image: \"file:///a\"}]}}}\n",
      201, "\"manager\":\"ann\"\n\"fieldsType\":\"FieldsV1\"\n\"k:{\\\"name\\\":\\\"user-container\\\"}\":{" },
    { "PATCH", SERVICES "/s?fieldManager=ann", APPLY, SERVICE("s"), 200, "\"generation\":1" },
    { "PATCH", SERVICES "/s?fieldManager=bob", APPLY, HEAD_OF("s") ",\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"image\":\"file:///b\"}]}}}}", 409,
      "\"reason\":\"Conflict\"\nApply failed with 1 conflict: conflict with \\\"ann\\\" using serving.knative.dev/v1: .spec.template.spec.containers[name=\\\"user-container\\\"].image\n"
      "\"causes\":[{\"reason\":\"FieldManagerConflict\"" },
    { "PATCH", SERVICES "/s?fieldManager=bob&force=true", APPLY, HEAD_OF("s") ",\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"image\":\"file:///b\"}]}}}}", 200,
      "\"generation\":2\n\"image\":\"file:///b\"" },
    { "PATCH", SERVICES "/s?fieldManager=bob", APPLY, HEAD_OF("t") "}", 400, "does not match the name on the URL" },
    { "DELETE", SERVICES "/s", NULL, NULL, 200, "Success" },
    { "PATCH", SERVICES "/f", MERGE, "[]", 400, "the patch is not an object" },
    { "PATCH", SERVICES "/f", MERGE, "{\"metadata\":{\"resourceVersion\":\"1\",\"labels\":{\"x\":\"y\"}}}", 409,
      "\"reason\":\"Conflict\"\nOperation cannot be fulfilled on services.serving.knative.dev \\\"f\\\": the object has been modified; please apply your changes to the latest version and try again" },
    { "PATCH", SERVICES "/f?dryRun=All", MERGE, "{\"metadata\":{\"labels\":{\"dry\":\"run\"}}}", 200, "\"dry\":\"run\"" },
    { "GET", SERVICES "?labelSelector=dry", NULL, NULL, 200, "\"items\":[]" },
    { "PUT", SERVICES "/f", JSON, SERVICE("f"), 200, "\"name\":\"f\"" },
    /* lists */
    { "GET", SERVICES "?limit=1", NULL, NULL, 200, "\"continue\":\"\n\"remainingItemCount\":2\n\"name\":\"f\"" },
    { "GET", SERVICES "?continue=6z", NULL, NULL, 400, "continue key is not valid" },
    { "GET", SERVICES "?fieldSelector=metadata.name%3Dyy", NULL, NULL, 200, "\"name\":\"yy\"" },
    { "GET", SERVICES "?fieldSelector=status.x%3Dy", NULL, NULL, 400, "field label not supported: status.x" },
    { "GET", "/apis/serving.knative.dev/v1/services", NULL, NULL, 200, "\"name\":\"f\"\n\"name\":\"yy\"" },
    { "GET", SERVICES "?watch=true&resourceVersion=x", NULL, NULL, 400, "resourceVersion: Invalid value" },
    { "GET", SERVICES "?watch=true&sendInitialEvents=true", NULL, NULL, 400, "requires setting resourceVersionMatch" },
    { "GET", SERVICES "?watch=1&timeoutSeconds=1m", NULL, NULL, 400, "timeoutSeconds: not a whole number" },
    { "GET", SERVICES "?includeObject=All", "Accept: application/json;as=Table;v=v1;g=meta.k8s.io\r\n", NULL, 400, "includeObject" },
    { "GET", SERVICES, "Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json\r\n", NULL, 200,
      "\"kind\":\"Table\"\n\"name\":\"LatestCreated\"\n\"cells\":[\"f\",\"http://f.default.localhost\",\"f-00001\",\"\",\"Unknown\",\"RevisionMissing\"]\n\"kind\":\"PartialObjectMetadata\"" },
    { "GET", SERVICES "/f", "Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json\r\n", NULL, 200, "\"kind\":\"Table\"" },
    { "GET", REVISIONS "?labelSelector=serving.knative.dev%2Fservice%3Df", NULL, NULL, 200, "\"kind\":\"RevisionList\"\n\"name\":\"f-00001\"" },
    { "GET", REVISIONS "/f-00001", NULL, NULL, 200, "\"kind\":\"Revision\"" },
    { "GET", REVISIONS "/f-00009", NULL, NULL, 404, "revisions.serving.knative.dev \\\"f-00009\\\" not found" },
    { "POST", REVISIONS, JSON, "{}", 405, "Allow: GET, HEAD, DELETE\r\n\"reason\":\"MethodNotAllowed\"" },
    { "DELETE", REVISIONS "/f-00001", NULL, NULL, 409, "service f needs this revision" },
    { "DELETE", "/apis/serving.knative.dev/v1/services", NULL, NULL, 405, "Allow: GET, HEAD\r" },
    { "POST", SERVICES "/f", JSON, SERVICE("f"), 405, "Allow: GET, HEAD, PUT, PATCH, DELETE\r" },
    /* discovery */
    { "GET", "/api", NULL, NULL, 200, "\"versions\":[\"v1\"]\n127.0.0.1:8081" },
    { "GET", "/apis", NULL, NULL, 200, "\"kind\":\"APIGroupList\"\nserving.knative.dev/v1" },
    { "GET", "/apis/serving.knative.dev", NULL, NULL, 200, "\"kind\":\"APIGroup\"" },
    { "GET", "/apis/networking.internal.knative.dev", NULL, NULL, 200, "\"preferredVersion\":{\"groupVersion\":\"networking.internal.knative.dev/v1alpha1\"" },
    { "GET", "/apis/networking.internal.knative.dev/v1alpha1", NULL, NULL, 200, "\"kind\":\"ClusterDomainClaim\"" },
    { "GET", "/apis/knative.dev", NULL, NULL, 404, "could not find" },
    { "GET", "/apis/serving.knative.dev/v1", NULL, NULL, 200, "\"shortNames\":[\"kservice\",\"ksvc\"]" },
    { "GET", "/api/v1", NULL, NULL, 200, "\"name\":\"namespaces\"\n\"name\":\"secrets\"\n\"shortNames\":[\"cm\"]\n\"deletecollection\"" },
    { "GET", "/apis/serving.knative.dev/v1beta1", NULL, NULL, 200, "\"kind\":\"DomainMapping\"" },
    { "GET", "/apis", AGGREGATED, NULL, 200, "Content-Type: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList\r\n"
      "\"kind\":\"APIGroupDiscoveryList\"\n\"apiVersion\":\"apidiscovery.k8s.io/v2\"\n\"resource\":\"services\"\n\"version\":\"v1beta1\"\n\"scope\":\"Namespaced\"" },
    { "GET", "/api", AGGREGATED, NULL, 200, "\"resource\":\"configmaps\"\n\"scope\":\"Cluster\"" },
    { "GET", "/openapi/v3/api/v1", NULL, NULL, 200, "\"io.k8s.api.core.v1.Secret\":{\n\"stringData\":{" },
    { "GET", "/openapi/v3/apis/serving.knative.dev/v1", NULL, NULL, 200, "\"dev.knative.serving.v1.Service\":{\n\"containerConcurrency\":{\"type\":\"integer\"\n"
      "\"x-kubernetes-list-map-keys\":[\"containerPort\",\"protocol\"]" },
    { "GET", "/openapi/v3/apis/serving.knative.dev/v2", NULL, NULL, 404, "could not find" },
    { "GET", "/api/v1/namespaces", NULL, NULL, 200, "\"kind\":\"NamespaceList\"\n\"name\":\"default\"" },
    { "GET", "/api/v1/namespaces/default", NULL, NULL, 200, "\"kind\":\"Namespace\"" },
    { "GET", "/api/v1/namespaces/other", NULL, NULL, 404, "namespaces \\\"other\\\" not found" },
    { "GET", "/version", NULL, NULL, 200, "\"gitVersion\":\"v1.\n\"ingress\":\"127.0.0.1:80\"\n\"api\":\"127.0.0.1:8081\"\n\"node\":{\"uptime_s\":0}" },
    { "GET", "/openapi/v3", NULL, NULL, 200, "\"serverRelativeURL\":\"/openapi/v3/apis/serving.knative.dev/v1?hash=" },
    { "GET", "/openapi/v3/apis/serving.knative.dev/v1?hash=x", NULL, NULL, 200, "\"patch\":{\n\"name\":\"dryRun\"\n\"name\":\"fieldValidation\"" },
    { "GET", "/openapi/v2", "Accept: application/com.github.proto-openapi.spec.v2@v1.0+protobuf\r\n", NULL, 200,
      "Content-Type: application/com.github.proto-openapi.spec.v2.v1.0+protobuf\r\n" },
    { "GET", "/openapi/v2", NULL, NULL, 200, "\"swagger\":\"2.0\"" },
    { "POST", "/version", JSON, "{}", 405, "\"reason\":\"MethodNotAllowed\"" },
    { "GET", "/apis/serving.knative.dev/v1/routers", NULL, NULL, 404, "the server could not find the requested resource" },
    { "GET", "/apis/serving.knative.dev/v1/routes", NULL, NULL, 200, "\"kind\":\"RouteList\"" },
    { "GET", "/apis/serving.knative.dev/v1/namespaces/default/configurations", TABLE_ACCEPT_EARLY, NULL, 200, "\"name\":\"LatestReady\"" },
    { "GET", "/apis/serving.knative.dev/v1/namespaces/a%2Fb/services", NULL, NULL, 404, "could not find" },
    { "GET", "/apis/serving.knative.dev/v1/namespaces/A_B/services", NULL, NULL, 400, "namespace \\\"A_B\\\": a lowercase RFC 1123 label" },
    { "GET", "/apis/serving.knative.dev/v1/namespaces/default/services/f/scale", NULL, NULL, 404, "could not find" },
    { "GET", "/apis/serving.knative.dev/v1/namespaces/default/services/f/status", NULL, NULL, 200, "\"conditions\"" },
    { "GET", "/apisx", NULL, NULL, 299, "not kube's" },
    { "GET", "/v1/limits", NULL, NULL, 299, "not kube's" },
    /* the end */
    { "DELETE", SERVICES "/f", JSON, "{\"preconditions\":{\"uid\":\"x\"}}", 409, "Precondition failed: UID in precondition: x" },
    { "DELETE", SERVICES "/f", JSON, "{\"preconditions\":{\"resourceVersion\":\"1\"}}", 409, "Precondition failed: ResourceVersion in precondition: 1," },
    { "DELETE", SERVICES "/f", JSON, "{\"propagationPolicy\":\"Never\"}", 400, "propagationPolicy: Unsupported value" },
    { "DELETE", SERVICES "/f", JSON, "{\"gracePeriodSeconds\":-1}", 400, "gracePeriodSeconds" },
    { "DELETE", SERVICES "/f", JSON, "{\"dryRun\":[\"All\"]}", 200, "\"status\":\"Success\"" },
    { "DELETE", SERVICES "/f", JSON, "{\"propagationPolicy\":\"Background\"}", 200,
      "\"kind\":\"Status\"\n\"status\":\"Success\"\n\"details\":{\"name\":\"f\",\"group\":\"serving.knative.dev\",\"kind\":\"services\",\"uid\":\"" },
    { "DELETE", SERVICES "/f", NULL, NULL, 404, "not found" },
    { "GET", REVISIONS "/f-00001", NULL, NULL, 404, "not found" },
};

TEST(a_conversation_goes_as_with_kubernetes)
{
    __attribute__((cleanup(world_auto))) struct world w;
    if (!world_open(&w))
        FAIL("%s", w.e.text);
    for (size_t i = 0; i < COUNT_OF(story); i++) {
        AUTO_FREE char *answer =
            ask(&w, story[i].method, story[i].target, story[i].headers, story[i].body);
        if (status_of(answer) != story[i].status)
            FAIL("step %zu, %s %s: expected %d, got %s", i, story[i].method, story[i].target,
                 story[i].status, answer);
        struct str rest = str_of(story[i].has);
        while (rest.size > 0) {
            struct str part = str_cut(&rest, '\n');
            if (part.size > 0 && !memmem(answer, strlen(answer), part.at, part.size))
                FAIL("step %zu, %s %s: no '" STR_FMT "' in %s", i, story[i].method, story[i].target,
                     STR_ARG(part), answer);
        }
    }
}

#define CORE(plural) "/api/v1/namespaces/default/" plural
#define CONFIG(name, rest) "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"" name "\"}" rest "}"
#define SECRET(name, rest) "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"" name "\"}" rest "}"
#define MAPPINGS "/apis/serving.knative.dev/v1beta1/namespaces/default/domainmappings"
#define MAPPING(name, rest) "{\"apiVersion\":\"serving.knative.dev/v1beta1\",\"kind\":\"DomainMapping\",\"metadata\":{\"name\":\"" name "\"}" rest "}"
#define TABLE_ACCEPT TABLE_ACCEPT_EARLY

static const struct step {
    const char *method, *target, *headers, *body;
    int status;
    const char *has;
} core_story[] = {
    { "POST", CORE("configmaps"), JSON, CONFIG("c", ",\"data\":{\"a\":\"1\",\"empty\":\"\"}"), 201, "\"uid\":\"\n\"empty\":\"\"\n\"manager\":\"unknown\"" },
    { "POST", CORE("configmaps"), JSON, CONFIG("c", ""), 409, "configmaps \\\"c\\\" already exists" },
    { "GET", CORE("configmaps/c"), NULL, NULL, 200, "\"kind\":\"ConfigMap\"\n\"a\":\"1\"" },
    { "GET", CORE("configmaps/d"), NULL, NULL, 404, "configmaps \\\"d\\\" not found\n\"details\":{\"name\":\"d\",\"kind\":\"configmaps\"}" },
    { "GET", CORE("configmaps"), TABLE_ACCEPT, NULL, 200, "\"name\":\"Data\"\n\"cells\":[\"c\",2,\"" },
    { "POST", CORE("configmaps"), JSON, CONFIG("x", ",\"data\":{\"a b\":\"1\"}"), 422, "ConfigMap \\\"x\\\" is invalid: data[a b]: Invalid value: \\\"a b\\\": a valid config key" },
    { "POST", CORE("configmaps"), JSON, CONFIG("x", ",\"data\":{\"a\":\"1\"},\"binaryData\":{\"a\":\"MQ==\"}"), 422, "duplicate of key present in binaryData" },
    { "POST", CORE("configmaps"), JSON, CONFIG("x", ",\"binaryData\":{\"a\":\"M!==\"}"), 422, "illegal base64 data at input byte 1" },
    { "POST", CORE("configmaps"), JSON, CONFIG("x", ",\"date\":{}"), 400, "ConfigMap in version \\\"v1\\\" cannot be handled as a ConfigMap: strict decoding error: unknown field \\\"date\\\"" },
    { "POST", CORE("configmaps"), JSON, CONFIG("X_", ""), 422, "metadata.name: Invalid value: \\\"X_\\\": a lowercase RFC 1123 subdomain" },
    { "POST", CORE("configmaps"), JSON, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"generateName\":\"g-\"}}", 201, "\"name\":\"g-" },
    /* whatever a patch does, an object at this address is left */
    { "PATCH", CORE("configmaps/c"), JSON_PATCH, "[{\"op\":\"add\",\"path\":\"\",\"value\":[1]}]", 400, "what the patch leaves is not an object" },
    { "PATCH", CORE("configmaps/c"), JSON_PATCH, "[{\"op\":\"add\",\"path\":\"\",\"value\":\"x\"}]", 400, "what the patch leaves is not an object" },
    { "PATCH", CORE("configmaps/c"), JSON_PATCH, "[{\"op\":\"add\",\"path\":\"\",\"value\":7}]", 400, "what the patch leaves is not an object" },
    { "PATCH", CORE("configmaps/c"), JSON_PATCH, "[{\"op\":\"add\",\"path\":\"\",\"value\":null}]", 400, "what the patch leaves is not an object" },
    { "PATCH", CORE("configmaps/c"), JSON_PATCH, "[{\"op\":\"replace\",\"path\":\"/metadata/name\",\"value\":\"thief\"}]", 400, "the name of the object (thief) does not match the name on the URL (" },
    { "PATCH", CORE("configmaps/c"), JSON_PATCH, "[{\"op\":\"replace\",\"path\":\"/metadata/namespace\",\"value\":\"elsewhere\"}]", 400, "does not match the namespace sent on the request (elsewhere, default)" },
    { "PATCH", CORE("configmaps/c"), JSON_PATCH, "[{\"op\":\"replace\",\"path\":\"/metadata/uid\",\"value\":\"1-2\"}]", 422, "metadata.uid: Invalid value: \\\"1-2\\\": field is immutable" },
    { "PATCH", CORE("configmaps/c"), JSON_PATCH, "[{\"op\":\"replace\",\"path\":\"/kind\",\"value\":\"Thief\"}]", 400, "the kind in the data (Thief)" },
    { "PATCH", CORE("configmaps/c"), JSON_PATCH, "[{\"op\":\"remove\",\"path\":\"/metadata/name\"}]", 400, "name must be provided" },
    { "PATCH", CORE("configmaps/c"), MERGE, "{\"metadata\":{\"name\":null}}", 400, "name must be provided" },
    { "PATCH", CORE("configmaps/c"), MERGE, "{\"metadata\":{\"uid\":\"1-2\"}}", 422, "metadata.uid: Invalid value" },
    { "PUT", CORE("configmaps/c"), JSON, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\",\"uid\":\"1-2\"}}", 409, "Precondition failed: UID in precondition: 1-2" },
    { "PUT", CORE("configmaps/c"), JSON, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"generateName\":\"c\"}}", 400, "name must be provided" },
    { "GET", CORE("configmaps/thief"), NULL, NULL, 404, "not found" },
    { "GET", CORE("configmaps/c"), NULL, NULL, 200, "\"name\":\"c\"\n\"namespace\":\"default\"" },
    { "PATCH", CORE("configmaps/c"), MERGE, "{\"data\":{\"a\":null},\"immutable\":true}", 200, "\"immutable\":true" },
    { "PATCH", CORE("configmaps/c"), MERGE, "{\"data\":{\"a\":\"2\"}}", 422, "data: Forbidden: field is immutable when `immutable` is set" },
    { "PATCH", CORE("configmaps/c"), MERGE, "{\"immutable\":false}", 422, "immutable: Forbidden" },
    { "PATCH", CORE("configmaps/c"), MERGE, "{\"metadata\":{\"labels\":{\"x\":\"y\"}}}", 200, "\"x\":\"y\"" },
    { "PATCH", CORE("configmaps/c"), MERGE, "{\"metadata\":{\"resourceVersion\":\"1\",\"labels\":{\"x\":\"z\"}}}", 409, "the object has been modified" },
    { "PUT", CORE("configmaps/nothere"), JSON, CONFIG("nothere", ""), 404, "not found" },
    { "DELETE", CORE("configmaps/c"), JSON, "{\"preconditions\":{\"resourceVersion\":\"1\"}}", 409, "Precondition failed: ResourceVersion" },
    { "DELETE", CORE("configmaps/c?dryRun=All"), NULL, NULL, 200, "Success" },
    { "DELETE", CORE("configmaps/c"), NULL, NULL, 200, "\"kind\":\"configmaps\"\n\"status\":\"Success\"" },
    { "DELETE", CORE("configmaps/c"), NULL, NULL, 404, "not found" },
    { "POST", CORE("secrets"), JSON, SECRET("s", ",\"stringData\":{\"one\":\"a\",\"two\":\"ab\",\"three\":\"abc\"},\"data\":{\"old\":\"MQ==\"}"), 201,
      "\"one\":\"YQ==\"\n\"two\":\"YWI=\"\n\"three\":\"YWJj\"\n\"old\":\"MQ==\"\n\"type\":\"Opaque\"" },
    { "POST", CORE("secrets"), JSON, SECRET("t", ",\"type\":\"kubernetes.io/tls\",\"data\":{\"tls.crt\":\"\"}"), 422, "data[tls.key]: Required value" },
    { "POST", CORE("secrets"), JSON, SECRET("t", ",\"data\":{\"a\":\"MQ=\"}"), 422, "illegal base64" },
    { "PATCH", CORE("secrets/s"), MERGE, "{\"type\":\"other\"}", 422, "type: Invalid value: \\\"other\\\": field is immutable" },
    { "GET", CORE("secrets?fieldSelector=type%3DOpaque"), NULL, NULL, 200, "\"name\":\"s\"" },
    { "GET", CORE("secrets?fieldSelector=type%3Dx"), NULL, NULL, 200, "\"items\":[]" },
    { "PATCH", CORE("configmaps/a?fieldManager=ann"), APPLY, "apiVersion: v1\nkind: ConfigMap\ndata: {x: \"1\"}\n", 201, "\"f:data\":{\"f:x\":{}}" },
    { "POST", MAPPINGS, JSON, MAPPING("www.example.com", ""), 400, "admission webhook \\\"validation.webhook.serving.knative.dev\\\" denied the request: validation failed: missing field(s): spec.ref" },
    { "POST", MAPPINGS, JSON, MAPPING("127.0.0.1", ",\"spec\":{\"ref\":{\"kind\":\"Service\",\"name\":\"f\"}}"), 400, "must be a domain, not an IP address: metadata.name" },
    { "POST", MAPPINGS, JSON, MAPPING("www.example.com", ",\"spec\":{\"ref\":{\"kind\":\"Service\",\"name\":\"../a\"}}"), 400, "invalid value: ../a: spec.ref.name\na lowercase RFC 1123 subdomain" },
    { "POST", MAPPINGS, JSON, MAPPING("1.example.com", ",\"spec\":{\"ref\":{\"kind\":\"Service\",\"name\":\"f\"}}"), 201, "\"name\":\"1.example.com\"" },
    { "DELETE", MAPPINGS "/1.example.com", NULL, NULL, 200, "Success" },
    { "POST", MAPPINGS, JSON, MAPPING("www.example.com", ",\"spec\":{\"ref\":{\"kind\":\"Service\",\"name\":\"f\"}}"), 201, "\"generation\":1\n\"namespace\":\"default\",\"apiVersion\":\"serving.knative.dev/v1\"" },
    { "PATCH", MAPPINGS "/www.example.com", MERGE, "{\"spec\":{\"ref\":{\"name\":\"g\"}}}", 200, "\"generation\":2" },
    /* namespaces */
    { "POST", "/api/v1/namespaces", JSON, "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"team\"}}", 201, "\"phase\":\"Active\"\n\"kubernetes.io/metadata.name\":\"team\"" },
    { "DELETE", "/api/v1/namespaces/default", NULL, NULL, 403, "namespaces \\\"default\\\" is forbidden: this namespace may not be deleted" },
    { "POST", "/apis/serving.knative.dev/v1/namespaces/used/services", JSON, SERVICE("f"), 201, "\"namespace\":\"used\"" },
    { "POST", "/api/v1/namespaces/used/configmaps", JSON, CONFIG("c", ""), 201, "\"namespace\":\"used\"" },
    { "GET", "/api/v1/namespaces/used", NULL, NULL, 200, "\"phase\":\"Active\"" },
    { "GET", "/api/v1/namespaces/used/services/f", NULL, NULL, 200, "\"type\":\"ExternalName\"\n\"externalName\":\"f.used.localhost\"\n\"serving.knative.dev/route\":\"f\"" },
    { "GET", "/api/v1/namespaces/used/services", TABLE_ACCEPT, NULL, 200, "\"cells\":[\"f\",\"ExternalName\",\"\",\"f.used.localhost\",\"80/TCP\"" },
    { "DELETE", "/api/v1/namespaces/used/services/f", NULL, NULL, 405, "Allow: GET, HEAD\r" },
    { "DELETE", "/api/v1/namespaces/used", NULL, NULL, 200, "\"phase\":\"Terminating\"\n\"deletionTimestamp\":\"" },
    { "GET", "/api/v1/configmaps?labelSelector=none", NULL, NULL, 200, "\"kind\":\"ConfigMapList\"" },
};

static bool story_told(struct world *w, const struct step *steps, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        AUTO_FREE char *answer = ask(w, steps[i].method, steps[i].target, steps[i].headers, steps[i].body);
        struct str rest = str_of(steps[i].has);
        bool fits = status_of(answer) == steps[i].status;
        while (fits && rest.size > 0) {
            struct str part = str_cut(&rest, '\n');
            fits = part.size == 0 || memmem(answer, strlen(answer), part.at, part.size);
        }
        if (!fits)
            printf("# step %zu, %s %s: expected %d, %s; got %s\n", i, steps[i].method, steps[i].target, steps[i].status,
                   steps[i].has, answer);
        if (!fits)
            return false;
    }
    return true;
}

TEST(the_core_kinds_are_as_in_kubernetes)
{
    __attribute__((cleanup(world_auto))) struct world w;
    CHECK(world_open(&w));
    CHECK(story_told(&w, core_story, COUNT_OF(core_story)));
}

/* The version of the last change of that kind that the log has. */
static int64_t last_of(struct world *w, const char *kind, const char *ns)
{
    struct watch_cursor c;
    struct watch_event event;
    int64_t last = 0;
    if (watchlog_seek(catalog_log(w->catalog), 0, &c) == WATCH_TOO_OLD)
        return -1;
    while (watchlog_next(catalog_log(w->catalog), &c, &(struct watch_filter){ .kind = kind, .ns = ns }, &event) ==
           WATCH_EVENT)
        last = event.version;
    return last;
}

TEST(a_namespace_takes_with_it_what_is_in_it)
{
    __attribute__((cleanup(world_auto))) struct world w;
    CHECK(world_open(&w));
    for (int i = 0; i < 50; i++) { /* more than go at once */
        AUTO_FREE char *service = xasprintf("{\"apiVersion\":\"serving.knative.dev/v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"s%d\"},"
                                            "\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"image\":\"file:///a\"}]}}}}", i);
        AUTO_FREE char *config = xasprintf("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c%d\"}}", i);
        AUTO_FREE char *a = ask(&w, "POST", "/apis/serving.knative.dev/v1/namespaces/gone/services", JSON, service);
        AUTO_FREE char *b = i < 40 ? NULL : ask(&w, "POST", "/api/v1/namespaces/gone/configmaps", JSON, config);
        CHECK(status_of(a) == 201 && (!b || status_of(b) == 201)); /* the Services are the last to go */
    }
    AUTO_FREE char *stays = ask(&w, "POST", CORE("configmaps"), JSON, CONFIG("stays", ""));
    AUTO_FREE char *marked = ask(&w, "DELETE", "/api/v1/namespaces/gone", NULL, NULL);
    CHECK(status_of(stays) == 201 && status_of(marked) == 200);
    int status = 200;
    for (int i = 0; i < 3000 && status == 200; i++) {
        AUTO_FREE char *answer = ask(&w, "GET", "/api/v1/namespaces/gone", NULL, NULL);
        status = status_of(answer);
    }
    CHECK_EQ(status, 404);
    CHECK_EQ(catalog_services(w.catalog), 0);
    CHECK(last_of(&w, "services", "gone") > 0);
    CHECK(last_of(&w, "namespaces", NULL) > last_of(&w, "services", "gone")); /* the roof comes off last */
    CHECK_EQ(registry_count(w.registry, REGISTRY_CONFIGMAPS), 1);
}

/* What is in it goes while we ask, on another thread: where it was gone before we were heard, that try shows nothing. */
TEST(nothing_new_comes_into_a_namespace_that_goes)
{
    __attribute__((cleanup(world_auto))) struct world w;
    bool seen = false;
    CHECK(world_open(&w));
    for (int k = 0; k < 20 && !seen; k++) {
        AUTO_FREE char *ns = xasprintf("/api/v1/namespaces/going%d", k);
        AUTO_FREE char *configs = xasprintf("%s/configmaps", ns);
        AUTO_FREE char *services = xasprintf("/apis/serving.knative.dev/v1/namespaces/going%d/services", k);
        for (int i = 0; i < 40; i++) { /* more than go at once */
            AUTO_FREE char *service = xasprintf("{\"apiVersion\":\"serving.knative.dev/v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"s%d\"},"
                                                "\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"image\":\"file:///a\"}]}}}}", i);
            AUTO_FREE char *made = ask(&w, "POST", services, JSON, service);
            CHECK_EQ(status_of(made), 201);
        }
        AUTO_FREE char *marked = ask(&w, "DELETE", ns, NULL, NULL);
        AUTO_FREE char *late = ask(&w, "POST", configs, JSON, CONFIG("late", ""));
        AUTO_FREE char *later = ask(&w, "POST", services, JSON, SERVICE("late"));
        AUTO_FREE char *still = ask(&w, "GET", ns, NULL, NULL);
        CHECK_EQ(status_of(marked), 200);
        seen = strstr(still, "\"Terminating\"") != NULL;
        if (!seen)
            continue;
        CHECK(status_of(late) == 403 && status_of(later) == 403);
        CHECK(strstr(later, "unable to create new content in namespace going"));
        CHECK(strstr(later, "because it is being terminated"));
    }
    CHECK(seen);
}

TEST(what_happens_is_told_as_events)
{
    __attribute__((cleanup(world_auto))) struct world w;
    struct catalog_facts failed = { .failing = true, .failed_phase = PHASE_RUNTIME_INIT, .exit_status = 3, .message = "boom" };
    struct catalog_facts up = { .ready_once = true, .active = true, .actual = 2, .desired = 2, .exit_status = -1 };
    static const char target[] = CORE("events?fieldSelector=involvedObject.name%3Df-00001,involvedObject.kind%3DRevision");
    CHECK(world_open(&w));
    AUTO_FREE char *created = ask(&w, "POST", SERVICES, JSON, SERVICE("f"));
    CHECK_EQ(status_of(created), 201);
    static const char *const wanted[] = { "Created Revision \\\"f-00001\\\"", "\"reason\":\"ExitCode3\"", "Scaled from 0 to 2 instances", "\"RevisionReady\"" };
    for (size_t k = 0; k < COUNT_OF(wanted); k++) {
        bool there = false;
        for (int i = 0; i < 5000 && !there; i++) {
            AUTO_FREE char *answer = ask(&w, "GET", target, NULL, NULL);
            there = strstr(answer, wanted[k]) != NULL;
        }
        if (!there)
            FAIL("no %s", wanted[k]);
        if (k < 2)
            catalog_revision_facts(w.catalog, "default", "f-00001", k == 0 ? &failed : &up);
    }
    AUTO_FREE char *table = ask(&w, "GET", CORE("events"), TABLE_ACCEPT, NULL);
    CHECK(strstr(table, "\"Warning\",\"ExitCode3\",\"revision/f-00001\",\"hob\",\""));
    CHECK(strstr(table, "\"service/f\""));
}

TEST(the_openapi_document_is_a_message_that_gnostic_reads)
{
    __attribute__((cleanup(world_auto))) struct world w;
    /* Document { swagger = 1: "2.0"; info = 2 { title = 1: "hob"; version = 2: … } } */
    enum { INFO_SIZE = 2 + 3 + 2 + sizeof HOB_VERSION - 1 };
    static const uint8_t expected[] = { 0x0a, 3, '2', '.', '0', 0x12, INFO_SIZE, 0x0a, 3, 'h', 'o', 'b', 0x12 };
    CHECK(world_open(&w));
    AUTO_FREE char *answer = ask(&w, "GET", "/openapi/v2", "Accept: x+protobuf\r\n", NULL);
    const char *body = strstr(answer, "\r\n\r\n");
    CHECK(body && memcmp(body + 4, expected, sizeof expected) == 0);
}

TEST(warnings_reach_the_client_in_their_header)
{
    __attribute__((cleanup(world_auto))) struct world w;
    CHECK(world_open(&w));
    AUTO_FREE char *answer =
        ask(&w, "POST", SERVICES, JSON,
            HEAD_OF("f") ",\"spec\":{\"template\":{\"metadata\":{\"annotations\":{\"autoscaling.knative.dev/minscale\":\"1\"}},"
                         "\"spec\":{\"serviceAccountName\":\"a\",\"containers\":[{\"image\":\"file:///a\"}]}}}}");
    CHECK_EQ(status_of(answer), 201);
    CHECK(strstr(answer, "Warning: 299 - \"no annotation has this name (did you mean \\\"autoscaling.knative.dev/min-scale\\\"?): "
                         "spec.template.metadata.annotations.autoscaling.knative.dev/minscale\"\r\n"));
    CHECK(strstr(answer, "Warning: 299 - \"has no effect in hob (a DNS-1123 subdomain): "
                         "spec.template.spec.serviceAccountName\"\r\n"));
}

TEST(a_ready_service_is_shown_ready)
{
    __attribute__((cleanup(world_auto))) struct world w;
    struct catalog_facts f = { .ready_once = true, .active = true, .actual = 1, .desired = 1,
                               .exit_status = -1 };
    CHECK(world_open(&w));
    AUTO_FREE char *created = ask(&w, "POST", SERVICES, JSON, SERVICE("f"));
    CHECK_EQ(status_of(created), 201);
    for (int i = 0; i < 2000 && w.revision_count == 0; i++) {
        AUTO_FREE char *answer = ask(&w, "GET", SERVICES "/f", NULL, NULL);
        CHECK_EQ(status_of(answer), 200);
    }
    CHECK_EQ(w.revision_count, 1);
    catalog_revision_facts(w.catalog, "default", w.revisions[0]->name, &f);
    bool ready = false;
    for (int i = 0; i < 2000 && !ready; i++) {
        AUTO_FREE char *answer = ask(&w, "GET", SERVICES "/f", NULL, NULL);
        AUTO_JSON json_t *j = body_of(&w, answer);
        ready = status_ready(json_object_get(j, "status")) == STATUS_TRUE;
    }
    CHECK(ready);
}

TEST(a_call_that_is_open_when_everything_stops_is_left_alone)
{
    __attribute__((cleanup(world_auto))) struct world w;
    CHECK(world_open(&w));
    int fd = dial(&w, "POST", SERVICES, JSON, str_of(SERVICE("f")));
    CHECK(fd >= 0);
    for (int i = 0; i < 100 && store_version(w.store) == 0 && i < 3; i++)
        CHECK(loop_turn(w.loop, false, &w.e) >= 0);
    close(fd); /* and now world_free(): the sanitizers watch */
}

/* ---- watches ---- */

struct stream {
    int fd;
    char *all; /* what came so far */
    size_t size;
    bool ended;
};
static void stream_auto(struct stream *s)
{
    if (s->fd >= 0)
        close(s->fd);
    free(s->all);
}

static void stream_open(struct world *w, struct stream *s, const char *target, const char *headers)
{
    *s = (struct stream){ .fd = dial(w, "GET", target, headers, STR("")), .all = xstrdup("") };
}

static void stream_read(struct world *w, struct stream *s)
{
    char piece[8192];
    if (loop_turn(w->loop, false, &w->e) < 0)
        abort();
    ssize_t n = recv(s->fd, piece, sizeof piece, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN))
        s->ended = true;
    if (n <= 0) {
        usleep(200); /* the store's thread is at work */
        return;
    }
    s->all = xrealloc(s->all, s->size + (size_t)n + 1, 1);
    memcpy(s->all + s->size, piece, (size_t)n);
    s->size += (size_t)n;
    s->all[s->size] = '\0';
}

/* Until that text came, or the end; where the text begins, or NULL. */
static char *stream_until(struct world *w, struct stream *s, const char *text)
{
    char *found = strstr(s->all, text);
    for (int i = 0; i < 20000 && !s->ended && !found; i++) {
        size_t from = s->size - MIN(s->size, strlen(text));
        stream_read(w, s);
        found = strstr(s->all + from, text);
    }
    return found;
}

static int64_t version_of(struct world *w, const char *target)
{
    AUTO_FREE char *answer = ask(w, "GET", target, NULL, NULL);
    AUTO_JSON json_t *j = body_of(w, answer);
    const char *text = json_text_at(j, "metadata.resourceVersion");
    return text ? atoll(text) : -1;
}

static void make(struct world *w, const char *body)
{
    AUTO_FREE char *answer = ask(w, "POST", SERVICES, JSON, body);
    if (status_of(answer) != 201)
        printf("# %s\n", answer);
}

TEST(a_watch_replays_from_its_version_and_goes_on)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(stream_auto))) struct stream s = { .fd = -1 };
    CHECK(world_open(&w));
    make(&w, SERVICE("zero")); /* version 0 would mean: what there is now */
    int64_t before = version_of(&w, SERVICES);
    make(&w, SERVICE("a"));
    make(&w, SERVICE("b"));
    AUTO_FREE char *target =
        xasprintf(SERVICES "?watch=true&fieldSelector=metadata.name%%3Da&resourceVersion=%lld", (long long)before);
    stream_open(&w, &s, target, "");
    CHECK(stream_until(&w, &s, "{\"type\":\"ADDED\",\"object\":{\"apiVersion\":\"serving.knative.dev/v1\",\"kind\":\"Service\""));
    AUTO_FREE char *patched = ask(&w, "PATCH", SERVICES "/a", MERGE, "{\"metadata\":{\"labels\":{\"x\":\"one\"}}}");
    AUTO_FREE char *deleted = ask(&w, "DELETE", SERVICES "/a", NULL, NULL);
    CHECK(status_of(patched) == 200 && status_of(deleted) == 200);
    char *modified = stream_until(&w, &s, "\"type\":\"MODIFIED\"");
    char *gone = stream_until(&w, &s, "\"type\":\"DELETED\"");
    CHECK(modified && gone && modified < gone);
    CHECK(!strstr(s.all, "\"name\":\"b\""));
    CHECK_EQ(kube_watches(w.kube), 1);
    AUTO_FREE char *old = xasprintf(SERVICES "?watch=true&resourceVersion=%lld", (long long)before);
    __attribute__((cleanup(stream_auto))) struct stream again = { .fd = -1 };
    stream_open(&w, &again, old, ""); /* from before all of it, when all of it is over */
    CHECK(stream_until(&w, &again, "\"type\":\"DELETED\""));
    CHECK(strstr(again.all, "\"name\":\"b\""));
}

TEST(a_watch_without_a_version_begins_with_what_there_is)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(stream_auto))) struct stream s = { .fd = -1 }, t = { .fd = -1 };
    CHECK(world_open(&w));
    make(&w, SERVICE("a"));
    stream_open(&w, &s, SERVICES "?watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan", "");
    CHECK(stream_until(&w, &s, "\"k8s.io/initial-events-end\":\"true\""));
    CHECK(strstr(s.all, "\"type\":\"ADDED\"") && strstr(s.all, "\"type\":\"BOOKMARK\""));
    stream_open(&w, &t, SERVICES "?watch=true", "Accept: application/json;as=Table;v=v1;g=meta.k8s.io\r\n");
    CHECK(stream_until(&w, &t, "\"cells\":[\"a\",\"http://a.default.localhost\""));
    CHECK(strstr(t.all, "\"type\":\"ADDED\",\"object\":{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\""));
}

TEST(a_label_selector_holds_for_events)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(stream_auto))) struct stream s = { .fd = -1 };
    CHECK(world_open(&w));
    stream_open(&w, &s, SERVICES "?watch=true&labelSelector=team%3Dx", "");
    make(&w, SERVICE("a"));
    AUTO_FREE char *enters = ask(&w, "PATCH", SERVICES "/a", MERGE, "{\"metadata\":{\"labels\":{\"team\":\"x\"}}}");
    AUTO_FREE char *leaves = ask(&w, "PATCH", SERVICES "/a", MERGE, "{\"metadata\":{\"labels\":{\"team\":\"y\"}}}");
    CHECK(status_of(enters) == 200 && status_of(leaves) == 200);
    CHECK(stream_until(&w, &s, "\"type\":\"DELETED\""));
    char *added = strstr(s.all, "\"type\":\"ADDED\"");
    CHECK(added && strstr(added, "\"team\":\"x\""));
    CHECK(!strstr(s.all, "BOOKMARK")); /* nobody asked for them */
}

/* For tests that write the log themselves: nobody else may commit then. */
static void events_off(struct world *w)
{
    events_free(TAKE(w->events));
    for (int i = 0; i < 20000 && store_version(w->store) == 0; i++) { /* the namespace "default" */
        if (loop_turn(w->loop, false, &w->e) < 0)
            abort();
        usleep(100);
    }
}

TEST(a_version_that_the_log_forgot_is_gone_before_and_during_a_watch)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(stream_auto))) struct stream s = { .fd = -1 };
    CHECK(world_open(&w));
    events_off(&w);
    make(&w, SERVICE("zero"));
    int64_t before = version_of(&w, SERVICES);
    w.limits.watch_events_max = 1; /* the ring was made larger; its text may not grow */
    w.limits.watch_log_bytes = 1;
    make(&w, SERVICE("a"));
    make(&w, SERVICE("b"));
    AUTO_FREE char *target = xasprintf(SERVICES "?watch=true&resourceVersion=%lld", (long long)before);
    AUTO_FREE char *answer = ask(&w, "GET", target, NULL, NULL);
    CHECK_EQ(status_of(answer), 410);
    CHECK(strstr(answer, "\"reason\":\"Expired\"") && strstr(answer, "too old resource version: "));
    AUTO_FREE char *page = ask(&w, "GET", SERVICES "?limit=1", NULL, NULL);
    AUTO_JSON json_t *j = body_of(&w, page);
    AUTO_FREE char *next = xasprintf(SERVICES "?limit=1&continue=%s", json_text_at(j, "metadata.continue"));
    make(&w, SERVICE("c"));
    make(&w, SERVICE("d"));
    AUTO_FREE char *late = ask(&w, "GET", next, NULL, NULL);
    CHECK_EQ(status_of(late), 410);
    CHECK(strstr(late, "The provided continue parameter is too old"));

    /* and a watch that does not get to read while three changes are made */
    stream_open(&w, &s, SERVICES "?watch=true", "");
    CHECK(stream_until(&w, &s, "\"name\":\"d\""));
    struct watchlog *log = catalog_log(w.catalog);
    struct catalog_item item; /* the last thing that the catalog commits by itself */
    while (!catalog_find(w.catalog, CATALOG_REVISIONS, "default", "d-00001", &item))
        CHECK(loop_turn(w.loop, true, &w.e) >= 0);
    for (int i = 0; i < 3; i++)
        watchlog_append(log, watchlog_version(log) + 1, "services", "default", "z", "{}", "{}");
    CHECK(stream_until(&w, &s, "{\"type\":\"ERROR\",\"object\":"));
    CHECK(strstr(s.all, "\"code\":410"));
    CHECK(stream_until(&w, &s, "\r\n0\r\n\r\n")); /* and that was its end */
    CHECK_EQ(kube_watches(w.kube), 0);
}

#define NAMESPACE(name) "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"" name "\"}}"

static bool on_terminating(void *ctx, const char *name)
{
    buf_printf(ctx, "%s ", name);
    return true;
}

/* Nobody empties it here, as where hob ends in between; another registry reads what was written. */
TEST(a_namespace_that_is_being_emptied_is_known_as_that_after_a_restart)
{
    __attribute__((cleanup(world_auto))) struct world w;
    struct buf now, later;
    buf_init(&now, 1000);
    buf_init(&later, 1000);
    CHECK(world_open(&w));
    namespaces_free(w.namespaces);
    w.namespaces = NULL;
    AUTO_FREE char *kept = ask(&w, "POST", "/api/v1/namespaces", JSON, NAMESPACE("kept"));
    AUTO_FREE char *made = ask(&w, "POST", "/api/v1/namespaces", JSON, NAMESPACE("going"));
    AUTO_FREE char *gone = ask(&w, "DELETE", "/api/v1/namespaces/going", NULL, NULL);
    CHECK(status_of(kept) == 201 && status_of(made) == 201 && status_of(gone) == 200);
    registry_terminating_each(w.registry, on_terminating, &now);
    CHECK(str_is(buf_str(&now), "going "));
    {
        AUTO(registry) struct registry *again = NULL;
        CHECK(registry_open(w.loop, w.store, catalog_log(w.catalog), &w.limits, &again, &w.e) == 0);
        registry_terminating_each(again, on_terminating, &later);
    }
    CHECK(str_is(buf_str(&later), "going "));
    buf_done(&now);
    buf_done(&later);
}

TEST(a_watch_ends_in_its_time_with_a_bookmark)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(stream_auto))) struct stream s = { .fd = -1 };
    CHECK(world_open(&w));
    stream_open(&w, &s, "/apis/serving.knative.dev/v1/namespaces/other/services?watch=true&timeoutSeconds=1&allowWatchBookmarks=true", "");
    CHECK(stream_until(&w, &s, "200 OK"));
    make(&w, SERVICE("a")); /* elsewhere: nothing to see, but the version moves */
    CHECK(stream_until(&w, &s, "\r\n0\r\n\r\n"));
    CHECK(strstr(s.all, "{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"Service\",\"apiVersion\":\"serving.knative.dev/v1\",\"metadata\":{\"resourceVersion\":\""));
    CHECK(!strstr(s.all, "ADDED"));
    CHECK_EQ(kube_watches(w.kube), 0);
}

TEST(watches_are_bounded_and_their_clients_may_leave)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(stream_auto))) struct stream s = { .fd = -1 };
    CHECK(world_open(&w));
    w.limits.api_watchers_max = 1;
    stream_open(&w, &s, SERVICES "?watch=true", "");
    CHECK(stream_until(&w, &s, "200 OK"));
    AUTO_FREE char *refused = ask(&w, "GET", SERVICES "?watch=true", NULL, NULL);
    CHECK(status_of(refused) == 429 && w.limited == 1);
    close(s.fd);
    s.fd = -1;
    for (int i = 0; i < 20000 && kube_watches(w.kube) > 0; i++) {
        CHECK(loop_turn(w.loop, false, &w.e) >= 0);
        usleep(100);
    }
    CHECK_EQ(kube_watches(w.kube), 0);
}

/* Far more than the sockets hold: nothing is lost, and nothing piles up but the one piece. */
TEST(a_slow_watcher_gets_everything_when_it_reads)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(stream_auto))) struct stream s = { .fd = -1 };
    CHECK(world_open(&w));
    w.limits.watch_log_bytes = 64 << 20;
    events_off(&w);
    stream_open(&w, &s, SERVICES "?watch=true", "");
    CHECK(stream_until(&w, &s, "200 OK"));
    struct watchlog *log = catalog_log(w.catalog);
    AUTO_FREE char *fill = xcalloc(1, 40000);
    memset(fill, 'x', 39999);
    int64_t first = watchlog_version(log) + 1;
    for (int i = 0; i < 250; i++) {
        AUTO_FREE char *text = xasprintf("{\"n\":%d,\"fill\":\"%s\"}", i, fill);
        watchlog_append(log, first + i, "services", "default", "z", "{}", text);
        CHECK(loop_turn(w.loop, false, &w.e) >= 0);
    }
    for (int i = 0; i < 100; i++)
        CHECK(loop_turn(w.loop, false, &w.e) >= 0);
    CHECK_EQ(kube_watches(w.kube), 1);
    CHECK(stream_until(&w, &s, "{\"n\":249,"));
    const char *at = s.all;
    for (int i = 0; i < 250; i++) {
        char want[32];
        snprintf(want, sizeof want, "{\"n\":%d,", i);
        at = strstr(at, want);
        CHECK(at);
    }
}

TEST(a_collection_is_deleted_as_far_as_it_is_selected)
{
    __attribute__((cleanup(world_auto))) struct world w;
    CHECK(world_open(&w));
    for (int i = 0; i < 40; i++) {
        AUTO_FREE char *body = xasprintf("{\"apiVersion\":\"serving.knative.dev/v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"s%d\","
                                         "\"labels\":{\"odd\":\"%d\"}},\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"image\":\"file:///a\"}]}}}}", i, i % 2);
        make(&w, body);
    }
    AUTO_FREE char *dry = ask(&w, "DELETE", SERVICES "?dryRun=All", NULL, NULL);
    CHECK(status_of(dry) == 200 && catalog_services(w.catalog) == 40);
    AUTO_FREE char *some = ask(&w, "DELETE", SERVICES "?labelSelector=odd%3D1", NULL, NULL);
    CHECK(status_of(some) == 200 && catalog_services(w.catalog) == 20);
    AUTO_JSON json_t *j = body_of(&w, some);
    CHECK_STR(json_text_at(j, "kind"), "ServiceList");
    CHECK_EQ(json_array_size(json_object_get(j, "items")), 20);
    AUTO_FREE char *rest = ask(&w, "DELETE", SERVICES, JSON, "{\"propagationPolicy\":\"Foreground\"}");
    CHECK(status_of(rest) == 200 && catalog_services(w.catalog) == 0);
}

TEST(pages_are_of_one_version_and_skip_nothing_that_stays)
{
    __attribute__((cleanup(world_auto))) struct world w;
    char seen[100] = "";
    CHECK(world_open(&w));
    make(&w, SERVICE("a"));
    make(&w, SERVICE("b"));
    make(&w, SERVICE("c"));
    AUTO_FREE char *first = ask(&w, "GET", SERVICES "?limit=1", NULL, NULL);
    AUTO_JSON json_t *page = body_of(&w, first);
    AUTO_FREE char *version = xstrdup(json_text_at(page, "metadata.resourceVersion"));
    AUTO_FREE char *gone = ask(&w, "DELETE", SERVICES "/a", NULL, NULL); /* the one the token names */
    CHECK_EQ(status_of(gone), 200);
    make(&w, SERVICE("aa"));
    while (page) {
        CHECK_STR(json_text_at(page, "metadata.resourceVersion"), version);
        strcat(seen, json_text_at(page, "items.0.metadata.name"));
        strcat(seen, " ");
        const char *token = json_text_at(page, "metadata.continue");
        AUTO_FREE char *next = xasprintf(SERVICES "?limit=1&continue=%s", token);
        AUTO_FREE char *answer = *token ? ask(&w, "GET", next, NULL, NULL) : NULL;
        json_decref(page);
        page = answer ? body_of(&w, answer) : NULL;
    }
    CHECK_STR(seen, "a aa b c ");
}

#ifdef HOB_FAULTS
/* Nothing at all when the connection was what failed; else the answer that was to come, or a Status that says why not. */
static bool told(const char *answer, int right)
{
    int status = status_of(answer);
    return !*answer || status == right ||
           (status >= 500 && strstr(answer, "\"kind\":\"Status\"") && strstr(answer, "\"message\":\"")) ||
           (status == 429 && strstr(answer, "\"kind\":\"Status\""));
}

/* Each operation between a client's bytes and the store's thread fails once, in a conversation with a watch beside it. */
TEST(whatever_fails_a_request_is_told_and_the_next_is_served)
{
    static const struct {
        const char *method, *target, *headers, *body;
        int right, later; /* later: where it had been done already, though nobody heard of it */
    } steps[] = {
        { "POST", SERVICES, JSON, SERVICE("f"), 201, 409 },
        { "GET", SERVICES, NULL, NULL, 200, 200 },
        { "PATCH", SERVICES "/f", MERGE, "{\"metadata\":{\"labels\":{\"team\":\"a\"}}}", 200, 200 },
        { "GET", SERVICES "?labelSelector=team%3Da", NULL, NULL, 200, 200 },
        { "DELETE", SERVICES "/f", NULL, NULL, 200, 404 },
    };
    int nth = 0;
    for (bool fired = true; fired;) {
        CHECK(++nth < 120);
        int before = fds_open();
        {
            __attribute__((cleanup(world_auto))) struct world w;
            __attribute__((cleanup(stream_auto))) struct stream s = { .fd = -1 };
            if (!world_open(&w))
                FAIL("%s", w.e.text);
            fault_arm(nth);
            stream_open(&w, &s, SERVICES "?watch=true", "");
            for (int i = 0; i < 10; i++)
                stream_read(&w, &s);
            for (size_t i = 0; i < COUNT_OF(steps); i++) {
                AUTO_FREE char *answer = ask(&w, steps[i].method, steps[i].target, steps[i].headers, steps[i].body);
                if (!told(answer, steps[i].right))
                    FAIL("fault %d, %s %s: %s", nth, steps[i].method, steps[i].target, answer);
                if (status_of(answer) == steps[i].right)
                    continue;
                CHECK(fault_fired());
                AUTO_FREE char *again = ask(&w, steps[i].method, steps[i].target, steps[i].headers, steps[i].body);
                if (status_of(again) != steps[i].right && (*answer || status_of(again) != steps[i].later))
                    FAIL("fault %d, %s %s again: %s", nth, steps[i].method, steps[i].target, again);
            }
            for (int i = 0; i < 10; i++)
                stream_read(&w, &s);
            fired = fault_fired();
            fault_arm(0);
        }
        CHECK_EQ(fds_open(), before);
    }
    CHECK(nth > 20);
}
#endif

TEST_MAIN()
