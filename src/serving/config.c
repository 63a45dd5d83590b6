#include "serving/config.h"

#include "base/map.h"
#include "codec/base64.h"
#include "codec/names.h"
#include "serving/expand.h"
#include "serving/revision.h"

#include <stdio.h>
#include <stdlib.h>

enum { DEFAULT_MODE = 0644 };

/* ---- memory that is wiped ---- */

struct config_piece {
    struct config_piece *next;
    size_t size;
    max_align_t at[];
};

static void *piece(struct config *c, size_t size)
{
    struct config_piece *p = xcalloc(1, sizeof *p + size + 1);
    p->size = size;
    p->next = c->pieces;
    c->pieces = p;
    return p->at;
}

static char *piece_of(struct config *c, const void *data, size_t size)
{
    char *copy = piece(c, size);
    if (size > 0)
        memcpy(copy, data, size);
    return copy; /* piece() made the byte behind it 0 */
}

void config_free(struct config *c)
{
    if (!c)
        return;
    for (struct config_piece *p = c->pieces, *next; p; p = next) {
        next = p->next;
        explicit_bzero(p->at, p->size);
        free(p);
    }
    free(c);
}

/* ---- objects, each looked up and read once ---- */

struct object {
    struct object *next;
    bool secret;
    const char *name;
    json_t *tree; /* NULL: there is none */
};

struct value { /* one entry of a scope */
    const char *name, *value;
};

struct resolve {
    const struct revision *r;
    const struct config_source *source;
    const struct limits *limits;
    json_t *plan;
    struct config *c;
    struct object *objects;
    struct value *values; /* the environment so far; of each name once */
    struct map value_at;  /* by name: its index, and one more */
    size_t value_count, bytes, words, files;
};

static void resolve_done(struct resolve *x)
{
    for (struct object *o = x->objects, *next; o; o = next) {
        next = o->next;
        json_decref(o->tree);
        free(o);
    }
    free(x->values);
    map_done(&x->value_at);
    json_decref(x->plan);
    config_free(x->c);
}
static void resolve_auto(struct resolve *x) { resolve_done(x); }

static const json_t *object_find(struct resolve *x, bool secret, const char *name)
{
    for (struct object *o = x->objects; o; o = o->next)
        if (o->secret == secret && strcmp(o->name, name) == 0)
            return o->tree;
    const char *text = x->source->find(x->source->ctx, secret, x->r->ns, name);
    struct object *o = xcalloc(1, sizeof *o);
    *o = (struct object){ x->objects, secret, name, text ? json_loads(text, 0, NULL) : NULL };
    x->objects = o;
    return o->tree;
}

static const char *kind_name(bool secret) { return secret ? "Secret" : "ConfigMap"; }

static int not_found(bool secret, const char *name, struct err *e)
{
    return err_set(e, CODE_NOT_FOUND, "%s \"%s\" not found", secret ? "secret" : "configmap", name);
}

static int bytes_take(struct resolve *x, size_t size, struct err *e)
{
    x->bytes += size;
    if (x->bytes <= x->limits->config_bytes_max)
        return 0;
    return err_set(e, CODE_EXHAUSTED, "values from ConfigMaps and Secrets: more than %llu bytes (limit config_bytes_max)",
                   (unsigned long long)x->limits->config_bytes_max);
}

/* A value as it is in the object: text, or base64 where it may be any bytes. Outputs are the config's. */
static int value_read(struct resolve *x, const json_t *value, bool base64, struct str *ret, struct err *e)
{
    struct str text = { json_string_value(value), json_string_length(value) };
    int r = 0;
    if (!base64) {
        r = bytes_take(x, text.size, e);
        if (r == 0)
            *ret = (struct str){ piece_of(x->c, text.at, text.size), text.size };
        return r;
    }
    struct buf b;
    buf_init(&b, text.size);
    if (!base64_read(text, &b))
        r = err_set(e, CODE_INVALID, "not base64"); /* the object was checked when it came */
    else
        r = bytes_take(x, b.size, e);
    if (r == 0)
        *ret = (struct str){ piece_of(x->c, buf_at(&b), b.size), b.size };
    if (b.size > 0)
        explicit_bzero(buf_at(&b), b.size);
    buf_done(&b);
    return r;
}

