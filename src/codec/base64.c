#include "codec/base64.h"

void base64_write(struct str bytes, struct buf *into)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < bytes.size; i += 3) {
        uint32_t n = 0;
        char four[4];
        for (size_t k = 0; k < 3; k++)
            n = n << 8 | (i + k < bytes.size ? (unsigned char)bytes.at[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            four[k] = i + k > bytes.size ? '=' : letters[n >> (18 - 6 * k) & 63];
        buf_append(into, four, sizeof four);
    }
}

static int letter_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_read(struct str text, struct buf *into)
{
    uint32_t group = 0, letters = 0, pads = 0;
    for (size_t i = 0; i < text.size; i++) {
        char c = text.at[i];
        if (c == '\n' || c == '\r')
            continue;
        int value = letter_value(c);
        if (c == '=' && letters >= 2)
            pads++;
        else if (value < 0 || pads > 0)
            return false;
        group = group << 6 | (uint32_t)(c == '=' ? 0 : value);
        if (++letters < 4)
            continue;
        const char bytes[3] = { (char)(group >> 16), (char)(group >> 8), (char)group };
        buf_append(into, bytes, 3 - pads);
        group = letters = 0;
        if (pads > 0) { /* the end, but for line ends */
            for (i++; i < text.size; i++)
                if (text.at[i] != '\n' && text.at[i] != '\r')
                    return false;
            return !into->overflow;
        }
    }
    return letters == 0 && !into->overflow;
}
