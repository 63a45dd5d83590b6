#include "telemetry/tracecontext.h"
#include "tap.h"

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define SPAN  "b7ad6b7169203331"

static const struct {
    const char *text, *why;
    bool good, sampled, random;
} parents[] = {
    { "00-" TRACE "-" SPAN "-01", "the standard's own", true, true, false },
    { "00-" TRACE "-" SPAN "-00", "not sampled", true, false, false },
    { "00-" TRACE "-" SPAN "-03", "level 2's random flag", true, true, true },
    { "00-" TRACE "-" SPAN "-ff", "flags that are not known are left alone", true, true, true },
    { "01-" TRACE "-" SPAN "-01", "a later version", true, true, false },
    { "cc-" TRACE "-" SPAN "-01-what-the-future-will-be-like", "and what it adds", true, true, false },
    { "cc-" TRACE "-" SPAN "-01-", "nothing added", true, true, false },
    { "cc-" TRACE "-" SPAN "-01.what", "added without a dash", false, false, false },
    { "cc-" TRACE "-" SPAN "-011", "flags that go on", false, false, false },
    { "ff-" TRACE "-" SPAN "-01", "the version that is none", false, false, false },
    { "00-" TRACE "-" SPAN "-01-more", "version 00 ends there", false, false, false },
    { "00-" TRACE "-" SPAN "-01 ", "and there", false, false, false },
    { "00-" TRACE "-" SPAN "-0", "cut", false, false, false },
    { "00-" TRACE "-" SPAN, "no flags", false, false, false },
    { "", "nothing", false, false, false },
    { "00-00000000000000000000000000000000-" SPAN "-01", "no trace", false, false, false },
    { "00-" TRACE "-0000000000000000-01", "no span", false, false, false },
    { "00-0AF7651916cd43dd8448eb211c80319c-" SPAN "-01", "capitals in the trace", false, false, false },
    { "00-" TRACE "-B7ad6b7169203331-01", "capitals in the span", false, false, false },
    { "00-" TRACE "-" SPAN "-0A", "capitals in the flags", false, false, false },
    { "0A-" TRACE "-" SPAN "-01", "capitals in the version", false, false, false },
    { "00-" TRACE "-" SPAN "-.0", "flags that are no number", false, false, false },
    { ".0-" TRACE "-" SPAN "-01", "a version that is none", false, false, false },
    { "00_" TRACE "-" SPAN "-01", "first dash", false, false, false },
    { "00-" TRACE "_" SPAN "-01", "second dash", false, false, false },
    { "00-" TRACE "-" SPAN "_01", "third dash", false, false, false },
    { "00-" TRACE "-" SPAN "-" TRACE, "too long", false, false, false },
};

TEST(a_traceparent_is_read_as_the_standard_says)
{
    for (size_t i = 0; i < COUNT_OF(parents); i++) {
        struct trace_context t = { .span = 7 };
        bool good = traceparent_parse(str_of(parents[i].text), &t);
        if (good != parents[i].good || t.sampled != parents[i].sampled || t.random != parents[i].random ||
            t.span != 7 || (t.parent_span == UINT64_C(0xb7ad6b7169203331)) != good || trace_id_none(&t) == good)
            FAIL("'%s' (%s)", parents[i].text, parents[i].why);
    }
}

TEST(what_goes_on_has_the_same_trace_and_our_span)
{
    struct trace_context t = { .span = UINT64_C(0x00000000000000a1) };
    char text[TRACEPARENT_TEXT];
    CHECK(traceparent_parse(STR("cc-" TRACE "-" SPAN "-fd-x"), &t));
    traceparent_format(&t, text);
    CHECK_STR(text, "00-" TRACE "-00000000000000a1-01");
    t.sampled = false, t.random = true;
    traceparent_format(&t, text);
    CHECK_STR(text, "00-" TRACE "-00000000000000a1-02");
}

TEST(a_ratio_takes_its_share_and_the_same_trace_always)
{
    uint8_t id[16] = { 0 };
    uint32_t taken = 0;
    for (uint32_t i = 0; i < 4096; i++) { /* evenly over the seven bytes that count */
        id[9] = (uint8_t)(i >> 4), id[10] = (uint8_t)(i << 4);
        taken += trace_sampled(id, 250000);
        CHECK(!trace_sampled(id, 0) && trace_sampled(id, TRACE_SAMPLE_ALL));
        CHECK(!trace_sampled(id, 250000) || trace_sampled(id, 250001)); /* a larger share holds the smaller */
    }
    CHECK_EQ(taken, 1024);
    memset(id, 0xff, sizeof id);
    CHECK(!trace_sampled(id, TRACE_SAMPLE_ALL - 1) && trace_sampled(id, TRACE_SAMPLE_ALL));
}

