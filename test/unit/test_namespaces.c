/* Namespaces: registered, changed, listed in pages, deleted with all that is in them; their search attributes; how long what
 * ended in them is kept. */
#include "visible_world.h"

#define HOUR_NS (INT64_C(3600) * 1000000000)
#define TYPE(x) TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_##x

static bool described(struct world *w, struct call *c, const char *name)
{
    NEW(q, Tp__DescribeNamespaceRequest, tp__describe_namespace_request);
    proto_set_text(&q->namespace_, name);
    return did(w, c, q);
}

static void *update_new(const char *name, int64_t retention_ns, const char *description)
{
    NEW(q, Tp__UpdateNamespaceRequest, tp__update_namespace_request);
    proto_set_text(&q->namespace_, name);
    if (retention_ns) {
        q->config = proto_new(&tp__namespace_config__descriptor);
        q->config->workflow_execution_retention_ttl = temporal_duration_new(retention_ns);
    }
    if (description) {
        q->update_info = proto_new(&tp__update_namespace_info__descriptor);
        proto_set_text(&q->update_info->description, description);
    }
    return q;
}

TEST(namespaces_are_listed_in_pages_by_name_each_once)
{
    WORLD(w);
    char name[16], seen[256] = "";
    for (int i = 0; i < 7; i++) {
        snprintf(name, sizeof name, "n%d", (i * 3) % 7);
        CHECK(registered(&w, name, 86400));
    }
    AUTO_FREE char *token = xstrdup("");
    int pages = 0;
    do {
        CALL(c);
        NEW(q, Tp__ListNamespacesRequest, tp__list_namespaces_request);
        q->page_size = 3;
        proto_set_bytes(&q->next_page_token, str_of(token));
        CHECK(did(&w, &c, q));
        const Tp__ListNamespacesResponse *a = c.answer;
        CHECK(a->n_namespaces <= 3);
        for (size_t i = 0; i < a->n_namespaces; i++) {
            strcat(seen, a->namespaces[i]->namespace_info->name);
            strcat(seen, " ");
        }
        free(token);
        token = a->next_page_token.len ? xstrndup((const char *)a->next_page_token.data, a->next_page_token.len) : xstrdup("");
    } while (*token && ++pages < 10);
    CHECK_STR(seen, "default n0 n1 n2 n3 n4 n5 n6 ");
    CHECK_EQ(pages, 2);
}

TEST(a_change_of_a_namespace_is_told_and_lasts)
{
    WORLD(w);
    CHECK(registered(&w, "shop", 86400));
    CALL(c);
    CHECK(did(&w, &c, update_new("shop", 48 * HOUR_NS, "what we sell")));
    CHECK_STR(((const Tp__UpdateNamespaceResponse *)c.answer)->namespace_info->description, "what we sell");
    world_close(&w);
    CHECK(world_open(&w));
    CHECK(described(&w, &c, "shop"));
    const Tp__DescribeNamespaceResponse *d = c.answer;
    CHECK_STR(d->namespace_info->description, "what we sell");
    CHECK_EQ(d->config->workflow_execution_retention_ttl->seconds, 48 * 3600);
    CHECK(d->namespace_info->supports_schedules);
    CHECK_STR(d->replication_config->clusters[0]->cluster_name, "active");
}

TEST(a_retention_that_is_none_is_refused_and_changes_nothing)
{
    WORLD(w);
    CALL(c);
    CHECK(!registered(&w, "shop", 60));
    CHECK(registered(&w, "shop", 86400));
    CHECK(!did(&w, &c, update_new("shop", HOUR_NS - 1, "never")));
    CHECK_EQ(c.code, CODE_INVALID);
    CHECK(!did(&w, &c, update_new("shop", -HOUR_NS, NULL)));
    CHECK(!did(&w, &c, update_new("shop", INT64_C(4000) * 24 * HOUR_NS, NULL)));
    CHECK(described(&w, &c, "shop"));
    const Tp__DescribeNamespaceResponse *d = c.answer;
    CHECK_STR(d->namespace_info->description, "");
    CHECK_EQ(d->config->workflow_execution_retention_ttl->seconds, 86400);
}

TEST(two_changes_at_once_do_not_undo_each_other)
{
    WORLD(w);
    CALL(a);
    CALL(b);
    CALL(c);
    CHECK(registered(&w, "shop", 86400));
    ask(&w, &a, update_new("shop", 0, "first"));
    ask(&w, &b, update_new("shop", 48 * HOUR_NS, NULL));
    CHECK(wait_for(&w, &a));
    CHECK(!wait_for(&w, &b));
    CHECK_EQ(b.code, CODE_UNAVAILABLE); /* clients try again */
    CHECK(described(&w, &c, "shop"));
    CHECK_STR(((const Tp__DescribeNamespaceResponse *)c.answer)->namespace_info->description, "first");
}

