/* The kinds as people write them, and where their objects lie. */
#include "cli/commands.h"
#include "cli/kinds.h"
#include "tap.h"

int serve_main(int argc, char **argv) { return argc + (argv != NULL); }
int server_main(int argc, char **argv) { return argc + (argv != NULL); }

TEST(a_kind_has_kubectls_names)
{
    static const struct {
        const char *word, *full;
    } cases[] = {
        { "ksvc", "services.serving.knative.dev" },     { "svc", "services.serving.knative.dev" },
        { "service", "services.serving.knative.dev" },  { "Service", "services.serving.knative.dev" },
        { "rev", "revisions.serving.knative.dev" },     { "cfg", "configurations.serving.knative.dev" },
        { "rt", "routes.serving.knative.dev" },         { "dm", "domainmappings.serving.knative.dev" },
        { "cm", "configmaps" },                         { "secrets", "secrets" },
        { "ns", "namespaces" },                         { "cdc", "clusterdomainclaims.networking.internal.knative.dev" },
        { "route.serving.knative.dev", "routes.serving.knative.dev" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct kube_resource *r = kinds_of_word(str_of(cases[i].word));
        if (!r || strcmp(r->full, cases[i].full) != 0)
            FAIL("%s: %s, expected %s", cases[i].word, r ? r->full : "none", cases[i].full);
    }
    CHECK(!kinds_of_word(STR("greeter")));
    CHECK(!kinds_of_word(STR("")));
    CHECK(!kinds_of_word(STR("cm.serving.knative.dev")));
}

TEST(a_kind_and_a_name_are_divided_by_a_slash)
{
    const char *name = "untouched";
    CHECK_STR(kinds_split("cm/greeter", &name)->plural, "configmaps");
    CHECK_STR(name, "greeter");
    name = "untouched";
    CHECK(!kinds_split("cm/", &name));
    CHECK(!kinds_split("greeter/a", &name));
    CHECK(!kinds_split("cm", &name));
    CHECK_STR(name, "untouched");
}

TEST(what_others_stand_on_comes_first)
{
    static const char *const order[] = { "ns", "cdc", "cm", "secret", "ksvc", "cfg", "rt", "dm" };
    for (size_t i = 1; i < COUNT_OF(order); i++)
        if (kinds_order(kinds_of_word(str_of(order[i - 1]))) >= kinds_order(kinds_of_word(str_of(order[i]))))
            FAIL("%s does not come before %s", order[i - 1], order[i]);
}

TEST(objects_lie_where_the_api_serves_them)
{
    AUTO_FREE char *core = kinds_target(kinds_of_word(STR("cm")), "a/b", "c");
    AUTO_FREE char *every = kinds_target(kinds_of_word(STR("dm")), NULL, NULL);
    AUTO_FREE char *cluster = kinds_target(kinds_of_word(STR("ns")), "default", "x");
    CHECK_STR(core, "/api/v1/namespaces/a%2Fb/configmaps/c");
    CHECK_STR(every, "/apis/serving.knative.dev/v1beta1/domainmappings");
    CHECK_STR(cluster, "/api/v1/namespaces/x");
}

TEST(only_what_can_be_made_is_taken)
{
    static const struct {
        const char *text, *why; /* why NULL: taken */
    } cases[] = {
        { "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"a\"}}", NULL },
        { "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{}}", "metadata.name" },
        { "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"a\"}}", "no kind that can be deployed" },
        { "{\"apiVersion\":\"serving.knative.dev/v1\",\"kind\":\"Revision\",\"metadata\":{\"name\":\"a\"}}",
          "no kind that can be deployed" },
        { "{}", "an object without apiVersion" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO_JSON json_t *j = json_loads(cases[i].text, 0, NULL);
        const struct kube_resource *kind = NULL;
        struct err e = { 0 };
        int r = kinds_of_object(j, &kind, &e);
        if (cases[i].why ? r == 0 || !strstr(e.text, cases[i].why) : r != 0 || !kind)
            FAIL("%s: %d %s", cases[i].text, r, e.text);
    }
}

TEST(get_offers_every_kind_that_is_served)
{
    for (size_t i = 0; i < kube_resource_count; i++) {
        struct str rest = str_of(cmd_get.choices), choice;
        bool found = false;
        while (opt_choice_next(&rest, &choice))
            found = found || str_is(choice, kube_resources[i].plural);
        if (!found)
            FAIL("%s is not offered", kube_resources[i].plural);
    }
}

TEST_MAIN()
