#include "serving/config.h"
#include "serving/pod.h"
#include "serving/revision.h"
#include "tap.h"

static struct limits limits;

/* What there is: of one namespace, each "kind/name" with its JSON. */
struct shelf {
    const char *const *pairs; /* NULL at the end */
    unsigned asked;
};

static const char *shelf_find(void *ctx, bool secret, const char *ns, const char *name)
{
    struct shelf *s = ctx;
    char wanted[128];
    snprintf(wanted, sizeof wanted, "%s/%s", secret ? "secret" : "configmap", name);
    s->asked++;
    ASSERT(strcmp(ns, "ns") == 0);
    for (const char *const *at = s->pairs; *at; at += 2)
        if (strcmp(at[0], wanted) == 0)
            return at[1];
    return NULL;
}

static const char *const everything[] = {
    "configmap/app", "{\"data\":{\"color\":\"blue\",\"1st\":\"x\",\"PORT\":\"99\",\"app.conf\":\"a=$(color)\"},"
                     "\"binaryData\":{\"logo\":\"AP8A\"}}",
    "secret/db", "{\"data\":{\"user\":\"cm9vdA==\",\"pass\":\"czNjcmV0\",\"raw\":\"AAE=\"}}",
    NULL,
};

/* The plan of a pod with one container, resolved. */
static int resolve(const char *pod, const char *const *pairs, struct config **ret, const char **reason, struct err *e)
{
    AUTO_JSON json_t *p = NULL;
    struct shelf shelf = { pairs, 0 };
    const struct config_source source = { shelf_find, &shelf };
    if (!limits.config_bytes_max)
        limits_default(&limits);
    int r = json_read(str_of(pod), &limits, &p, e);
    ASSERT(r == 0);
    AUTO_FREE char *plan = config_plan(p, json_at(p, "containers.0"));
    ASSERT(plan);
    const struct revision rev = { .ns = "ns", .service = "f", .name = "f-00001", .port = 8080, .config = plan };
    return config_resolve(&rev, &source, &limits, ret, reason, e);
}

#define POD(container, volumes) "{\"containers\":[{\"name\":\"user-container\"," container "}],\"volumes\":[" volumes "]}"

static const char *env_of(const struct config *c, const char *name)
{
    for (size_t i = 0; c->env[i]; i++)
        if (strncmp(c->env[i], name, strlen(name)) == 0 && c->env[i][strlen(name)] == '=')
            return c->env[i] + strlen(name) + 1;
    return NULL;
}

static const struct sandbox_file *file_of(const struct sandbox_folder *f, const char *path)
{
    for (size_t i = 0; i < f->file_count; i++)
        if (strcmp(f->files[i].path, path) == 0)
            return &f->files[i];
    return NULL;
}

static bool holds(const struct sandbox_file *f, const char *data, size_t size, uint32_t mode)
{
    return f && f->size == size && memcmp(f->data, data, size) == 0 && f->mode == mode;
}

TEST(a_pod_that_takes_nothing_has_no_plan)
{
    AUTO_JSON json_t *p = json_loads(POD("\"env\":[{\"name\":\"A\",\"value\":\"b\"}],\"volumeMounts\":[{\"name\":\"s\","
                                         "\"mountPath\":\"/s\"}]",
                                         "{\"name\":\"s\",\"emptyDir\":{}},{\"name\":\"c\",\"configMap\":{\"name\":\"x\"}}"),
                                     0, NULL);
    AUTO_FREE char *plan = config_plan(p, json_at(p, "containers.0"));
    CHECK(!plan); /* the volume of a ConfigMap is another container's */
}

