#include "serving/pod_config.h"

#include "codec/names.h"
#include "serving/config.h"

enum { MODE_MAX = 0777, PATH_BYTES_MAX = 1024 };

static const char *text_at(const json_t *j, const char *key)
{
    const char *text = json_string_value(json_object_get(j, key));
    return text ? text : "";
}

static void name_check(const json_t *ref, const char *path, const char *key, struct refusals *refused)
{
    const char *name = text_at(ref, key);
    struct err e;
    if (!*name)
        refusals_add(refused, REFUSAL_AT("%s.%s", path, key), NULL, "missing field(s)");
    else if (!names_subdomain(str_of(name), &e))
        refusals_add(refused, REFUSAL_AT("%s.%s", path, key), e.text, "invalid value: %s", name);
}

/* A key of an object: letters, digits, '-', '_' and '.'; and no path that leads up. */
static void key_check(const json_t *ref, const char *path, struct refusals *refused)
{
    enum { KEY_MAX = 253 };
    static const char letters[] = "-._abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    const char *key = text_at(ref, "key");
    if (!*key)
        refusals_add(refused, REFUSAL_AT("%s.key", path), NULL, "missing field(s)");
    else if (strlen(key) > KEY_MAX || key[strspn(key, letters)] || strcmp(key, ".") == 0 || strncmp(key, "..", 2) == 0)
        refusals_add(refused, REFUSAL_AT("%s.key", path),
                     "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
                     "invalid value: %.253s", key);
}

/* Exactly one of the two; returns whether that is so. */
static bool either_check(const json_t *of, const char *path, const char *a, const char *b, struct refusals *refused)
{
    bool has_a = json_object_get(of, a) != NULL, has_b = json_object_get(of, b) != NULL;
    if (has_a != has_b)
        return true;
    refusals_add(refused, REFUSAL_AT("%s.%s", path, a), NULL, "expected exactly one, got %s", has_a ? "both" : "neither");
    refusals_add(refused, REFUSAL_AT("%s.%s", path, b), NULL, "expected exactly one, got %s", has_a ? "both" : "neither");
    return false;
}

/* ---- environment ---- */

void pod_config_env_check(const json_t *env_var, const char *path, struct refusals *refused)
{
    static const char *const refs[] = { "configMapKeyRef", "secretKeyRef" };
    const json_t *from = json_object_get(env_var, "valueFrom");
    struct refusal_path at = refusal_path("%s.valueFrom", path);
    if (!from)
        return;
    if (*text_at(env_var, "value"))
        refusals_add(refused, at.text, "may not be specified when `value` is not empty", "invalid value: \"\"");
    if (!json_object_get(from, "fieldRef") && !json_object_get(from, "resourceFieldRef") &&
        !json_object_get(from, "fileKeyRef")) /* those are refused by name */
        (void)either_check(from, at.text, refs[0], refs[1], refused);
    for (size_t i = 0; i < COUNT_OF(refs); i++) {
        const json_t *ref = json_object_get(from, refs[i]);
        if (!ref)
            continue;
        name_check(ref, REFUSAL_AT("%s.%s", at.text, refs[i]), "name", refused);
        key_check(ref, REFUSAL_AT("%s.%s", at.text, refs[i]), refused);
    }
}

void pod_config_env_from_check(const json_t *env_from, const char *path, struct refusals *refused)
{
    static const char *const refs[] = { "configMapRef", "secretRef" };
    for (size_t i = 0; i < json_array_size(env_from); i++) {
        const json_t *one = json_array_get(env_from, i);
        const char *prefix = text_at(one, "prefix");
        struct refusal_path at = refusal_path("%s[%zu]", path, i);
        struct err e;
        (void)either_check(one, at.text, refs[0], refs[1], refused);
        if (*prefix && !names_env(str_of(prefix), &e))
            refusals_add(refused, REFUSAL_AT("%s.prefix", at.text), e.text, "invalid value: %s", prefix);
        for (size_t k = 0; k < COUNT_OF(refs); k++)
            if (json_object_get(one, refs[k]))
                name_check(json_object_get(one, refs[k]), REFUSAL_AT("%s.%s", at.text, refs[k]), "name", refused);
    }
}

