#include "cli/manifest.h"

#include "codec/quantity.h"

#include <ctype.h>
#include <stdio.h>

#define SCALING "autoscaling.knative.dev/"

static json_t *text(struct str s) { return json_stringn(s.at, s.size); }

static int pair(const char *option, const char *given, struct str *ret_name, struct str *ret_value,
                struct err *e)
{
    struct str rest = str_of(given), name = str_cut(&rest, '=');
    if (!strchr(given, '=') || name.size == 0)
        return err_set(e, CODE_INVALID, "--%s: '%s' is not NAME=VALUE", option, given);
    *ret_name = name;
    *ret_value = rest;
    return 0;
}

bool manifest_split_model(const char *given, struct str *ret_reference, struct str *ret_path)
{
    struct str all = str_of(given);
    for (size_t i = all.size; i-- > 1;)
        if (given[i] == ':' && given[i + 1] == '/' && given[i + 2] != '/') {
            *ret_reference = str_head(all, i);
            *ret_path = str_from(all, i + 1);
            return ret_path->size > 1;
        }
    return false;
}

static int env_of(const struct manifest_flags *f, json_t *container, struct err *e)
{
    json_t *list = json_array();
    if (f->env.count)
        json_object_set(container, "env", list);
    for (size_t i = 0; i < f->env.count; i++) {
        struct str name = { 0 }, value = { 0 };
        int r = pair("env", f->env.at[i], &name, &value, e);
        if (r < 0) {
            json_decref(list);
            return r;
        }
        json_array_append_new(list,
                              json_pack("{s:o, s:o}", "name", text(name), "value", text(value)));
    }
    json_decref(list);
    return 0;
}

static int models_of(const struct manifest_flags *f, json_t *spec, json_t *container, struct err *e)
{
    AUTO_JSON json_t *volumes = json_array();
    AUTO_JSON json_t *mounts = json_array();
    for (size_t i = 0; i < f->models.count; i++) {
        struct str reference, path;
        char name[32];
        snprintf(name, sizeof name, "model-%zu", i);
        if (!manifest_split_model(f->models.at[i], &reference, &path))
            return err_set(e, CODE_INVALID,
                           "--model: '%s' is not REFERENCE:/PATH, as in file:///m.bin:/model",
                           f->models.at[i]);
        json_array_append_new(volumes, json_pack("{s:s, s:{s:o}}", "name", name, "image",
                                                 "reference", text(reference)));
        json_array_append_new(mounts, json_pack("{s:s, s:o, s:b}", "name", name, "mountPath",
                                                text(path), "readOnly", 1));
    }
    if (f->models.count) {
        json_object_set(spec, "volumes", volumes);
        json_object_set(container, "volumeMounts", mounts);
    }
    return 0;
}

/* The server would say so too, by a regular expression. */
static int quantity_check(const char *option, const char *given, bool is_size, struct err *e)
{
    struct quantity q;
    struct err why = { 0 };
    if (!given || quantity_parse(str_of(given), &q, &why) >= 0)
        return 0;
    int digits = (int)strspn(given, "0123456789.");
    const char *unit = given + digits + strspn(given + digits, " ");
    char letter = (char)toupper((unsigned char)*unit);
    if (is_size && digits > 0 && letter && strchr("KMGTP", letter))
        return err_set(e, CODE_INVALID, "--%s: '%s' is no size; did you mean %.*s%c or %.*s%ci?", option, given, digits,
                       given, letter == 'K' ? 'k' : letter, digits, given, letter);
    return err_set(e, CODE_INVALID, "--%s: '%s' is no quantity; say it as %s", option, given,
                   is_size ? "512Mi" : "500m or 2");
}