/* ---- retention ---- */

static bool there(struct world *w, const char *ns, const char *id)
{
    CALL(c);
    NEW(q, Tp__DescribeWorkflowExecutionRequest, tp__describe_workflow_execution_request);
    proto_set_text(&q->namespace_, ns);
    q->execution = proto_new(&tp__workflow_execution__descriptor);
    proto_set_text(&q->execution->workflow_id, id);
    return did(w, &c, q);
}

TEST(what_ended_goes_when_its_namespaces_retention_is_over_and_what_runs_stays)
{
    WORLD(w);
    CHECK(registered(&w, "shop", 86400) && started(&w, "shop", "ends", NULL) && started(&w, "shop", "runs", NULL));
    CHECK(terminated(&w, "shop", "ends"));
    w.ahead_ns = 23 * HOUR_NS;
    CHECK(there(&w, "shop", "ends"));
    w.ahead_ns = 25 * HOUR_NS;
    (void)there(&w, "shop", "ends"); /* its turn finds it due */
    CHECK(!there(&w, "shop", "ends"));
    CHECK(there(&w, "shop", "runs"));
    CHECK_EQ(counted(&w, "shop", ""), 1);
}

TEST(the_retention_that_counts_is_the_one_at_the_end_of_the_run)
{
    WORLD(w);
    CALL(c);
    CHECK(registered(&w, "shop", 86400) && started(&w, "shop", "one", NULL) && started(&w, "shop", "two", NULL));
    CHECK(terminated(&w, "shop", "one"));
    CHECK(did(&w, &c, update_new("shop", 72 * HOUR_NS, NULL)));
    CHECK(terminated(&w, "shop", "two") && there(&w, "shop", "one"));
    w.ahead_ns = 25 * HOUR_NS;
    (void)there(&w, "shop", "one");
    (void)there(&w, "shop", "two");
    CHECK(!there(&w, "shop", "one"));
    CHECK(there(&w, "shop", "two"));
    w.ahead_ns = 73 * HOUR_NS;
    (void)there(&w, "shop", "two");
    CHECK(!there(&w, "shop", "two"));
}

/* ---- deletion ---- */

static void *delete_new(const char *name, const char *id)
{
    NEW(q, Tp__DeleteNamespaceRequest, tp__delete_namespace_request);
    proto_set_text(&q->namespace_, name);
    proto_set_text(&q->namespace_id, id);
    return q;
}

/* Registered again: only when all of the old one is gone. */
static bool registered_at_last(struct world *w, const char *name)
{
    struct err e;
    for (time_t until = time(NULL) + 60; time(NULL) < until;) {
        if (registered(w, name, 86400))
            return true;
        if (loop_turn(w->loop, false, &e) < 0)
            return false;
    }
    return false;
}

static bool filled(struct world *w, const char *ns, int runs)
{
    char id[16];
    for (int i = 0; i < runs; i++) {
        snprintf(id, sizeof id, "w%d", i);
        if (!started(w, ns, id, NULL) || (i % 2 && !terminated(w, ns, id)))
            return false;
    }
    return true;
}

TEST(a_deleted_namespace_is_gone_at_once_and_with_it_all_that_was_in_it)
{
    WORLD(w);
    CALL(c);
    w.limits.namespace_sweep_max = 4;
    CHECK(registered(&w, "shop", 86400) && filled(&w, "shop", 11) && filled(&w, "default", 3));
    CHECK(did(&w, &c, delete_new("shop", "")));
    CHECK(strstr(((const Tp__DeleteNamespaceResponse *)c.answer)->deleted_namespace, "shop-deleted-"));
    CHECK_EQ(counted(&w, "shop", ""), -CODE_NOT_FOUND);
    CHECK(!described(&w, &c, "shop"));
    CHECK(!registered(&w, "shop", 86400));
    CHECK(registered_at_last(&w, "shop"));
    CHECK_EQ(counted(&w, "shop", ""), 0);
    CHECK_EQ(counted(&w, "default", ""), 3);
}

TEST(a_deletion_goes_on_after_a_restart)
{
    WORLD(w);
    CALL(c);
    w.limits.namespace_sweep_max = 1;
    CHECK(registered(&w, "shop", 86400) && filled(&w, "shop", 11));
    CHECK(did(&w, &c, delete_new("shop", "")));
    world_close(&w);
    CHECK(world_open(&w));
    CHECK(!registered(&w, "shop", 86400));
    CHECK(registered_at_last(&w, "shop"));
    CHECK_EQ(counted(&w, "shop", ""), 0);
    world_close(&w);
    CHECK(world_open(&w));
    CHECK_EQ(counted(&w, "shop", ""), 0);
}

