#include "net/url.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte at the front of *in, which moves on. -1: refused. */
static int next_byte(struct str *in)
{
    char c = in->at[0];
    if (c != '%') {
        *in = str_from(*in, 1);
        return c == '\0' ? -1 : (uint8_t)c;
    }
    if (in->size < 3)
        return -1;
    int high = hex_digit(in->at[1]), low = hex_digit(in->at[2]);
    *in = str_from(*in, 3);
    return high < 0 || low < 0 || (high == 0 && low == 0) ? -1 : high << 4 | low;
}

bool url_decode_query(struct str in, char *into, size_t *ret_size)
{
    size_t size = 0;
    while (in.size > 0) {
        bool plus = in.at[0] == '+';
        int byte = next_byte(&in);
        if (byte < 0)
            return false;
        into[size++] = plus ? ' ' : (char)byte;
    }
    *ret_size = size;
    return true;
}

bool url_decode_segment(struct str in, char *into, size_t size)
{
    size_t used = 0;
    while (in.size > 0) {
        int byte = next_byte(&in);
        if (byte < 0 || byte == '/' || used + 1 >= size)
            return false;
        into[used++] = (char)byte;
    }
    if (size == 0)
        return false;
    into[used] = '\0';
    return true;
}