/* ---- volumes ---- */

static void mode_check(const json_t *of, const char *path, const char *key, struct refusals *refused)
{
    int64_t mode = json_int_at(of, key, 0);
    if (mode < 0 || mode > MODE_MAX)
        refusals_add(refused, REFUSAL_AT("%s.%s", path, key), "must be a number between 0 and 0777 (octal), both inclusive",
                     "invalid value: %lld", (long long)mode);
}

/* NULL: it leads down, and nowhere else. */
static const char *path_wrong(const char *path)
{
    if (strlen(path) > PATH_BYTES_MAX)
        return "longer than 1024 bytes";
    if (path[0] == '/')
        return "must be a relative path";
    struct str rest = str_of(path);
    bool more = true;
    while (more) {
        more = memchr(rest.at, '/', rest.size) != NULL;
        struct str part = str_cut(&rest, '/');
        if (str_is(part, ".."))
            return "must not contain '..'";
        if (part.size == 0 || part.size > 255 || str_is(part, "."))
            return "must be plain names of at most 255 bytes between single slashes";
    }
    return strncmp(path, "..", 2) == 0 ? "must not start with '..'" : NULL;
}

static void relative_check(const char *given, const char *path, struct refusals *refused)
{
    const char *wrong = path_wrong(given);
    if (wrong)
        refusals_add(refused, path, wrong, "invalid value: %.200s", given);
}

static void items_check(const json_t *source, const char *path, struct refusals *refused)
{
    const json_t *items = json_object_get(source, "items");
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *item = json_array_get(items, i);
        struct refusal_path at = refusal_path("%s.items[%zu]", path, i);
        key_check(item, at.text, refused);
        mode_check(item, at.text, "mode", refused);
        if (*text_at(item, "path"))
            relative_check(text_at(item, "path"), REFUSAL_AT("%s.path", at.text), refused);
        else
            refusals_add(refused, REFUSAL_AT("%s.path", at.text), NULL, "missing field(s)");
    }
}

static void source_check(const json_t *source, const char *path, const char *name_key, struct refusals *refused)
{
    name_check(source, path, name_key, refused);
    mode_check(source, path, "defaultMode", refused);
    items_check(source, path, refused);
}

static void projected_check(const json_t *projected, const char *path, struct refusals *refused)
{
    const json_t *sources = json_object_get(projected, "sources");
    mode_check(projected, path, "defaultMode", refused);
    for (size_t i = 0; i < json_array_size(sources); i++) {
        const json_t *one = json_array_get(sources, i);
        struct refusal_path at = refusal_path("%s.sources[%zu]", path, i);
        if (!json_object_get(one, "downwardAPI") && !json_object_get(one, "serviceAccountToken"))
            (void)either_check(one, at.text, "configMap", "secret", refused);
        if (json_object_get(one, "configMap"))
            source_check(json_object_get(one, "configMap"), REFUSAL_AT("%s.configMap", at.text), "name", refused);
        if (json_object_get(one, "secret"))
            source_check(json_object_get(one, "secret"), REFUSAL_AT("%s.secret", at.text), "name", refused);
    }
}

void pod_config_volume_check(const json_t *volume, const char *path, struct refusals *refused)
{
    const json_t *map = json_object_get(volume, "configMap"), *secret = json_object_get(volume, "secret");
    if (map)
        source_check(map, REFUSAL_AT("%s.configMap", path), "name", refused);
    if (secret)
        source_check(secret, REFUSAL_AT("%s.secret", path), "secretName", refused);
    if (json_object_get(volume, "projected"))
        projected_check(json_object_get(volume, "projected"), REFUSAL_AT("%s.projected", path), refused);
}

void pod_config_sub_path_check(const json_t *mount, const json_t *volume, const char *path, struct refusals *refused)
{
    const char *given = text_at(mount, "subPath");
    struct refusal_path at = refusal_path("%s.subPath", path);
    if (!*given)
        return;
    if (volume && !config_is_volume(volume))
        refusals_add(refused, at.text, "hob mounts a part of a configMap, secret or projected volume only",
                     "subPath support is disabled");
    relative_check(given, at.text, refused);
}
