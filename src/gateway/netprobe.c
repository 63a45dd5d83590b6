#include "gateway/netprobe.h"
#include "net/http1_write.h"

#include <string.h>

int netprobe_read(const struct http1_head *h, const char **ret, struct err *e)
{
    static const char *const words[] = { "queue", "activator" };
    struct str asked = http1_field(h, HTTP_FIELD_K_NETWORK_PROBE);
    if (!http1_has(h, HTTP_FIELD_K_NETWORK_PROBE))
        return 0;
    if (str_is(asked, "probe") && http1_field(h, HTTP_FIELD_K_NETWORK_HASH).size == 0)
        return err_set(e, CODE_INVALID, "a probe request must contain a non-empty \"K-Network-Hash\" header");
    *ret = str_is(asked, "probe") ? "" : NULL;
    for (size_t i = 0; i < COUNT_OF(words); i++)
        *ret = str_is(asked, words[i]) ? words[i] : *ret;
    if (!*ret)
        return err_set(e, CODE_INVALID,
                       "unexpected probe header value: K-Network-Probe is \"probe\", \"queue\" or \"activator\", and asks hob "
                       "itself; leave it out to reach the function");
    return 1;
}

void netprobe_write(struct buf *b, const struct http1_head *h, const char *content)
{
    struct str hash = http1_field(h, HTTP_FIELD_K_NETWORK_HASH);
    http1_write_status(b, 200, (struct str){ NULL, 0 });
    if (hash.size > 0 && !*content) {
        buf_text(b, "K-Network-Hash: ");
        buf_str_append(b, hash);
        buf_text(b, "\r\n");
    }
    if (*content)
        buf_text(b, "Content-Type: text/plain; charset=utf-8\r\n");
    http1_write_framing(b, HTTP1_BODY_LENGTH, strlen(content));
}
