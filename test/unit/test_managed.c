/* Field sets, and server-side apply as Kubernetes documents it: shared, taken over, given up. */
#include "serving/fieldset.h"
#include "serving/managed.h"
#include "serving/manifest.h"
#include "tap.h"

#define CONTAINER(name, rest) "{\"name\":\"" name "\"" rest "}"
#define SPEC(containers) "{\"spec\":{\"template\":{\"spec\":{\"containers\":[" containers "]}}}}"

static json_t *tree(const char *text)
{
    json_t *j = json_loads(text, 0, NULL);
    if (!j)
        abort();
    return j;
}

static bool same(const json_t *j, const char *text)
{
    AUTO_JSON json_t *want = tree(text);
    AUTO_FREE char *is = json_dumps(j, JSON_COMPACT);
    if (!json_equal(j, want))
        printf("# %s\n# wanted %s\n", is, text);
    return json_equal(j, want);
}

TEST(a_set_names_fields_elements_and_values)
{
    AUTO_JSON json_t *object = tree("{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"traffic\":[{\"percent\":100}],\"template\":{\"spec\":{"
                                    "\"containers\":[{\"image\":\"x\",\"ports\":[{\"containerPort\":80}],\"env\":[{\"name\":\"E\",\"value\":\"1\"}]}]}}}}");
    AUTO_JSON json_t *set = fieldset_of(object);
    CHECK(same(set, "{\"f:metadata\":{\"f:labels\":{\"f:a\":{}}},\"f:spec\":{\"f:traffic\":{},\"f:template\":{\"f:spec\":{\"f:containers\":{"
                    "\"k:{\\\"name\\\":\\\"user-container\\\"}\":{\".\":{},\"f:image\":{},"
                    "\"f:ports\":{\"k:{\\\"containerPort\\\":80,\\\"protocol\\\":\\\"TCP\\\"}\":{\".\":{},\"f:containerPort\":{}}},"
                    "\"f:env\":{\"k:{\\\"name\\\":\\\"E\\\"}\":{\".\":{},\"f:name\":{},\"f:value\":{}}}}}}}}}"));
}

TEST(sets_join_part_and_meet)
{
    AUTO_JSON json_t *a = tree("{\"f:x\":{\"f:a\":{},\"f:b\":{}},\"f:y\":{\".\":{},\"f:c\":{}}}");
    AUTO_JSON json_t *b = tree("{\"f:x\":{\"f:b\":{}},\"f:y\":{},\"f:z\":{}}");
    AUTO_JSON json_t *all = fieldset_union(a, b), *less = fieldset_minus(a, b), *both = fieldset_common(a, b);
    CHECK(same(all, "{\"f:x\":{\"f:a\":{},\"f:b\":{}},\"f:y\":{\".\":{},\"f:c\":{}},\"f:z\":{}}"));
    CHECK(same(less, "{\"f:x\":{\"f:a\":{}},\"f:y\":{\"f:c\":{}}}"));
    CHECK(same(both, "{\"f:x\":{\"f:b\":{}},\"f:y\":{}}"));
    AUTO_JSON json_t *other_way = fieldset_union(b, a);
    CHECK(json_equal(other_way, all));
    AUTO_JSON json_t *none = json_object();
    AUTO_JSON json_t *same_a = fieldset_minus(a, none), *nothing = fieldset_minus(a, a);
    CHECK(json_equal(same_a, a) && fieldset_empty(nothing));
}

TEST(what_changed_and_what_went)
{
    AUTO_JSON json_t *before = tree(SPEC(CONTAINER("a", ",\"image\":\"1\",\"command\":[\"x\"]") "," CONTAINER("b", "")));
    AUTO_JSON json_t *after = tree(SPEC(CONTAINER("a", ",\"image\":\"2\"") "," CONTAINER("c", "")));
    json_t *gone = NULL;
    AUTO_JSON json_t *changed = fieldset_changed(before, after, &gone);
    AUTO_JSON json_t *removed = gone;
#define AT(inner) "{\"f:spec\":{\"f:template\":{\"f:spec\":{\"f:containers\":{" inner "}}}}}"
#define KEY(name) "\"k:{\\\"name\\\":\\\"" name "\\\"}\":"
    CHECK(same(changed, AT(KEY("a") "{\"f:image\":{}}," KEY("c") "{\".\":{},\"f:name\":{}}")));
    CHECK(same(removed, AT(KEY("a") "{\"f:command\":{}}," KEY("b") "{\".\":{},\"f:name\":{}}")));
}

/* An object under several hands. */
struct story {
    json_t *object; /* NULL: not yet */
    json_t *causes;
    struct err e;
};
static void story_auto(struct story *s)
{
    json_decref(s->object);
    json_decref(s->causes);
}