/* ---- environment ---- */

/* What is looked at counts, also when it is left out or set again: so neither many names nor long values, repeated
 * or expanded, take more time or memory than an instance could be given. */
static int words_take(struct resolve *x, size_t size, struct err *e)
{
    x->words += size + 1;
    if (x->words <= x->limits->sandbox_args_bytes_max)
        return 0;
    return err_set(e, CODE_INVALID, "arguments and environment: more than %llu bytes (limit sandbox_args_bytes_max)",
                   (unsigned long long)x->limits->sandbox_args_bytes_max);
}

static const char *scope_find(const void *ctx, struct str name)
{
    const struct resolve *x = ctx;
    size_t at = (size_t)(uintptr_t)map_find(&x->value_at, name);
    return at ? x->values[at - 1].value : NULL;
}

/* The last one of a name counts, in the place of the first. Both texts live as long as the config. */
static void scope_set(struct resolve *x, const char *name, const char *value)
{
    size_t at = (size_t)(uintptr_t)map_find(&x->value_at, str_of(name));
    if (at) {
        x->values[at - 1].value = value;
        return;
    }
    if ((x->value_count & (x->value_count - 1)) == 0) /* at the powers of two */
        x->values = xrealloc(x->values, x->value_count ? x->value_count * 2 : 1, sizeof *x->values);
    x->values[x->value_count++] = (struct value){ name, value };
    map_put(&x->value_at, str_of(name), (void *)(uintptr_t)x->value_count);
}

static int expanded(struct resolve *x, const char *text, const char **ret, struct err *e)
{
    struct buf b;
    buf_init(&b, x->limits->sandbox_args_bytes_max);
    expand_text(text, scope_find, x, &b);
    int r = words_take(x, b.overflow ? x->limits->sandbox_args_bytes_max : b.size, e);
    if (r == 0)
        *ret = piece_of(x->c, buf_at(&b), b.size);
    if (b.size > 0)
        explicit_bzero(buf_at(&b), b.size);
    buf_done(&b);
    return r;
}

static bool is_optional(const json_t *ref) { return json_is_true(json_object_get(ref, "optional")); }

static int variable_text(const struct resolve *x, bool secret, const char *name, const char *key, struct str value,
                         struct err *e)
{
    if (memchr(value.at, '\0', value.size))
        return err_set(e, CODE_INVALID, "key %s in %s %s/%s: it has a NUL byte, which an environment variable cannot have",
                       key, kind_name(secret), x->r->ns, name);
    return 0;
}

/* What a variable may not say: the runtime contract says it. The port is nothing to a container without one. */
static bool is_contract(const struct resolve *x, const char *name)
{
    static const char *const of[] = { "K_SERVICE", "K_CONFIGURATION", "K_REVISION", "PORT" };
    size_t count = COUNT_OF(of) - (x->r->part != CONTAINER_SERVES);
    for (size_t i = 0; i < count; i++)
        if (strcmp(of[i], name) == 0)
            return true;
    return false;
}

static void skipped_add(struct buf *skipped, const struct resolve *x, bool secret, const char *object, const char *key)
{
    if (skipped->size == 0)
        buf_text(skipped, "no names of environment variables, so left out:");
    buf_printf(skipped, " %s of %s %s/%s;", key, kind_name(secret), x->r->ns, object);
}

