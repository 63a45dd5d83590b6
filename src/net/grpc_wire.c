#include "net/grpc_wire.h"

enum { DIGITS_MAX = 8 };

bool grpc_wire_is_type(struct str text)
{
    static const struct str type = STR("application/grpc");
    return text.size >= type.size && str_eq_nocase(str_head(text, type.size), type) &&
           (text.size == type.size || text.at[type.size] == '+' || text.at[type.size] == ';');
}

int grpc_wire_timeout(struct str text, uint64_t *ret_ms, struct err *e)
{
    static const struct {
        char unit;
        uint32_t ms, per_ms; /* one of them is 1 */
    } units[] = { { 'H', 3600000, 1 }, { 'M', 60000, 1 }, { 'S', 1000, 1 },
                  { 'm', 1, 1 },       { 'u', 1, 1000 },  { 'n', 1, 1000000 } };
    uint64_t value;
    if (text.size >= 2 && text.size <= DIGITS_MAX + 1 && str_u64(str_head(text, text.size - 1), &value))
        for (size_t i = 0; i < COUNT_OF(units); i++)
            if (units[i].unit == text.at[text.size - 1]) {
                *ret_ms = (value * units[i].ms + units[i].per_ms - 1) / units[i].per_ms;
                return 0;
            }
    return err_set(e, CODE_INVALID,
                   "grpc-timeout \"" STR_FMT "\": up to 8 digits and one of H M S m u n expected",
                   (int)MIN(text.size, 40), text.at ? text.at : "");
}

void grpc_wire_text(struct buf *b, struct str text, size_t max)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0, written = 0; i < text.size; i++) {
        uint8_t c = (uint8_t)text.at[i];
        char coded[3] = { '%', digits[c >> 4], digits[c & 15] };
        bool plain = c >= ' ' && c < 0x7f && c != '%';
        written += plain ? 1 : sizeof coded;
        if (written > max)
            return;
        if (plain)
            buf_append(b, &text.at[i], 1);
        else
            buf_append(b, coded, sizeof coded);
    }
}

void grpc_wire_prefix(struct grpc_prefix p, char into[GRPC_PREFIX_BYTES])
{
    into[0] = p.packed;
    for (int i = 0; i < 4; i++)
        into[1 + i] = (char)(p.size >> (24 - 8 * i));
}

bool grpc_wire_prefix_read(struct str bytes, struct grpc_prefix *ret)
{
    const uint8_t *at = (const uint8_t *)bytes.at;
    if (bytes.size < GRPC_PREFIX_BYTES || at[0] > 1)
        return false;
    *ret = (struct grpc_prefix){ at[0] == 1, (uint32_t)at[1] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 8 | at[4] };
    return true;
}
