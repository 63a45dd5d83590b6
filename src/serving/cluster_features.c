#include "serving/cluster_features.h"

enum rule {
    RULE_SWITCH, /* a limit says whether */
    RULE_NEVER,  /* hob cannot */
    RULE_ALWAYS, /* hob does, and does not without */
};

#define PODSPEC "kubernetes.podspec-"

static const struct feature {
    const char *key;
    enum rule rule;
    size_t limit;
} features[] = {
    { "multi-container", RULE_SWITCH, offsetof(struct limits, feature_multi_container) },
    { "multi-container-probing", RULE_SWITCH, offsetof(struct limits, feature_multi_container_probing) },
    { "tag-header-based-routing", RULE_SWITCH, offsetof(struct limits, feature_tag_header) },
    { PODSPEC "init-containers", RULE_SWITCH, offsetof(struct limits, feature_init_containers) },
    { PODSPEC "volumes-emptydir", RULE_SWITCH, offsetof(struct limits, feature_empty_dir) },
    { PODSPEC "dryrun", RULE_ALWAYS, 0 },
    { PODSPEC "volumes-image", RULE_ALWAYS, 0 },
    { "autodetect-http2", RULE_NEVER, 0 },
    { "kubernetes.containerspec-addcapabilities", RULE_NEVER, 0 },
    { PODSPEC "affinity", RULE_NEVER, 0 },
    { PODSPEC "dnsconfig", RULE_NEVER, 0 },
    { PODSPEC "dnspolicy", RULE_NEVER, 0 },
    { PODSPEC "fieldref", RULE_NEVER, 0 },
    { PODSPEC "hostaliases", RULE_NEVER, 0 },
    { PODSPEC "hostipc", RULE_NEVER, 0 },
    { PODSPEC "hostnetwork", RULE_NEVER, 0 },
    { PODSPEC "hostpid", RULE_NEVER, 0 },
    { PODSPEC "nodeselector", RULE_NEVER, 0 },
    { PODSPEC "persistent-volume-claim", RULE_NEVER, 0 },
    { PODSPEC "persistent-volume-write", RULE_NEVER, 0 },
    { PODSPEC "priorityclassname", RULE_NEVER, 0 },
    { PODSPEC "runtimeclassname", RULE_NEVER, 0 },
    { PODSPEC "schedulername", RULE_NEVER, 0 },
    { PODSPEC "securitycontext", RULE_NEVER, 0 },
    { PODSPEC "shareprocessnamespace", RULE_NEVER, 0 },
    { PODSPEC "tolerations", RULE_NEVER, 0 },
    { PODSPEC "topologyspreadconstraints", RULE_NEVER, 0 },
    { PODSPEC "volumes-csi", RULE_NEVER, 0 },
    { PODSPEC "volumes-hostpath", RULE_NEVER, 0 },
    { PODSPEC "volumes-mount-propagation", RULE_NEVER, 0 },
    { "queueproxy.mount-podinfo", RULE_NEVER, 0 },
    { "queueproxy.resource-defaults", RULE_NEVER, 0 },
    { "secure-pod-defaults", RULE_NEVER, 0 },
};

static bool says(const char *text, const char *value) { return str_eq_nocase(str_of(text), str_of(value)); }

/* 1: on, 0: off, -1: neither. Knative tells Allowed (accepted where it is asked for) from Enabled; for what is a
 * switch here they are the same. */
static int flag_parse(const char *text)
{
    if (says(text, "enabled") || says(text, "allowed"))
        return 1;
    return says(text, "disabled") ? 0 : -1;
}

static void feature_read(const struct feature *f, const char *text, struct limits *into, struct refusals *refused)
{
    const struct refusal_path at = refusal_path("data.%s", f->key);
    int flag = flag_parse(text);
    if (flag < 0 && strcmp(f->key, "secure-pod-defaults") == 0 && says(text, "allowrootbounded"))
        flag = 1;
    if (flag < 0)
        refusals_add(refused, at.text, "one of Enabled, Allowed, Disabled", "invalid value: %.64s", text);
    else if (f->rule == RULE_NEVER && flag == 1)
        refusals_add(refused, at.text, "hob cannot do this, and refuses what asks for it", "invalid value: %.64s", text);
    else if (f->rule == RULE_ALWAYS && flag == 0)
        refusals_add(refused, at.text, "hob always does this", "invalid value: %.64s", text);
    else if (f->rule == RULE_SWITCH)
        *(uint64_t *)(void *)((char *)into + f->limit) = (uint64_t)flag;
}

bool cluster_features_known(const char *key)
{
    for (size_t i = 0; i < COUNT_OF(features); i++)
        if (strcmp(features[i].key, key) == 0)
            return true;
    return false;
}

void cluster_features_read(const json_t *data, struct limits *into, struct refusals *refused)
{
    for (size_t i = 0; i < COUNT_OF(features); i++) {
        const char *text = json_string_value(json_object_get(data, features[i].key));
        if (text)
            feature_read(&features[i], text, into, refused);
    }
}
