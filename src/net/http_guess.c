#include "net/http_guess.h"

enum { FRAME_HEAD = 9, TYPE_AT = 3, STREAM_AT = 5, SETTING_BYTES = 6, SETTINGS = 4, GOAWAY = 7, GOAWAY_LEAST = 8 };

bool http_guess_is_h2(struct str first)
{
    const uint8_t *at = (const uint8_t *)first.at;
    if (first.size <= TYPE_AT)
        return false;
    uint32_t size = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2];
    bool fits = (at[TYPE_AT] == SETTINGS && size % SETTING_BYTES == 0) ||
                (at[TYPE_AT] == GOAWAY && size >= GOAWAY_LEAST);
    for (size_t i = STREAM_AT; i < MIN(first.size, (size_t)FRAME_HEAD); i++)
        fits &= at[i] == 0; /* of the connection, not of a stream */
    return fits && size <= 16384;
}
