#include "codec/temporal.h"
#include "os/fault.h"
#include "tap.h"

enum { PLENTY = 1 << 20, MESSAGE_BYTES_MAX = 4 << 20 };

static bool decodes(const ProtobufCMessageDescriptor *d, struct str bytes, enum code code)
{
    struct proto_arena a = { 0 };
    ProtobufCMessage *m = NULL;
    struct err e = { 0 };
    int r = proto_decode(d, bytes, PLENTY, &a, &m, &e);
    ProtobufCMessage *n = NULL;
    int s = proto_decode_new(d, bytes, PLENTY, &n, &e);
    bool same = r == s && (r < 0 ? !m && !n : proto_equal(m, n));
    proto_free(n);
    proto_arena_done(&a);
    return same && r == -(int)code && (r == 0 || (e.code == code && e.text[0]));
}

static Tp__HistoryEvent *event_new(void)
{
    Tp__HistoryEvent *ev = proto_new(&tp__history_event__descriptor);
    Tp__WorkflowExecutionSignaledEventAttributes *s =
        proto_new(&tp__workflow_execution_signaled_event_attributes__descriptor);
    ev->event_id = 7;
    ev->event_type = TP__EVENT_TYPE__EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED;
    temporal_set_time(&ev->event_time, INT64_C(1700000000123456789));
    proto_set_text(&s->signal_name, "gr\xc3\xbc\xc3\x9f");
    s->input = temporal_payloads_new(STR("{\"a\":1}"));
    ev->attributes_case = TP__HISTORY_EVENT__ATTRIBUTES_WORKFLOW_EXECUTION_SIGNALED_EVENT_ATTRIBUTES;
    ev->workflow_execution_signaled_event_attributes = s;
    return ev;
}

TEST(what_is_encoded_decodes_to_the_same)
{
    Tp__HistoryEvent *ev = event_new(), *copy = proto_dup(ev);
    struct proto_arena a = { 0 };
    struct err e = { 0 };
    struct buf b;
    ProtobufCMessage *m = NULL;
    buf_init(&b, PLENTY);
    proto_encode(ev, &b);
    CHECK_EQ(b.size, proto_size(ev));
    CHECK_EQ(proto_decode(&tp__history_event__descriptor, buf_str(&b), PLENTY, &a, &m, &e), 0);
    CHECK(proto_equal(ev, m) && proto_equal(ev, copy) && !proto_equal(ev, NULL) && proto_equal(NULL, NULL));
    const Tp__HistoryEvent *read = (const Tp__HistoryEvent *)m;
    CHECK_STR(read->workflow_execution_signaled_event_attributes->signal_name, "gr\xc3\xbc\xc3\x9f");
    copy->event_id = 8;
    CHECK(!proto_equal(ev, copy));
    proto_arena_done(&a);
    proto_free(ev);
    proto_free(copy);
    buf_done(&b);
}

TEST(fields_that_the_schema_does_not_know_survive_copies_and_changes)
{
    /* field 900: a varint; 901: bytes; 902: 8 bytes; then event_id 5 */
    static const char bytes[] = "\xa0\x38\x96\x01\xaa\x38\x03xyz\xb1\x38" "12345678" "\x08\x05";
    struct str in = { bytes, sizeof bytes - 1 };
    struct err e = { 0 };
    ProtobufCMessage *m = NULL;
    struct buf b;
    buf_init(&b, PLENTY);
    CHECK_EQ(proto_decode_new(&tp__history_event__descriptor, in, PLENTY, &m, &e), 0);
    CHECK_EQ(m->n_unknown_fields, 3);
    Tp__HistoryEvent *copy = proto_dup(m);
    copy->event_id = 6;
    proto_encode(copy, &b);
    CHECK_EQ(b.size, in.size);
    CHECK(memmem(buf_at(&b), b.size, bytes, in.size - 2) != NULL);
    proto_free(copy);
    proto_free(m);
    buf_done(&b);
}