static int env_from_one(struct resolve *x, const json_t *from, struct buf *skipped, struct err *e)
{
    bool secret = json_object_get(from, "secretRef") != NULL;
    const json_t *ref = json_object_get(from, secret ? "secretRef" : "configMapRef");
    const char *name = json_text_at(ref, "name"), *prefix = json_text_at(from, "prefix"), *key;
    const json_t *object = name ? object_find(x, secret, name) : NULL;
    json_t *value;
    if (!object)
        return is_optional(ref) ? 0 : not_found(secret, name ? name : "", e);
    json_object_foreach(json_object_get(object, "data"), key, value) {
        struct err ignored;
        struct str text;
        AUTO_FREE char *whole = xasprintf("%s%s", prefix ? prefix : "", key);
        int r = words_take(x, strlen(whole), e);
        if (r < 0)
            return r;
        if (!names_env(str_of(whole), &ignored)) {
            skipped_add(skipped, x, secret, name, key);
            continue;
        }
        if (is_contract(x, whole))
            continue;
        r = value_read(x, value, secret, &text, e);
        if (r == 0)
            r = words_take(x, text.size, e);
        if (r == 0)
            r = variable_text(x, secret, name, key, text, e);
        if (r < 0)
            return r;
        scope_set(x, piece_of(x->c, whole, strlen(whole)), text.at);
    }
    return 0;
}

static int env_key(struct resolve *x, const char *variable, const json_t *from, struct err *e)
{
    bool secret = json_object_get(from, "secretKeyRef") != NULL;
    const json_t *ref = json_object_get(from, secret ? "secretKeyRef" : "configMapKeyRef");
    const char *name = json_text_at(ref, "name"), *key = json_text_at(ref, "key");
    if (!name || !key)
        return err_set(e, CODE_INVALID, "env %s: names no key", variable);
    const json_t *object = object_find(x, secret, name);
    const json_t *value = json_object_get(json_object_get(object, "data"), key);
    struct str text;
    if (!value && is_optional(ref))
        return 0;
    if (!object)
        return not_found(secret, name, e);
    if (!value)
        return err_set(e, CODE_NOT_FOUND, "couldn't find key %s in %s %s/%s", key, kind_name(secret), x->r->ns, name);
    int r = value_read(x, value, secret, &text, e);
    if (r == 0)
        r = words_take(x, text.size, e);
    if (r == 0)
        r = variable_text(x, secret, name, key, text, e);
    if (r == 0)
        scope_set(x, variable, text.at);
    return r;
}

/* As the kubelet: envFrom first; what an object says is taken as it is, what the manifest says is expanded. */
static int env_resolve(struct resolve *x, struct err *e)
{
    const json_t *env = json_object_get(x->plan, "env"), *from = json_object_get(x->plan, "envFrom");
    struct buf skipped;
    int r = 0;
    buf_init(&skipped, 1024);
    for (size_t i = 0; r == 0 && i < json_array_size(from); i++)
        r = env_from_one(x, json_array_get(from, i), &skipped, e);
    if (r == 0 && skipped.size > 0)
        x->c->skipped = piece_of(x->c, buf_at(&skipped), skipped.size - 1);
    buf_done(&skipped);
    for (size_t i = 0; r == 0 && i < json_array_size(env); i++) {
        const json_t *one = json_array_get(env, i), *source = json_object_get(one, "valueFrom");
        const char *name = json_text_at(one, "name"), *value = json_text_at(one, "value"), *text;
        if (!name)
            return err_set(e, CODE_INVALID, "env: a variable without name");
        name = piece_of(x->c, name, strlen(name));
        if (source) {
            r = env_key(x, name, source, e);
        } else {
            r = expanded(x, value ? value : "", &text, e);
            if (r == 0)
                scope_set(x, name, text);
        }
    }
    return r;
}

static const char *const *env_list(struct resolve *x)
{
    const char **list = piece(x->c, (x->value_count + 1) * sizeof *list);
    for (size_t i = 0; i < x->value_count; i++) {
        const char *name = x->values[i].name, *value = x->values[i].value;
        size_t size = strlen(name) + 1 + strlen(value);
        char *pair = piece(x->c, size);
        (void)snprintf(pair, size + 1, "%s=%s", name, value);
        list[i] = pair;
    }
    return list;
}

static int words_resolve(struct resolve *x, const char *field, const char *const **ret, struct err *e)
{
    const json_t *from = json_object_get(x->plan, field);
    size_t count = json_array_size(from);
    const char **list = piece(x->c, (count + 1) * sizeof *list);
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(from, i));
        int r = expanded(x, text ? text : "", &list[i], e);
        if (r < 0)
            return r;
    }
    *ret = list;
    return 0;
}