static int hand(struct story *s, const char *manager, const char *config, bool apply, bool force)
{
    AUTO_JSON json_t *given = tree(config);
    struct managed_change c = { .manager = manager, .api_version = "v1", .apply = apply, .force = force,
                                .now_ms = 1000, .config = given };
    json_decref(s->causes);
    s->causes = NULL;
    AUTO_JSON json_t *after = apply ? managed_apply(s->object, &c)
                              : s->object ? json_merge_patch(s->object, given)
                                          : json_deep_copy(given);
    if (!json_object_get(after, "metadata"))
        (void)json_object_set_new(after, "metadata", json_object());
    c.config = apply ? given : NULL;
    int r = managed_update(s->object, after, &c, &s->causes, &s->e);
    if (r == 0) {
        json_decref(s->object);
        s->object = json_incref(after);
    }
    return r;
}

static const char *owner(const struct story *s, const char *path, const char *operation)
{
    static char names[200];
    size_t i;
    json_t *entry;
    names[0] = '\0';
    json_array_foreach(json_at(s->object, "metadata.managedFields"), i, entry)
        if (json_at(json_object_get(entry, "fieldsV1"), path) &&
            (!*operation || strcmp(json_text_at(entry, "operation"), operation) == 0))
            snprintf(names + strlen(names), sizeof names - strlen(names), "%s ", json_text_at(entry, "manager"));
    return names;
}

TEST(an_applier_owns_what_it_applied_and_gives_up_what_it_leaves_out)
{
    __attribute__((cleanup(story_auto))) struct story s = { 0 };
    CHECK_EQ(hand(&s, "ann", "{\"metadata\":{\"name\":\"f\",\"labels\":{\"a\":\"1\",\"b\":\"1\"}},\"spec\":{\"x\":1}}", true, false), 0);
    CHECK_STR(owner(&s, "f:metadata.f:labels.f:a", "Apply"), "ann ");
    CHECK_STR(owner(&s, "f:metadata.f:name", ""), "");
    CHECK_EQ(hand(&s, "bob", "{\"metadata\":{\"labels\":{\"b\":\"1\",\"c\":\"1\"}}}", true, false), 0); /* same value: shared */
    CHECK_STR(owner(&s, "f:metadata.f:labels.f:b", "Apply"), "ann bob ");
    CHECK_EQ(hand(&s, "ann", "{\"metadata\":{\"name\":\"f\"},\"spec\":{\"x\":1}}", true, false), 0);
    CHECK(same(json_at(s.object, "metadata.labels"), "{\"b\":\"1\",\"c\":\"1\"}")); /* a is gone; b is bob's, too */
    CHECK_STR(owner(&s, "f:metadata.f:labels.f:b", ""), "bob ");
    CHECK_STR(owner(&s, "f:spec.f:x", ""), "ann ");
}

TEST(a_conflict_is_said_field_by_field_and_force_takes_over)
{
    __attribute__((cleanup(story_auto))) struct story s = { 0 };
    const char *ann = SPEC(CONTAINER("a", ",\"image\":\"1\"")), *bob = SPEC(CONTAINER("a", ",\"image\":\"2\""));
    CHECK_EQ(hand(&s, "ann", ann, true, false), 0);
    CHECK_EQ(hand(&s, "bob", bob, true, false), -CODE_ABORTED);
    CHECK_STR(s.e.text, "Apply failed with 1 conflict: conflict with \"ann\" using v1: "
                        ".spec.template.spec.containers[name=\"a\"].image");
    CHECK_STR(json_text_at(s.causes, "0.reason"), "FieldManagerConflict");
    CHECK_STR(json_text_at(s.causes, "0.field"), ".spec.template.spec.containers[name=\"a\"].image");
    CHECK_EQ(hand(&s, "bob", bob, true, true), 0);
    CHECK_STR(json_text_at(s.object, "spec.template.spec.containers.0.image"), "2");
    CHECK_EQ(hand(&s, "ann", ann, true, false), -CODE_ABORTED); /* now it is bob's */
    CHECK_EQ(hand(&s, "ann", SPEC(CONTAINER("a", "")), true, false), 0);
    CHECK_STR(json_text_at(s.object, "spec.template.spec.containers.0.image"), "2");
}

TEST(an_updater_takes_what_it_changes_and_the_applier_hears_of_it)
{
    __attribute__((cleanup(story_auto))) struct story s = { 0 };
    CHECK_EQ(hand(&s, "ann", "{\"spec\":{\"x\":1,\"y\":1}}", true, false), 0);
    CHECK_EQ(hand(&s, "edit", "{\"spec\":{\"x\":2}}", false, false), 0);
    CHECK_STR(owner(&s, "f:spec.f:x", "Update"), "edit ");
    CHECK_STR(owner(&s, "f:spec.f:x", "Apply"), "");
    CHECK_STR(owner(&s, "f:spec.f:y", "Apply"), "ann ");
    CHECK_EQ(hand(&s, "ann", "{\"spec\":{\"x\":1,\"y\":1}}", true, false), -CODE_ABORTED);
    CHECK_EQ(hand(&s, "ann", "{\"spec\":{\"x\":2,\"y\":1}}", true, false), 0); /* agreed: shared */
    CHECK_STR(owner(&s, "f:spec.f:x", ""), "edit ann ");
    CHECK_EQ(hand(&s, "edit", "{\"spec\":{\"x\":null}}", false, false), 0);
    CHECK_STR(owner(&s, "f:spec.f:x", ""), ""); /* nobody owns what is not there */
}