#define TEN "aaaaaaaaaa"
#define FIFTY TEN TEN TEN TEN TEN
static const struct {
    const char *a, *b, *out, *why;
} states[] = {
    { "foo=1,bar=2", NULL, "foo=1,bar=2", "two members" },
    { "foo=1", "bar=2", "foo=1,bar=2", "two fields are one list" },
    { " foo=1 \t, ,\tbar=2 ", "", "foo=1,bar=2", "spaces and empty members" },
    { "", ",,", "", "nothing but commas" },
    { "foo= a b", NULL, "foo= a b", "a space within a value" },
    { "0a_-*/=~!", NULL, "0a_-*/=~!", "every kind of byte" },
    { "t0_@v-/=1", NULL, "t0_@v-/=1", "a tenant" },
    { "foo=1,bar", NULL, "", "no value" },
    { "foo=1,bar=", NULL, "", "an empty value" },
    { "foo=1,=2", NULL, "", "no key" },
    { "foo=1=2", NULL, "", "two values" },
    { "foo =1", NULL, "", "a space after the key" },
    { "FOO=1", NULL, "", "capitals" },
    { "foo.bar=1", NULL, "", "a dot" },
    { "foo@=1,bar=2", NULL, "", "no vendor" },
    { "@foo=1,bar=2", NULL, "", "no tenant" },
    { "foo@@bar=1,bar=2", NULL, "", "two signs" },
    { "foo@bar@baz=1,bar=2", NULL, "", "two vendors" },
    { "foo@abcdefghijklmno=1", NULL, "", "a vendor of 15" },
    { "foo@abcdefghijklmn=1", NULL, "foo@abcdefghijklmn=1", "a vendor of 14" },
    { "foo=1,foo=2", NULL, "", "a key twice" },
    { "foo=\x7f", NULL, "", "a byte that does not print" },
    { "foo=\xc3\xa9", NULL, "", "a byte that is not ASCII" },
    { FIFTY FIFTY FIFTY FIFTY FIFTY "aaaaaa=1", NULL, FIFTY FIFTY FIFTY FIFTY FIFTY "aaaaaa=1", "a key of 256" },
    { FIFTY FIFTY FIFTY FIFTY FIFTY "aaaaaaa=1", NULL, "", "a key of 257" },
    { "a=" FIFTY FIFTY FIFTY FIFTY FIFTY "aaaaaaa", NULL, "", "a value of 257" },
    { "a=" FIFTY FIFTY ",b=" FIFTY FIFTY FIFTY ",c=" FIFTY FIFTY ",d=" FIFTY FIFTY ",e=" FIFTY FIFTY ",f=1", NULL,
      "a=" FIFTY FIFTY ",c=" FIFTY FIFTY ",d=" FIFTY FIFTY ",e=" FIFTY FIFTY ",f=1", "the longest goes first" },
    { "a=" FIFTY FIFTY ",b=" FIFTY FIFTY ",c=" FIFTY FIFTY ",d=" FIFTY FIFTY ",e=" FIFTY FIFTY ",f=1", NULL,
      "a=" FIFTY FIFTY ",b=" FIFTY FIFTY ",c=" FIFTY FIFTY ",d=" FIFTY FIFTY, "then the last" },
};

TEST(a_tracestate_is_passed_on_whole_or_shortened_or_not_at_all)
{
    for (size_t i = 0; i < COUNT_OF(states); i++) {
        struct tracestate s = { .count = 0 };
        struct buf b;
        buf_init(&b, 4096);
        tracestate_add(&s, str_of(states[i].a));
        tracestate_add(&s, str_of(states[i].b));
        bool some = tracestate_write(&s, &b);
        AUTO_FREE char *text = b.size ? buf_take_text(&b) : xstrdup("");
        if (strcmp(text, states[i].out) != 0 || some != (states[i].out[0] != '\0'))
            FAIL("%s: '%s' became '%s'", states[i].why, states[i].a, text);
    }
}

TEST(thirty_two_members_pass_and_thirty_three_do_not)
{
    for (int count = 32; count <= 33; count++) {
        struct tracestate s = { .count = 0 };
        struct buf in, out;
        buf_init(&in, 4096), buf_init(&out, 4096);
        for (int i = 0; i < count; i++)
            buf_printf(&in, "k%d=1,", i);
        tracestate_add(&s, buf_str(&in));
        CHECK_EQ(tracestate_write(&s, &out), count == 32);
        CHECK_EQ(out.size, count == 32 ? in.size - 1 : 0);
        buf_done(&in), buf_done(&out);
    }
}
TEST_MAIN()