/* A Failure within a Failure, `deep` of them, written from the inside out. */
static struct str nest(uint32_t deep, uint8_t *into, size_t size)
{
    uint8_t *at = into + size;
    for (uint32_t i = 1; i < deep; i++) {
        size_t inner = (size_t)(into + size - at), n = inner;
        uint8_t sizes[10];
        size_t used = 0;
        do {
            sizes[used++] = (uint8_t)((n & 0x7f) | (n > 0x7f ? 0x80 : 0));
        } while ((n >>= 7) > 0);
        at -= used;
        memcpy(at, sizes, used);
        *--at = 4 << 3 | 2; /* cause */
    }
    return (struct str){ (const char *)at, (size_t)(into + size - at) };
}

TEST(messages_are_refused_that_nest_too_deep)
{
    static uint8_t bytes[1 << 20];
    CHECK(decodes(&tp__failure__descriptor, nest(PROTO_DEPTH_MAX, bytes, sizeof bytes), CODE_OK));
    CHECK(decodes(&tp__failure__descriptor, nest(PROTO_DEPTH_MAX + 1, bytes, sizeof bytes), CODE_INVALID));
    CHECK(decodes(&tp__failure__descriptor, nest(9000, bytes, sizeof bytes), CODE_INVALID));
    CHECK(decodes(&tp__failure__descriptor, nest(200000, bytes, sizeof bytes), CODE_INVALID));
}

TEST(four_megabytes_of_empty_messages_do_not_become_three_hundred)
{
    char *bytes = xcalloc(1, MESSAGE_BYTES_MAX);
    struct proto_arena a = { 0 };
    struct err e = { 0 };
    ProtobufCMessage *m = NULL;
    for (size_t i = 0; i < MESSAGE_BYTES_MAX; i += 2)
        bytes[i] = 1 << 3 | 2;
    struct str in = { bytes, MESSAGE_BYTES_MAX };
    CHECK_EQ(proto_decode(&tp__payloads__descriptor, in, 32 << 20, &a, &m, &e), -CODE_EXHAUSTED);
    CHECK(!m && a.used <= 32 << 20);
    proto_arena_done(&a);
    CHECK_EQ(proto_decode_new(&tp__payloads__descriptor, in, 32 << 20, &m, &e), -CODE_EXHAUSTED);
    CHECK(!m && strstr(e.text, "Payloads") && strstr(e.text, "memory"));
    free(bytes);
}

TEST(what_is_kept_is_bounded_by_all_that_it_takes_together)
{
    Tp__Payloads *all = proto_new(&tp__payloads__descriptor);
    static const char data[1000];
    struct err e = { 0 };
    ProtobufCMessage *m = NULL;
    struct buf b;
    buf_init(&b, 4 * PLENTY);
    for (int i = 0; i < 1000; i++)
        proto_push(&all->n_payloads, &all->payloads, temporal_payload_new("x", (struct str){ data, sizeof data }));
    proto_encode(all, &b);
    CHECK_EQ(proto_decode_new(&tp__payloads__descriptor, buf_str(&b), PLENTY, &m, &e), -CODE_EXHAUSTED);
    CHECK_EQ(proto_decode_new(&tp__payloads__descriptor, buf_str(&b), 2 * PLENTY, &m, &e), 0);
    proto_free(m);
    proto_free(all);
    buf_done(&b);
}

TEST(what_reading_took_is_given_back_to_the_arena)
{
    char bytes[2000];
    struct proto_arena a = { 0 };
    struct err e = { 0 };
    ProtobufCMessage *m = NULL;
    for (size_t i = 0; i < sizeof bytes; i += 2)
        memcpy(&bytes[i], "\x0a", 2); /* an empty Payload */
    CHECK_EQ(proto_decode(&tp__payloads__descriptor, (struct str){ bytes, sizeof bytes }, PLENTY, &a, &m, &e), 0);
    size_t least = 1000 * (sizeof(Tp__Payload) + sizeof(void *));
    CHECK(a.used >= least);
    CHECK(a.used < least + least / 2);
    proto_arena_done(&a);
}