/* Command and arguments see what the runtime contract says, too. */
static int environment_resolve(struct resolve *x, struct err *e)
{
    char port[8];
    int r = env_resolve(x, e);
    if (r < 0)
        return r;
    x->c->env = env_list(x);
    (void)snprintf(port, sizeof port, "%u", x->r->port);
    if (x->r->part == CONTAINER_SERVES)
        scope_set(x, "PORT", port);
    scope_set(x, "K_SERVICE", x->r->service);
    scope_set(x, "K_CONFIGURATION", x->r->service);
    scope_set(x, "K_REVISION", x->r->name);
    r = words_resolve(x, "command", &x->c->command, e);
    return r < 0 ? r : words_resolve(x, "args", &x->c->args, e);
}

/* ---- files ---- */

struct folder { /* a volume, as it is made */
    struct sandbox_file *files;
    size_t count;
    bool plain; /* one source, its own keys: no path comes twice */
};

static int file_add(struct resolve *x, struct folder *f, const char *path, struct str data, uint32_t mode,
                    struct err *e)
{
    const struct sandbox_file file = { piece_of(x->c, path, strlen(path)), data.at, data.size, mode };
    for (size_t i = 0; !f->plain && i < f->count; i++)
        if (strcmp(f->files[i].path, path) == 0) {
            f->files[i] = file; /* of a projected volume's sources the last one counts */
            return 0;
        }
    if (x->files++ >= x->limits->config_files_max)
        return err_set(e, CODE_EXHAUSTED, "files from ConfigMaps and Secrets: more than %llu (limit config_files_max)",
                       (unsigned long long)x->limits->config_files_max);
    if ((f->count & (f->count - 1)) == 0) /* at the powers of two */
        f->files = xrealloc(f->files, f->count ? f->count * 2 : 1, sizeof *f->files);
    f->files[f->count++] = file;
    return 0;
}

static const json_t *key_find(const json_t *object, bool secret, const char *key, bool *ret_base64)
{
    const json_t *value = json_object_get(json_object_get(object, "data"), key);
    *ret_base64 = secret || !value;
    return value || secret ? value : json_object_get(json_object_get(object, "binaryData"), key);
}

static int items_add(struct resolve *x, struct folder *f, const json_t *object, bool secret, const json_t *source,
                     uint32_t mode, struct err *e)
{
    const json_t *items = json_object_get(source, "items");
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *item = json_array_get(items, i);
        const char *key = json_text_at(item, "key"), *path = json_text_at(item, "path");
        struct str data;
        bool base64;
        const json_t *value = key && path ? key_find(object, secret, key, &base64) : NULL;
        if (!value && is_optional(source))
            continue;
        if (!value)
            return err_set(e, CODE_NOT_FOUND, "references non-existent %s key: %s", secret ? "secret" : "config",
                           key ? key : "");
        int r = value_read(x, value, base64, &data, e);
        if (r == 0)
            r = file_add(x, f, path, data, (uint32_t)json_int_at(item, "mode", mode), e);
        if (r < 0)
            return r;
    }
    return 0;
}