TEST(elements_of_two_hands_live_in_one_list)
{
    __attribute__((cleanup(story_auto))) struct story s = { 0 };
    const char *env = "spec.template.spec.containers.0.env";
    CHECK_EQ(hand(&s, "ann", SPEC(CONTAINER("a", ",\"env\":[{\"name\":\"A\",\"value\":\"1\"}]")), true, false), 0);
    CHECK_EQ(hand(&s, "bob", SPEC(CONTAINER("a", ",\"env\":[{\"name\":\"B\",\"value\":\"2\"}]")), true, false), 0);
    CHECK(same(json_at(s.object, env), "[{\"name\":\"A\",\"value\":\"1\"},{\"name\":\"B\",\"value\":\"2\"}]"));
    CHECK_EQ(hand(&s, "ann", SPEC(CONTAINER("a", "")), true, false), 0);
    CHECK(same(json_at(s.object, env), "[{\"name\":\"B\",\"value\":\"2\"}]"));
    CHECK_EQ(hand(&s, "bob", "{\"metadata\":{\"name\":\"f\"}}", true, false), 0);
    CHECK_EQ(json_array_size(json_at(s.object, env)), 0);
    CHECK_EQ(json_array_size(json_at(s.object, "spec.template.spec.containers")), 1); /* ann's */
}

TEST(what_changes_nothing_says_nothing_new)
{
    __attribute__((cleanup(story_auto))) struct story s = { 0 };
    CHECK_EQ(hand(&s, "ann", "{\"spec\":{\"x\":1}}", true, false), 0);
    CHECK_EQ(hand(&s, "edit", "{\"spec\":{\"y\":1}}", false, false), 0);
    AUTO_JSON json_t *before = json_deep_copy(s.object);
    CHECK_EQ(hand(&s, "ann", "{\"spec\":{\"x\":1}}", true, false), 0);
    CHECK(json_equal(before, s.object));
    CHECK_EQ(hand(&s, "other", "{\"spec\":{\"y\":1}}", false, false), 0);
    CHECK(json_equal(before, s.object));
}

TEST(an_object_without_owners_has_been_updated_by_somebody)
{
    __attribute__((cleanup(story_auto))) struct story s = { 0 };
    s.object = tree("{\"metadata\":{},\"spec\":{\"x\":1}}");
    CHECK_EQ(hand(&s, "ann", "{\"spec\":{\"x\":2}}", true, false), -CODE_ABORTED);
    CHECK(strstr(s.e.text, "conflict with \"before-first-apply\""));
    CHECK_EQ(hand(&s, "ann", "{\"spec\":{\"x\":2}}", true, true), 0);
    CHECK_STR(owner(&s, "f:spec.f:x", ""), "ann ");
}

TEST(updaters_are_told_apart_up_to_a_bound)
{
    __attribute__((cleanup(story_auto))) struct story s = { 0 };
    for (int i = 0; i < 30; i++) {
        AUTO_FREE char *manager = xasprintf("m%d", i), *patch = xasprintf("{\"spec\":{\"f%d\":1}}", i);
        CHECK_EQ(hand(&s, manager, patch, false, false), 0);
    }
    CHECK_EQ(json_array_size(json_at(s.object, "metadata.managedFields")), MANAGED_UPDATERS);
    CHECK_STR(owner(&s, "f:spec.f:f0", "Update"), "ancient-changes ");
    CHECK_STR(owner(&s, "f:spec.f:f29", "Update"), "m29 ");
}

/* Each has a name and a value of its own; `step` leaves some out. */
static json_t *with_env(size_t count, size_t step, const char *value)
{
    json_t *env = json_array();
    for (size_t i = 0; i < count; i += step) {
        AUTO_FREE char *name = xasprintf("E%zu", i);
        (void)json_array_append_new(env, json_pack("{s:s,s:s}", "name", name, "value", value));
    }
    return json_pack("{s:{s:{s:{s:[{s:s,s:o}]}}}}", "spec", "template", "spec", "containers", "name", "a", "env", env);
}

TEST(a_list_has_no_more_elements_than_its_limit)
{
    struct limits l;
    limits_default(&l);
    l.list_elements_max = 16;
    for (size_t count = 16; count <= 17; count++) {
        struct manifest_findings f = { 0 };
        AUTO_JSON json_t *object = with_env(count, 1, "x");
        manifest_apply(object, &l, &f);
        CHECK(refusals_any(&f.refused) == (count == 17));
        manifest_findings_done(&f);
    }
}

TEST_MAIN()