TEST(keys_become_variables_and_what_the_manifest_says_is_expanded_with_them)
{
    AUTO(config) struct config *c = NULL;
    const char *reason;
    struct err e = { 0 };
    CHECK_EQ(resolve(POD("\"command\":[\"run\",\"$(color)-$(PORT)\"],\"args\":[\"$(PASS)\"],\"env\":["
                         "{\"name\":\"C\",\"valueFrom\":{\"configMapKeyRef\":{\"name\":\"app\",\"key\":\"app.conf\"}}},"
                         "{\"name\":\"PASS\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"db\",\"key\":\"pass\"}}},"
                         "{\"name\":\"URL\",\"value\":\"$(user):$(PASS)@$(later)$$(C)\"},"
                         "{\"name\":\"later\",\"value\":\"1\"},{\"name\":\"color\",\"value\":\"red\"}],"
                         "\"envFrom\":[{\"configMapRef\":{\"name\":\"app\"}},"
                         "{\"prefix\":\"DB_\",\"secretRef\":{\"name\":\"none\",\"optional\":true}},"
                         "{\"configMapRef\":{\"name\":\"app\"},\"prefix\":\"P_\"}]",
                         ""),
                     everything, &c, &reason, &e),
             0);
    CHECK_STR(env_of(c, "C"), "a=$(color)"); /* what an object says stays as it is */
    CHECK_STR(env_of(c, "PASS"), "s3cret");
    CHECK_STR(env_of(c, "URL"), "$(user):s3cret@$(later)$(C)");
    CHECK_STR(env_of(c, "color"), "red"); /* env goes before envFrom */
    CHECK_STR(env_of(c, "P_color"), "blue");
    CHECK_STR(env_of(c, "P_1st"), "x");
    CHECK(!env_of(c, "PORT") && env_of(c, "P_PORT"));
    CHECK(!env_of(c, "1st") && !env_of(c, "logo"));
    CHECK(strstr(c->skipped, "1st of ConfigMap ns/app") && !strstr(c->skipped, "P_"));
    CHECK_STR(c->command[1], "red-8080");
    CHECK_STR(c->args[0], "s3cret");
    CHECK(!c->command[2] && !c->args[1] && c->folder_count == 0);
    size_t reds = 0;
    for (size_t i = 0; c->env[i]; i++)
        reds += strncmp(c->env[i], "color=", 6) == 0;
    CHECK_EQ(reds, 1); /* a name twice is the first one's to getenv() */
}

#define MOUNT(name, path) "\"volumeMounts\":[{\"name\":\"" name "\",\"mountPath\":\"" path "\"}]"

TEST(volumes_are_files_with_their_modes)
{
    AUTO(config) struct config *c = NULL;
    const char *reason;
    struct err e = { 0 };
    CHECK_EQ(resolve(POD("\"volumeMounts\":[{\"name\":\"m\",\"mountPath\":\"/etc/m/\"},{\"name\":\"s\",\"mountPath\":\"/etc/s\"},"
                         "{\"name\":\"p\",\"mountPath\":\"/etc/p\"},{\"name\":\"o\",\"mountPath\":\"/etc/o\"}]",
                         "{\"name\":\"m\",\"configMap\":{\"name\":\"app\"}},"
                         "{\"name\":\"s\",\"secret\":{\"secretName\":\"db\",\"defaultMode\":256,\"items\":["
                         "{\"key\":\"pass\",\"path\":\"in/password\"},{\"key\":\"raw\",\"path\":\"raw\",\"mode\":511}]}},"
                         "{\"name\":\"p\",\"projected\":{\"defaultMode\":288,\"sources\":[{\"configMap\":{\"name\":\"app\"}},"
                         "{\"secret\":{\"name\":\"db\",\"items\":[{\"key\":\"user\",\"path\":\"color\"}]}},"
                         "{\"secret\":{\"name\":\"none\",\"optional\":true}}]}},"
                         "{\"name\":\"o\",\"configMap\":{\"name\":\"none\",\"optional\":true}}"),
                     everything, &c, &reason, &e),
             0);
    CHECK_EQ(c->folder_count, 4);
    CHECK_STR(c->folders[0].target, "/etc/m");
    CHECK_EQ(c->folders[0].file_count, 5);
    CHECK(holds(file_of(&c->folders[0], "app.conf"), "a=$(color)", 10, 0644));
    CHECK(holds(file_of(&c->folders[0], "logo"), "\0\xff\0", 3, 0644));
    CHECK_EQ(c->folders[1].file_count, 2);
    CHECK(holds(file_of(&c->folders[1], "in/password"), "s3cret", 6, 0400));
    CHECK(holds(file_of(&c->folders[1], "raw"), "\0\1", 2, 0777));
    CHECK_EQ(c->folders[2].file_count, 5);
    CHECK(holds(file_of(&c->folders[2], "color"), "root", 4, 0440)); /* the later source */
    CHECK(c->folders[3].file_count == 0 && !c->folders[3].alone);
}

TEST(a_sub_path_is_one_file_or_what_is_below_it)
{
    AUTO(config) struct config *c = NULL;
    const char *reason;
    struct err e = { 0 };
    CHECK_EQ(resolve(POD("\"volumeMounts\":[{\"name\":\"m\",\"mountPath\":\"/etc/f.conf\",\"subPath\":\"d/app.conf\"},"
                         "{\"name\":\"m\",\"mountPath\":\"/etc/d\",\"subPath\":\"d/\"}]",
                         "{\"name\":\"m\",\"configMap\":{\"name\":\"app\",\"items\":[{\"key\":\"app.conf\",\"path\":\"d/app.conf\"},"
                         "{\"key\":\"color\",\"path\":\"d/e/color\"},{\"key\":\"color\",\"path\":\"dd\"}]}}"),
                     everything, &c, &reason, &e),
             0);
    CHECK(c->folders[0].alone && c->folders[0].file_count == 1);
    CHECK(holds(file_of(&c->folders[0], "app.conf"), "a=$(color)", 10, 0644));
    CHECK(!c->folders[1].alone && c->folders[1].file_count == 2);
    CHECK(file_of(&c->folders[1], "app.conf") && file_of(&c->folders[1], "e/color"));
}