static int resources_of(const struct manifest_flags *f, json_t *container, struct err *e)
{
    AUTO_JSON json_t *limits = json_object();
    int r = quantity_check("memory", f->memory, true, e);
    if (r == 0)
        r = quantity_check("cpu", f->cpu, false, e);
    if (r == 0)
        r = quantity_check("ephemeral-storage", f->ephemeral, true, e);
    if (r < 0)
        return r;
    if (f->memory)
        json_object_set_new(limits, "memory", json_string(f->memory));
    if (f->cpu)
        json_object_set_new(limits, "cpu", json_string(f->cpu));
    if (f->ephemeral)
        json_object_set_new(limits, "ephemeral-storage", json_string(f->ephemeral));
    if (json_object_size(limits))
        json_object_set_new(container, "resources", json_pack("{s:O}", "limits", limits));
    return 0;
}

static void number_annotation(json_t *annotations, const char *key, uint32_t value)
{
    char number[16];
    snprintf(number, sizeof number, "%u", value);
    json_object_set_new(annotations, key, json_string(number));
}

static int annotations_of(const struct manifest_flags *f, json_t *annotations, struct err *e)
{
    if (f->has_min_scale)
        number_annotation(annotations, SCALING "min-scale", f->min_scale);
    if (f->has_max_scale)
        number_annotation(annotations, SCALING "max-scale", f->max_scale);
    if (f->target)
        json_object_set_new(annotations, SCALING "target", json_string(f->target));
    if (f->window)
        json_object_set_new(annotations, SCALING "window", json_string(f->window));
    for (size_t i = 0; i < f->annotations.count; i++) {
        struct str name = { 0 }, value = { 0 };
        int r = pair("annotation", f->annotations.at[i], &name, &value, e);
        if (r < 0)
            return r;
        AUTO_FREE char *key = xstrndup(name.at, name.size);
        json_object_set_new(annotations, key, text(value));
    }
    return 0;
}

static void words_of(const struct opt_list *list, json_t *container, const char *key)
{
    if (list->count == 0)
        return;
    json_t *words = json_array();
    for (size_t i = 0; i < list->count; i++)
        json_array_append_new(words, json_string(list->at[i]));
    json_object_set_new(container, key, words);
}

static int container_of(const struct manifest_flags *f, json_t *spec, json_t *container,
                        struct err *e)
{
    words_of(&f->command, container, "command");
    words_of(&f->arguments, container, "args");
    if (f->port)
        json_object_set_new(container, "ports",
                            json_pack("[{s:i}]", "containerPort", (int)f->port));
    int r = resources_of(f, container, e);
    if (r == 0)
        r = env_of(f, container, e);
    return r < 0 ? r : models_of(f, spec, container, e);
}

int manifest_build(const struct manifest_flags *f, json_t **ret, struct err *e)
{
    AUTO_JSON json_t *annotations = json_object();
    AUTO_JSON json_t *container = json_pack("{s:s}", "image", f->image);
    AUTO_JSON json_t *spec = json_object();

    if (!container)
        return err_set(e, CODE_INVALID, "--image: it is not valid UTF-8");
    if (f->has_concurrency)
        json_object_set_new(spec, "containerConcurrency", json_integer(f->concurrency));
    if (f->timeout_s)
        json_object_set_new(spec, "timeoutSeconds", json_integer(f->timeout_s));
    int r = annotations_of(f, annotations, e);
    if (r == 0)
        r = container_of(f, spec, container, e);
    if (r < 0)
        return r;
    json_object_set_new(spec, "containers", json_pack("[O]", container));
    AUTO_JSON json_t *template = json_pack("{s:O}", "spec", spec);
    if (json_object_size(annotations))
        json_object_set_new(template, "metadata", json_pack("{s:O}", "annotations", annotations));
    json_t *whole = json_pack("{s:s, s:s, s:{s:s, s:s}, s:{s:O}}", "apiVersion",
                              "serving.knative.dev/v1", "kind", "Service", "metadata", "name",
                              f->name, "namespace", f->ns, "spec", "template", template);
    if (!whole)
        return err_set(e, CODE_INVALID, "the name is not valid UTF-8");
    *ret = whole;
    return 0;
}
