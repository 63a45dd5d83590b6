#include "gateway/grpc.h"
#include "net/http1_write.h"

enum { DIGITS_MAX = 8, MESSAGE_BYTES_MAX = 2048 };

bool grpc_is_call(const struct http1_head *h)
{
    static const struct str type = STR("application/grpc");
    struct str text = http1_field(h, HTTP_FIELD_CONTENT_TYPE);
    return text.size >= type.size && str_eq_nocase(str_head(text, type.size), type) &&
           (text.size == type.size || text.at[type.size] == '+' || text.at[type.size] == ';');
}

int grpc_timeout_parse(struct str text, uint64_t *ret_ms, struct err *e)
{
    static const struct {
        char unit;
        uint32_t ms, per_ms; /* one of them is 1 */
    } units[] = { { 'H', 3600000, 1 }, { 'M', 60000, 1 }, { 'S', 1000, 1 },
                  { 'm', 1, 1 },       { 'u', 1, 1000 },  { 'n', 1, 1000000 } };
    uint64_t value;
    if (text.size >= 2 && text.size <= DIGITS_MAX + 1 &&
        str_u64(str_head(text, text.size - 1), &value))
        for (size_t i = 0; i < COUNT_OF(units); i++)
            if (units[i].unit == text.at[text.size - 1]) {
                *ret_ms = (value * units[i].ms + units[i].per_ms - 1) / units[i].per_ms;
                return 0;
            }
    return err_set(e, CODE_INVALID,
                   "grpc-timeout \"" STR_FMT "\": up to 8 digits and one of H M S m u n expected",
                   (int)MIN(text.size, 40), text.at ? text.at : "");
}

void grpc_timeout_write(struct buf *b, uint64_t ms)
{
    buf_printf(b, "grpc-timeout: %llum\r\n", (unsigned long long)MIN(ms, 99999999));
}

enum code grpc_status(enum problem_kind k)
{
    switch (problem_status(k)) {
    case 400:
    case 417: return CODE_INVALID;
    case 404:
    case 501:
    case 505: return CODE_UNIMPLEMENTED;
    case 408:
    case 504: return CODE_DEADLINE;
    case 413:
    case 414:
    case 431:
    case 508: return CODE_EXHAUSTED;
    case 429:
    case 503: return CODE_UNAVAILABLE;
    case 502: return k == PROBLEM_BAD_ANSWER ? CODE_INTERNAL : CODE_UNAVAILABLE;
    default: return CODE_INTERNAL;
    }
}

/* Percent-encoded UTF-8, as the protocol wants it. */
static void message_write(struct buf *b, const char *text)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; text[i] && i < MESSAGE_BYTES_MAX; i++) {
        uint8_t c = (uint8_t)text[i];
        char coded[3] = { '%', digits[c >> 4], digits[c & 15] };
        if (c >= ' ' && c < 0x7f && c != '%')
            buf_append(b, &text[i], 1);
        else
            buf_append(b, coded, sizeof coded);
    }
}

void grpc_refusal_write(struct buf *b, const struct problem *p)
{
    http1_write_status(b, 200, (struct str){ NULL, 0 });
    buf_printf(b, "Content-Type: application/grpc\r\ngrpc-status: %d\r\ngrpc-message: ",
               (int)grpc_status(p->kind));
    message_write(b, p->detail);
    buf_printf(b, "\r\nHob-Problem: %s\r\n", problem_name(p->kind));
    http1_write_framing(b, HTTP1_BODY_LENGTH, 0);
}