static void refused(const char *what, const char *pod, const char *text, const char *reason, enum code code)
{
    AUTO(config) struct config *c = NULL;
    const char *why = "";
    struct err e = { 0 };
    int r = resolve(pod, everything, &c, &why, &e);
    if (r != -(int)code || strcmp(e.text, text) != 0 || strcmp(why, reason) != 0)
        FAIL("%s: %d %s: %s", what, r, why, e.text);
    if (strstr(e.text, "s3cret") || strstr(e.text, "czNjcmV0"))
        FAIL("%s: says a value: %s", what, e.text);
}

#define ENV(source, name, key) \
    POD("\"env\":[{\"name\":\"A\",\"valueFrom\":{\"" source "\":{\"name\":\"" name "\",\"key\":\"" key "\"}}}]", "")
#define VOLUME(source) POD(MOUNT("v", "/v"), "{\"name\":\"v\"," source "}")

TEST(what_is_missing_is_named_as_the_kubelet_names_it)
{
    refused("map", ENV("configMapKeyRef", "no", "k"), "configmap \"no\" not found", CONFIG_ENV, CODE_NOT_FOUND);
    refused("secret", ENV("secretKeyRef", "no", "k"), "secret \"no\" not found", CONFIG_ENV, CODE_NOT_FOUND);
    refused("key", ENV("configMapKeyRef", "app", "k"), "couldn't find key k in ConfigMap ns/app", CONFIG_ENV, CODE_NOT_FOUND);
    refused("binary", ENV("configMapKeyRef", "app", "logo"), "couldn't find key logo in ConfigMap ns/app", CONFIG_ENV,
            CODE_NOT_FOUND);
    refused("its key", ENV("secretKeyRef", "db", "k"), "couldn't find key k in Secret ns/db", CONFIG_ENV, CODE_NOT_FOUND);
    refused("NUL", ENV("secretKeyRef", "db", "raw"),
            "key raw in Secret ns/db: it has a NUL byte, which an environment variable cannot have", CONFIG_ENV, CODE_INVALID);
    refused("from", POD("\"envFrom\":[{\"secretRef\":{\"name\":\"no\"}}]", ""), "secret \"no\" not found", CONFIG_ENV,
            CODE_NOT_FOUND);
    refused("volume", VOLUME("\"secret\":{\"secretName\":\"no\"}"),
            "MountVolume.SetUp failed for volume \"v\" : secret \"no\" not found", CONFIG_FILES, CODE_NOT_FOUND);
    refused("item", VOLUME("\"configMap\":{\"name\":\"app\",\"items\":[{\"key\":\"k\",\"path\":\"p\"}]}"),
            "MountVolume.SetUp failed for volume \"v\" : references non-existent config key: k", CONFIG_FILES, CODE_NOT_FOUND);
    refused("paths", VOLUME("\"configMap\":{\"name\":\"app\",\"items\":[{\"key\":\"color\",\"path\":\"a\"},"
                            "{\"key\":\"color\",\"path\":\"a/b\"}]}"),
            "MountVolume.SetUp failed for volume \"v\" : conflicting paths: a and a/b", CONFIG_FILES, CODE_INVALID);
    refused("subPath", POD("\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/v\",\"subPath\":\"colo\"}]",
                           "{\"name\":\"v\",\"configMap\":{\"name\":\"app\"}}"),
            "MountVolume.SetUp failed for volume \"v\" : failed to prepare subPath for volumeMount \"v\" of container "
            "\"user-container\": no colo in it", CONFIG_FILES, CODE_NOT_FOUND);
}

