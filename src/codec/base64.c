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