TEST(the_namespace_that_hob_begins_with_is_made_anew_after_its_deletion)
{
    WORLD(w);
    CALL(c);
    CHECK(filled(&w, "default", 5));
    w.limits.namespace_sweep_max = 1;
    CHECK(did(&w, &c, delete_new("default", "")));
    world_close(&w);
    CHECK(world_open(&w));
    struct err e;
    for (time_t until = time(NULL) + 60; time(NULL) < until && !described(&w, &c, "default");)
        CHECK(loop_turn(w.loop, false, &e) >= 0);
    CHECK_EQ(counted(&w, "default", ""), 0);
}

TEST(a_namespace_is_deleted_by_its_name_or_by_its_id)
{
    WORLD(w);
    CALL(c);
    CHECK(registered(&w, "shop", 86400) && described(&w, &c, "shop"));
    AUTO_FREE char *id = xstrdup(((const Tp__DescribeNamespaceResponse *)c.answer)->namespace_info->id);
    CHECK(!did(&w, &c, delete_new("", "")));
    CHECK(!did(&w, &c, delete_new("shop", id)));
    CHECK_EQ(c.code, CODE_INVALID);
    CHECK(!did(&w, &c, delete_new("", "nobodys")));
    CHECK_EQ(c.code, CODE_NOT_FOUND);
    CHECK(did(&w, &c, delete_new("", id)));
    CHECK(!did(&w, &c, delete_new("", id)));
    CHECK_EQ(c.code, CODE_NOT_FOUND);
}

/* ---- search attributes ---- */

static void *remove_new(const char *ns, const char *name)
{
    NEW(q, Tp__RemoveSearchAttributesRequest, tp__remove_search_attributes_request);
    proto_set_text(&q->namespace_, ns);
    proto_push(&q->n_search_attributes, &q->search_attributes, xstrdup(name));
    return q;
}

TEST(search_attributes_are_added_found_by_and_removed_for_one_namespace)
{
    WORLD(w);
    CALL(c);
    CHECK(registered(&w, "shop", 86400) && !started(&w, "shop", "early", "a"));
    CHECK(attribute_added(&w, &c, "shop", "Tag", TYPE(KEYWORD)));
    CHECK(attribute_added(&w, &c, "shop", "Tag", TYPE(KEYWORD)));
    CHECK(!attribute_added(&w, &c, "shop", "Tag", TYPE(INT)));
    CHECK_EQ(c.code, CODE_EXISTS);
    CHECK(!attribute_added(&w, &c, "shop", "RunId", TYPE(KEYWORD)));
    CHECK_STR(c.text, "Search attribute RunId is reserved by system.");
    CHECK(!attribute_added(&w, &c, "shop", "Odd", (Tp__IndexedValueType)99));
    CHECK_EQ(c.code, CODE_INVALID);
    CHECK(started(&w, "shop", "one", "a") && started(&w, "shop", "two", "b") && !started(&w, "default", "one", "a"));
    CHECK_EQ(counted(&w, "shop", "Tag = 'a'"), 1);
    CHECK_EQ(counted(&w, "default", "Tag = 'a'"), -CODE_INVALID);
    CHECK(!did(&w, &c, remove_new("shop", "Gat")));
    CHECK_EQ(c.code, CODE_NOT_FOUND);
    CHECK(!did(&w, &c, remove_new("shop", "BuildIds")));
    CHECK_STR(c.text, "Unable to remove non-custom search attributes: BuildIds.");
    CHECK(did(&w, &c, remove_new("shop", "Tag")));
    CHECK_EQ(counted(&w, "shop", "Tag = 'a'"), -CODE_INVALID);
    CHECK(!started(&w, "shop", "three", "a"));
}

TEST(search_attributes_of_the_system_are_listed_beside_the_custom_ones)
{
    WORLD(w);
    CALL(c);
    CHECK(attribute_added(&w, &c, "default", "Tag", TYPE(KEYWORD_LIST)));
    NEW(q, Tp__ListSearchAttributesRequest, tp__list_search_attributes_request);
    proto_set_text(&q->namespace_, "default");
    CHECK(did(&w, &c, q));
    const Tp__ListSearchAttributesResponse *a = c.answer;
    CHECK_EQ(a->n_custom_attributes, 1);
    CHECK_EQ(a->custom_attributes[0]->value, TYPE(KEYWORD_LIST));
    int found = 0;
    for (size_t i = 0; i < a->n_system_attributes; i++) {
        const char *name = a->system_attributes[i]->key;
        Tp__IndexedValueType type = a->system_attributes[i]->value;
        found += (!strcmp(name, "StartTime") && type == TYPE(DATETIME)) || (!strcmp(name, "ExecutionStatus") && type == TYPE(KEYWORD)) ||
                 (!strcmp(name, "BuildIds") && type == TYPE(KEYWORD_LIST)) || (!strcmp(name, "HistoryLength") && type == TYPE(INT));
    }
    CHECK_EQ(found, 4);
}

TEST_MAIN()