static int keys_add(struct resolve *x, struct folder *f, const json_t *object, bool secret, uint32_t mode,
                    struct err *e)
{
    static const char *const fields[] = { "data", "binaryData" };
    for (size_t i = 0; i < (secret ? 1 : COUNT_OF(fields)); i++) {
        const char *key;
        json_t *value;
        json_object_foreach(json_object_get(object, fields[i]), key, value) {
            struct str data;
            int r = value_read(x, value, secret || i == 1, &data, e);
            if (r == 0)
                r = file_add(x, f, key, data, mode, e);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

static int source_add(struct resolve *x, struct folder *f, const json_t *source, bool secret, const char *name,
                      uint32_t mode, struct err *e)
{
    const json_t *object = name ? object_find(x, secret, name) : NULL;
    if (!object)
        return is_optional(source) ? 0 : not_found(secret, name ? name : "", e);
    return json_array_size(json_object_get(source, "items")) > 0 ? items_add(x, f, object, secret, source, mode, e)
                                            : keys_add(x, f, object, secret, mode, e);
}

static uint32_t mode_of(const json_t *source) { return (uint32_t)json_int_at(source, "defaultMode", DEFAULT_MODE); }

static int volume_read(struct resolve *x, const json_t *volume, struct folder *f, struct err *e)
{
    const json_t *map = json_object_get(volume, "configMap"), *secret = json_object_get(volume, "secret");
    const json_t *projected = json_object_get(volume, "projected"), *sources = json_object_get(projected, "sources");
    f->plain = !projected && json_array_size(json_object_get(map ? map : secret, "items")) == 0;
    if (map)
        return source_add(x, f, map, false, json_text_at(map, "name"), mode_of(map), e);
    if (secret)
        return source_add(x, f, secret, true, json_text_at(secret, "secretName"), mode_of(secret), e);
    for (size_t i = 0; i < json_array_size(sources); i++) {
        const json_t *one = json_array_get(sources, i);
        bool of_secret = json_object_get(one, "secret") != NULL;
        const json_t *source = json_object_get(one, of_secret ? "secret" : "configMap");
        int r = source_add(x, f, source, of_secret, json_text_at(source, "name"), mode_of(projected), e);
        if (r < 0)
            return r;
    }
    return 0;
}

/* A path cannot be a file and lead to another. */
static int paths_check(const struct folder *f, struct err *e)
{
    for (size_t i = 0; !f->plain && i < f->count; i++)
        for (size_t k = 0; k < f->count; k++) {
            size_t size = strlen(f->files[i].path);
            if (strncmp(f->files[k].path, f->files[i].path, size) == 0 && f->files[k].path[size] == '/')
                return err_set(e, CODE_INVALID, "conflicting paths: %.100s and %.100s", f->files[i].path,
                               f->files[k].path);
        }
    return 0;
}

/* All of a volume; or, with a subPath, the one file it names, or what is below the folder it names. */
static int mount_make(struct resolve *x, const json_t *mount, const struct folder *f, struct sandbox_folder *into,
                      struct err *e)
{
    const char *sub = json_text_at(mount, "subPath"), *path = json_text_at(mount, "mountPath");
    struct sandbox_file *files = piece(x->c, f->count * sizeof *files);
    size_t size = sub ? strlen(sub) : 0, count = 0;
    bool alone = false;
    while (size > 0 && sub[size - 1] == '/')
        size--;
    for (size_t i = 0; i < f->count && !alone; i++) {
        const char *at = f->files[i].path;
        if (size > 0 && (strncmp(at, sub, size) != 0 || (at[size] != '\0' && at[size] != '/')))
            continue;
        alone = size > 0 && at[size] == '\0';
        const char *last = strrchr(at, '/');
        files[alone ? 0 : count] = f->files[i];
        files[alone ? 0 : count].path = alone ? (last ? last + 1 : at) : size > 0 ? at + size + 1 : at;
        count = alone ? 1 : count + 1;
    }
    if (size > 0 && count == 0)
        return err_set(e, CODE_NOT_FOUND, "failed to prepare subPath for volumeMount \"%s\" of container \"%s\": no %s in it",
                       json_text_at(mount, "name"), json_text_at(x->plan, "container"), sub);
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        end--;
    *into = (struct sandbox_folder){ piece_of(x->c, path, end), files, count, alone };
    return 0;
}

static int mount_resolve(struct resolve *x, const json_t *mount, struct sandbox_folder *into, struct err *e)
{
    const char *name = json_text_at(mount, "name");
    const json_t *volumes = json_object_get(x->plan, "volumes"), *volume = NULL;
    struct folder f = { 0 };
    for (size_t i = 0; !volume && i < json_array_size(volumes); i++)
        if (strcmp(json_text_at(json_array_get(volumes, i), "name"), name) == 0)
            volume = json_array_get(volumes, i);
    ASSERT(volume); /* config_plan() put it in */
    int r = volume_read(x, volume, &f, e);
    if (r == 0)
        r = paths_check(&f, e);
    if (r == 0)
        r = mount_make(x, mount, &f, into, e);
    free(f.files);
    return r < 0 ? err_wrap(e, "MountVolume.SetUp failed for volume \"%s\" ", name) : 0;
}

static int files_resolve(struct resolve *x, struct err *e)
{
    const json_t *mounts = json_object_get(x->plan, "mounts");
    size_t count = json_array_size(mounts);
    struct sandbox_folder *folders = piece(x->c, count * sizeof *folders);
    for (size_t i = 0; i < count; i++) {
        int r = mount_resolve(x, json_array_get(mounts, i), &folders[i], e);
        if (r < 0)
            return r;
    }
    x->c->folders = folders;
    x->c->folder_count = count;
    return 0;
}

int config_resolve(const struct revision *r, const struct config_source *s, const struct limits *l,
                   struct config **ret, const char **ret_reason, struct err *e)
{
    ASSERT(r->config);
    __attribute__((cleanup(resolve_auto))) struct resolve x = {
        .r = r, .source = s, .limits = l, .plan = json_loads(r->config, 0, NULL), .c = xcalloc(1, sizeof *x.c)
    };
    ASSERT(x.plan); /* config_plan() wrote it */
    map_init(&x.value_at, (uint64_t)(uintptr_t)x.c);
    *ret_reason = CONFIG_FILES; /* the kubelet mounts before it makes containers */
    int result = files_resolve(&x, e);
    if (result < 0)
        return result;
    *ret_reason = CONFIG_ENV;
    result = environment_resolve(&x, e);
    if (result < 0)
        return result;
    *ret = TAKE(x.c);
    return 0;
}

/* ---- the plan ---- */

bool config_is_volume(const json_t *volume)
{
    return json_object_get(volume, "configMap") || json_object_get(volume, "secret") ||
           json_object_get(volume, "projected");
}

static void carry(json_t *into, const json_t *from, const char *field)
{
    json_t *value = json_object_get(from, field);
    if (value)
        (void)json_object_set(into, field, value);
}

/* The mounts of such volumes, and each of these volumes once. */
static void mounts_carry(json_t *plan, const json_t *pod, const json_t *container)
{
    const json_t *mounts = json_object_get(container, "volumeMounts"), *volumes = json_object_get(pod, "volumes");
    json_t *into = json_array(), *of = json_array();
    for (size_t k = 0; k < json_array_size(volumes); k++) {
        json_t *volume = json_array_get(volumes, k);
        const char *name = json_text_at(volume, "name");
        bool used = false;
        for (size_t i = 0; name && config_is_volume(volume) && i < json_array_size(mounts); i++) {
            json_t *mount = json_array_get(mounts, i);
            const char *wanted = json_text_at(mount, "name");
            if (!wanted || strcmp(wanted, name) != 0 || !json_text_at(mount, "mountPath"))
                continue;
            (void)json_array_append(into, mount);
            used = true;
        }
        if (used)
            (void)json_array_append(of, volume);
    }
    (void)json_object_set_new(plan, "mounts", into);
    (void)json_object_set_new(plan, "volumes", of);
}

char *config_plan(const json_t *pod, const json_t *container)
{
    static const char *const fields[] = { "env", "envFrom", "command", "args" };
    const char *name = json_text_at(container, "name");
    AUTO_JSON json_t *plan = json_pack("{s:s}", "container", name ? name : "");
    for (size_t i = 0; i < COUNT_OF(fields); i++)
        carry(plan, container, fields[i]);
    mounts_carry(plan, pod, container);
    const json_t *env = json_object_get(plan, "env");
    bool needed = json_array_size(json_object_get(plan, "mounts")) > 0 ||
                  json_array_size(json_object_get(plan, "envFrom")) > 0;
    for (size_t i = 0; i < json_array_size(env); i++)
        needed |= json_object_get(json_array_get(env, i), "valueFrom") != NULL;
    if (!needed)
        return NULL;
    struct buf text;
    buf_init(&text, SIZE_MAX / 4);
    json_write(plan, &text);
    return buf_take_text(&text);
}
