/* Texts that are alike: small, the same again byte for byte, and counted. */
#include "codec/packed.h"
#include "base/rng.h"
#include "tap.h"

static char *object(int n, const char *rest)
{
    return xasprintf("{\"apiVersion\":\"serving.knative.dev/v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"fn-%d\","
                     "\"namespace\":\"default\",\"uid\":\"01a20965-37a0-7446-8dc6-%012d\",\"generation\":1},"
                     "\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"image\":\"file:///srv/images/bundle-1\","
                     "\"name\":\"user-container\",\"readinessProbe\":{\"tcpSocket\":{\"port\":0},"
                     "\"successThreshold\":1},\"resources\":{}}],\"containerConcurrency\":0}}}%s}",
                     n, n * 7919, rest);
}

static const char status[] = ",\"status\":{\"conditions\":[{\"lastTransitionTime\":\"2026-11-23T17:12:38Z\","
                             "\"status\":\"True\",\"type\":\"ConfigurationsReady\"},{\"lastTransitionTime\":"
                             "\"2026-11-23T17:12:38Z\",\"status\":\"True\",\"type\":\"Ready\"},"
                             "{\"lastTransitionTime\":\"2026-11-23T17:12:38Z\",\"status\":\"True\","
                             "\"type\":\"RoutesReady\"}],\"observedGeneration\":1}";

static bool is(const struct packed *t, const char *text)
{
    AUTO_FREE char *again = packed_text(t);
    return packed_size(t) == strlen(text) && strcmp(again, text) == 0;
}

TEST(a_text_like_the_others_takes_a_sixth_and_is_the_same_again)
{
    struct packed *all[100];
    size_t size = 0, bytes = 0;
    struct packer *p = packer_new();
    for (int i = 0; i < 100; i++) {
        AUTO_FREE char *text = object(i, status);
        all[i] = packed_new(p, "services", str_of(text));
        size += strlen(text);
        bytes += packed_bytes(all[i]);
    }
    CHECK(bytes < size / 6);
    struct packer_totals t = packer_totals(p);
    CHECK_EQ(t.texts, 100);
    CHECK_EQ(t.samples, 1);
    CHECK_EQ(t.size, size);
    CHECK(t.held > bytes && t.held < bytes + 2048);
    for (int i = 0; i < 100; i++) {
        AUTO_FREE char *text = object(i, status);
        CHECK(is(all[i], text));
        packed_free(all[i]);
        packer_check(p);
    }
    CHECK_EQ(packer_totals(p).size, 0);
    packer_free(p);
}

TEST(a_sample_gives_way_to_one_that_has_more_and_stays_for_what_it_was_used_for)
{
    struct packer *p = packer_new();
    AUTO_FREE char *first = object(1, ""), *second = object(2, ""), *grown = object(3, status), *like = object(4, status);
    struct packed *a = packed_new(p, "services", str_of(first)), *b = packed_new(p, "services", str_of(second));
    CHECK_EQ(packer_totals(p).samples, 1);
    struct packed *c = packed_new(p, "services", str_of(grown));
    CHECK_EQ(packer_totals(p).samples, 2);
    struct packed *d = packed_new(p, "services", str_of(like));
    CHECK(packed_bytes(d) < strlen(like) / 6);
    CHECK(is(a, first) && is(b, second) && is(c, grown) && is(d, like));
    packed_free(a);
    CHECK_EQ(packer_totals(p).samples, 2);
    packed_free(b); /* the last one of the old sample */
    CHECK_EQ(packer_totals(p).samples, 1);
    packed_free(c);
    packed_free(d);
    packer_free(p);
}

TEST(an_exception_changes_no_sample_but_a_new_habit_does)
{
    char other[3][400];
    struct packer *p = packer_new();
    struct packed *all[6];
    struct rng rng = { 3 };
    AUTO_FREE char *usual = object(1, status);
    for (int i = 0; i < 3; i++) { /* unlike, and of the second kind: their first 300 letters are the same */
        for (int j = 0; j < 399; j++)
            other[i][j] = i > 0 && j < 370 ? other[0][j] : (char)('a' + rng_next(&rng) % 26);
        other[i][399] = '\0';
    }
    all[0] = packed_new(p, "services", str_of(usual));
    all[1] = packed_new(p, "services", str_of(other[0]));
    all[2] = packed_new(p, "services", str_of(usual));
    CHECK_EQ(packer_totals(p).samples, 1);
    CHECK(packed_bytes(all[2]) < 100);
    for (int i = 0; i < 3; i++)
        all[3 + i] = packed_new(p, "services", str_of(other[i]));
    CHECK_EQ(packer_totals(p).samples, 2);
    CHECK(packed_bytes(all[5]) < 100);
    for (int i = 0; i < 3; i++)
        CHECK(is(all[3 + i], other[i]));
    for (int i = 0; i < 6; i++)
        packed_free(all[i]);
    packer_free(p);
}

TEST(kinds_have_samples_of_their_own_up_to_a_limit)
{
    struct packer *p = packer_new();
    struct packed *all[PACKER_KINDS_MAX + 4];
    AUTO_FREE char *text = object(1, status);
    for (int i = 0; i < PACKER_KINDS_MAX + 4; i++) {
        char kind[16];
        snprintf(kind, sizeof kind, "kind-%d", i);
        all[i] = packed_new(p, kind, str_of(text));
    }
    CHECK_EQ(packer_totals(p).samples, PACKER_KINDS_MAX);
    for (int i = 0; i < PACKER_KINDS_MAX + 4; i++) {
        CHECK(is(all[i], text));
        packed_free(all[i]);
    }
    packer_free(p);
}

TEST(what_is_shared_goes_with_the_last_who_has_it)
{
    struct packer *p = packer_new();
    AUTO_FREE char *text = object(1, status);
    struct packed *a = packed_new(p, "services", str_of(text)), *b = packed_share(a);
    CHECK(b == a && packer_totals(p).texts == 1);
    packed_free(a);
    CHECK(is(b, text));
    packed_free(b);
    CHECK_EQ(packer_totals(p).texts, 0);
    packed_free(NULL);
    CHECK(packed_share(NULL) == NULL && packed_text(NULL) == NULL);
    packer_free(p);
}

/* Nothing, noise, one letter, more than any window; with zeros in it, too. */
TEST(any_bytes_come_back_and_cost_no_more_than_themselves)
{
    struct rng rng = { 11 };
    struct packer *p = packer_new();
    struct packed *all[200];
    char *texts[200];
    for (int i = 0; i < 200; i++) {
        size_t size = i < 4 ? (size_t)i * 40 : rng_next(&rng) % (i % 10 == 0 ? 200000 : 900);
        uint64_t letters = 1 + rng_next(&rng) % 256;
        texts[i] = xcalloc(1, size + 1);
        for (size_t j = 0; j < size; j++)
            texts[i][j] = (char)(rng_next(&rng) % letters);
        all[i] = packed_new(p, i % 2 ? "odd" : "even", (struct str){ texts[i], size });
        CHECK(packed_bytes(all[i]) <= size + 64);
        packer_check(p);
    }
    for (int i = 0; i < 200; i++) {
        AUTO_FREE char *again = packed_text(all[i]);
        CHECK(memcmp(again, texts[i], packed_size(all[i]) + 1) == 0);
        free(texts[i]);
        packed_free(all[i]);
        packer_check(p);
    }
    packer_free(p);
}

TEST_MAIN()