TEST(what_is_optional_may_be_missing)
{
    AUTO(config) struct config *c = NULL;
    const char *reason;
    struct err e = { 0 };
    CHECK_EQ(resolve(POD("\"env\":[{\"name\":\"A\",\"valueFrom\":{\"configMapKeyRef\":{\"name\":\"no\",\"key\":\"k\",\"optional\":true}}},"
                         "{\"name\":\"B\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"db\",\"key\":\"k\",\"optional\":true}}}],"
                         "\"envFrom\":[{\"configMapRef\":{\"name\":\"no\",\"optional\":true}}]," MOUNT("v", "/v"),
                         "{\"name\":\"v\",\"secret\":{\"secretName\":\"db\",\"optional\":true,\"items\":["
                         "{\"key\":\"k\",\"path\":\"p\"},{\"key\":\"user\",\"path\":\"u\"}]}}"),
                     everything, &c, &reason, &e),
             0);
    CHECK(!c->env[0]);
    CHECK_EQ(c->folders[0].file_count, 1);
    CHECK(file_of(&c->folders[0], "u"));
}

TEST(more_bytes_or_files_than_the_limits_are_refused_by_name)
{
    limits_default(&limits);
    limits.config_bytes_max = 22;
    limits.config_files_max = 5;
    AUTO(config) struct config *fits = NULL;
    const char *reason;
    struct err e = { 0 };
    CHECK_EQ(resolve(VOLUME("\"configMap\":{\"name\":\"app\"}"), everything, &fits, &reason, &e), 0);
    limits.config_bytes_max = 19; /* blue, x, 99, a=$(color), and three bytes */
    refused("bytes", VOLUME("\"configMap\":{\"name\":\"app\"}"),
            "MountVolume.SetUp failed for volume \"v\" : values from ConfigMaps and Secrets: more than 19 bytes (limit "
            "config_bytes_max)", CONFIG_FILES, CODE_EXHAUSTED);
    limits.config_bytes_max = 22;
    limits.config_files_max = 4;
    refused("files", VOLUME("\"configMap\":{\"name\":\"app\"}"),
            "MountVolume.SetUp failed for volume \"v\" : files from ConfigMaps and Secrets: more than 4 (limit "
            "config_files_max)", CONFIG_FILES, CODE_EXHAUSTED);
    limits_default(&limits);
}

/* Before an order is made of it: an object has room for a hundred thousand names, and a value may be expanded into others
 * a thousand times. */
TEST(an_environment_is_refused_while_it_grows)
{
#define FROM_APP "{\"configMapRef\":{\"name\":\"app\"}}"
#define NAMES    "\"envFrom\":[" FROM_APP "," FROM_APP "]"
#define VALUES   "\"env\":[{\"name\":\"A\",\"valueFrom\":{\"configMapKeyRef\":{\"name\":\"app\",\"key\":\"color\"}}}," \
                 "{\"name\":\"B\",\"value\":\"$(A)$(A)\"},{\"name\":\"B\",\"value\":\"$(A)$(A)\"}]"
    static const struct {
        const char *pod, *text;
        uint64_t bytes; /* that it takes */
    } rows[] = {
        /* color and blue, 1st, PORT, app.conf and its value; twice. What is left out was looked at, too. */
        { POD(NAMES, ""), "arguments and environment: more than 79 bytes (limit sandbox_args_bytes_max)", 80 },
        { POD(VALUES, ""), "arguments and environment: more than 22 bytes (limit sandbox_args_bytes_max)", 5 + 9 + 9 },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        AUTO(config) struct config *fits = NULL;
        const char *reason;
        struct err e = { 0 };
        limits_default(&limits);
        limits.sandbox_args_bytes_max = rows[i].bytes;
        CHECK_EQ(resolve(rows[i].pod, everything, &fits, &reason, &e), 0);
        limits.sandbox_args_bytes_max--;
        refused("environment", rows[i].pod, rows[i].text, CONFIG_ENV, CODE_INVALID);
    }
    limits_default(&limits);
}

TEST(an_object_named_often_is_looked_up_once)
{
    AUTO_JSON json_t *p = json_loads(POD("\"envFrom\":[{\"configMapRef\":{\"name\":\"app\"}},{\"configMapRef\":{\"name\":\"app\"}}],"
                                         MOUNT("v", "/v"), "{\"name\":\"v\",\"configMap\":{\"name\":\"app\"}}"), 0, NULL);
    AUTO_FREE char *plan = config_plan(p, json_at(p, "containers.0"));
    AUTO(config) struct config *c = NULL;
    struct shelf shelf = { everything, 0 };
    const struct config_source source = { shelf_find, &shelf };
    const struct revision rev = { .ns = "ns", .service = "f", .name = "f-1", .port = 1, .config = plan };
    const char *reason;
    struct err e = { 0 };
    limits_default(&limits);
    CHECK_EQ(config_resolve(&rev, &source, &limits, &c, &reason, &e), 0);
    CHECK_EQ(shelf.asked, 1); /* so all of an instance is of one version */
}

TEST_MAIN()