TEST(one_arena_holds_many_messages_each_within_its_own_bound)
{
    struct proto_arena a = { 0 };
    struct err e = { 0 };
    ProtobufCMessage *m[50] = { NULL };
    Tp__HistoryEvent *ev = event_new();
    struct buf b;
    buf_init(&b, PLENTY);
    proto_encode(ev, &b);
    for (size_t i = 0; i < COUNT_OF(m); i++)
        CHECK_EQ(proto_decode(&tp__history_event__descriptor, buf_str(&b), 8192, &a, &m[i], &e), 0);
    for (size_t i = 0; i < COUNT_OF(m); i++)
        CHECK(proto_equal(m[i], ev));
    proto_arena_done(&a);
    proto_free(ev);
    buf_done(&b);
}

static bool text_decodes(const char *text, size_t size, enum code code)
{
    char bytes[64] = { 1 << 3 | 2, (char)size };
    memcpy(bytes + 2, text, size);
    return decodes(&tp__activity_type__descriptor, (struct str){ bytes, size + 2 }, code);
}

TEST(texts_are_utf8_without_nul_or_refused)
{
    static const struct {
        const char *text;
        size_t size;
    } fine[] = { { "", 0 }, { "a", 1 }, { "\x7f", 1 }, { "\xc2\x80", 2 }, { "\xdf\xbf", 2 }, { "\xe0\xa0\x80", 3 },
                 { "\xed\x9f\xbf", 3 }, { "\xee\x80\x80", 3 }, { "\xef\xbf\xbf", 3 }, { "\xf0\x90\x80\x80", 4 },
                 { "\xf4\x8f\xbf\xbf", 4 } },
      bad[] = { { "\0", 1 }, { "a\0b", 3 }, { "\x80", 1 }, { "\xc0\x80", 2 }, { "\xc1\xbf", 2 }, { "\xc2", 1 },
                { "\xc2 ", 2 }, { "\xe0\x9f\xbf", 3 }, { "\xed\xa0\x80", 3 }, { "\xed\xbf\xbf", 3 }, { "\xe2\x82", 2 },
                { "\xf0\x8f\xbf\xbf", 4 }, { "\xf4\x90\x80\x80", 4 }, { "\xf5\x80\x80\x80", 4 }, { "\xff", 1 },
                { "\xf8\x88\x80\x80\x80", 5 } };
    for (size_t i = 0; i < COUNT_OF(fine); i++)
        CHECK(text_decodes(fine[i].text, fine[i].size, CODE_OK));
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        CHECK(text_decodes(bad[i].text, bad[i].size, CODE_INVALID));
}

TEST(bytes_that_are_cut_anywhere_are_refused_or_are_a_smaller_message)
{
    Tp__HistoryEvent *ev = event_new();
    struct buf b;
    uint32_t fine = 0;
    buf_init(&b, PLENTY);
    proto_encode(ev, &b);
    for (size_t size = 0; size <= b.size; size++) {
        char *exact = xcalloc(1, MAX(size, (size_t)1)); /* of its own size: reading past its end is seen */
        memcpy(exact, buf_at(&b), size);
        bool whole = decodes(&tp__history_event__descriptor, (struct str){ exact, size }, CODE_OK);
        CHECK(whole || decodes(&tp__history_event__descriptor, (struct str){ exact, size }, CODE_INVALID));
        fine += whole;
        free(exact);
    }
    CHECK_EQ(fine, 5); /* nothing, and after each of the four fields */
    proto_free(ev);
    buf_done(&b);
}

TEST(what_is_no_protobuf_is_refused)
{
    static const struct str bad[] = { STR("\x0b\x0c"),     /* a group */
                                      STR("\x0f\x01"),     /* wire type 7 */
                                      STR("\x0a\x05hell"), /* shorter than it says */
                                      STR("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01hell"),
                                      STR("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"),
                                      STR("\x09" "1234567"), STR("\x0d" "123"), STR("\x00"), STR("\x08"),
                                      STR("\x00\x01"), STR("\x80\x00\x01"), /* field 0 */
                                      STR("\x88\x80\x80\x80\x10\x01"), /* 2^29 */ };
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        CHECK(decodes(&tp__activity_type__descriptor, bad[i], CODE_INVALID));
    CHECK(decodes(&tp__activity_type__descriptor, (struct str){ NULL, 0 }, CODE_OK));
}

