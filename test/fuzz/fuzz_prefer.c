/* Whatever is taken as a durable invocation has a key that can be read in one way only; an address that is taken is allowed where every
 * one is, and is none of those that hide where they lead. */
#include "codec/callback_target.h"
#include "gateway/prefer.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);

static bool visible(const char *text)
{
    for (; *text; text++)
        if (*text <= ' ' || *text > '~')
            return false;
    return true;
}

static void read(const struct http1_head *h, bool events, struct str content, const struct limits *l)
{
    struct prefer d;
    struct err e = { 0 };
    if (prefer_read(h, events, &d, &e) < 0) {
        ASSERT(e.code == CODE_INVALID && e.text[0]);
        return;
    }
    ASSERT(memchr(d.key, '\0', sizeof d.key));
    ASSERT(!d.waits || d.wait_ms <= UINT64_C(1000000000999));
    if (!events)
        ASSERT(!d.structured && visible(d.key) && !strchr(d.key, '"') && strlen(d.key) <= PREFER_KEY_MAX);
    if (!d.structured)
        return;
    ASSERT(!d.key[0]);
    if (prefer_structured(&d, content, l, &e) == 0)
        ASSERT(strchr(d.key, ' ') > d.key && strchr(d.key, ' ')[1] && memchr(d.key, '\0', sizeof d.key));
}

static void target(struct str url)
{
    struct err e = { 0 };
    if (!url.at)
        return;
    if (callback_target_check(url, &e) < 0) {
        ASSERT(e.code == CODE_INVALID && e.text[0]);
        return;
    }
    ASSERT(url.size <= CALLBACK_TARGET_MAX && !memchr(url.at, '#', url.size));
    ASSERT(callback_target_allowed(url, STR("*"), &e) == 0);
    ASSERT(callback_target_allowed(url, STR(""), &e) == -CODE_DENIED);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    struct limits l;
    struct http1_head h;
    struct uuid id;
    bool result;
    limits_default(&l);
    http1_head_init(&h, HTTP1_REQUEST, &l);
    if (http1_head_feed(&h, (const char *)in, size) == HTTP1_DONE) {
        struct str content = { (const char *)in + h.size, size - h.size };
        read(&h, false, content, &l);
        read(&h, true, content, &l);
        target(http1_field(&h, HTTP_FIELD_HOB_CALLBACK));
        (void)prefer_is_look(h.path, &id, &result);
    }
    http1_head_done(&h);
    return 0;
}
