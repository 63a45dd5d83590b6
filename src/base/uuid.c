#include "base/uuid.h"

struct uuid uuid_v7(int64_t unix_ms, const uint8_t random[10])
{
    struct uuid u;
    for (int i = 0; i < 6; i++)
        u.at[i] = (uint8_t)((uint64_t)unix_ms >> (40 - 8 * i));
    memcpy(u.at + 6, random, 10);
    u.at[6] = (uint8_t)(0x70 | (u.at[6] & 0x0f)); /* version 7 */
    u.at[8] = (uint8_t)(0x80 | (u.at[8] & 0x3f)); /* the RFC's variant */
    return u;
}

struct uuid uuid_v7_next(struct uuid_clock *c, int64_t unix_ms, const uint8_t random[10])
{
    enum { COUNT_MAX = 0xfff, BEGIN_MAX = 0x7ff }; /* half the range is left to count in */
    if (unix_ms > c->ms) {
        *c = (struct uuid_clock){ unix_ms, (uint16_t)((random[0] << 8 | random[1]) & BEGIN_MAX) };
    } else if (++c->count > COUNT_MAX) {
        c->ms++;
        c->count = 0;
    }
    struct uuid u = uuid_v7(c->ms, random);
    u.at[6] = (uint8_t)(0x70 | c->count >> 8);
    u.at[7] = (uint8_t)c->count;
    return u;
}

void uuid_format(const struct uuid *u, char into[UUID_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    char *at = into;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *at++ = '-';
        *at++ = digits[u->at[i] >> 4];
        *at++ = digits[u->at[i] & 15];
    }
    *at = '\0';
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool uuid_parse(struct str text, struct uuid *ret)
{
    struct uuid u;
    if (text.size != UUID_TEXT - 1)
        return false;
    const char *at = text.at;
    for (int i = 0; i < 16; i++) {
        if ((i == 4 || i == 6 || i == 8 || i == 10) && *at++ != '-')
            return false;
        int high = digit(at[0]), low = digit(at[1]);
        if (high < 0 || low < 0)
            return false;
        u.at[i] = (uint8_t)(high << 4 | low);
        at += 2;
    }
    *ret = u;
    return true;
}