TEST(fields_of_a_decoded_message_are_changed_and_grown)
{
    struct err e = { 0 };
    ProtobufCMessage *m = NULL;
    /* three Payloads: the list has no spare room */
    CHECK_EQ(proto_decode_new(&tp__payloads__descriptor, STR("\x0a\x00\x0a\x00\x0a\x00"), PLENTY, &m, &e), 0);
    Tp__Payloads *all = (Tp__Payloads *)m;
    for (size_t i = 3; i < 40; i++) {
        proto_push(&all->n_payloads, &all->payloads, temporal_payload_new("json/plain", STR("1")));
        CHECK_EQ(all->n_payloads, i + 1);
    }
    proto_set_bytes(&all->payloads[0]->data, STR("first"));
    proto_set_bytes(&all->payloads[0]->data, STR("other"));
    proto_set_bytes(&all->payloads[1]->data, STR(""));
    Tp__Payloads *copy = proto_dup(all);
    CHECK(str_is(proto_bytes(&copy->payloads[0]->data), "other") && copy->payloads[1]->data.len == 0);
    CHECK(str_is(temporal_payload_meta(copy->payloads[39], "encoding"), "json/plain"));
    CHECK(temporal_payload_meta(copy->payloads[39], "type").at == NULL);
    proto_free(copy);
    proto_free(all);

    Tp__ActivityType *t = proto_new(&tp__activity_type__descriptor);
    proto_set_text(&t->name, "a");
    proto_set_text(&t->name, NULL);
    CHECK_STR(t->name, "");
    proto_set_str(&t->name, str_head(STR("abc"), 2));
    CHECK_STR(t->name, "ab");
    proto_free(t);
}

TEST(what_does_not_fit_is_not_appended)
{
    Tp__ActivityType *t = proto_new(&tp__activity_type__descriptor);
    struct buf b;
    buf_init(&b, 6);
    proto_set_text(&t->name, "abcd");
    proto_encode(t, &b);
    CHECK(b.size == 6 && !b.overflow);
    proto_encode(t, &b);
    CHECK(b.size == 6 && b.overflow);
    proto_free(t);
    buf_done(&b);
}

TEST(each_failed_allocation_is_refused_and_leaves_nothing)
{
    static char bytes[4096];
    struct err e = { 0 };
    int n = 0;
    for (size_t i = 0; i < sizeof bytes; i += 2)
        memcpy(&bytes[i], "\x0a", 2);
    for (bool fired = true; fired && n < 100; n++) {
        struct proto_arena a = { 0 };
        ProtobufCMessage *m = NULL;
        fault_arm(n + 1);
        int r = proto_decode(&tp__payloads__descriptor, (struct str){ bytes, sizeof bytes }, PLENTY, &a, &m, &e);
        fired = fault_fired();
        fault_arm(0);
        CHECK(fired ? r == -CODE_EXHAUSTED && !m : r == 0 && m);
        proto_arena_done(&a);
    }
    CHECK(n > 3);
    Tp__HistoryEvent *ev = event_new();
    struct buf b;
    buf_init(&b, PLENTY);
    proto_encode(ev, &b);
    n = 0;
    for (bool fired = true; fired && n < 100; n++) {
        ProtobufCMessage *m = NULL;
        fault_arm(n + 1);
        int r = proto_decode_new(&tp__history_event__descriptor, buf_str(&b), PLENTY, &m, &e);
        fired = fault_fired();
        fault_arm(0);
        CHECK(fired ? r == -CODE_EXHAUSTED && !m : r == 0 && proto_equal(m, ev));
        proto_free(m);
    }
    CHECK(n > 5);
    proto_free(ev);
    buf_done(&b);
}

TEST_MAIN()
