#include "codec/digest.h"

static int nibble(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int digest_parse(struct str text, struct digest *ret, struct err *e)
{
    struct digest d;
    if (!str_starts(text, STR("sha256:")) || text.size != DIGEST_TEXT - 1)
        return err_set(e, CODE_INVALID,
                       "digest \"%.*s\": want sha256: and 64 lower-case hex digits",
                       (int)MIN(text.size, 100), text.at);
    for (size_t i = 0; i < sizeof d.at; i++) {
        int high = nibble(text.at[7 + 2 * i]), low = nibble(text.at[8 + 2 * i]);
        if (high < 0 || low < 0)
            return err_set(e, CODE_INVALID, "digest \"" STR_FMT "\": not lower-case hex digits",
                           STR_ARG(text));
        d.at[i] = (uint8_t)(high << 4 | low);
    }
    *ret = d;
    return 0;
}

void digest_hex(const struct digest *d, char into[DIGEST_HEX])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < sizeof d->at; i++) {
        into[2 * i] = digits[d->at[i] >> 4];
        into[2 * i + 1] = digits[d->at[i] & 15];
    }
    into[DIGEST_HEX - 1] = '\0';
}

void digest_format(const struct digest *d, char into[DIGEST_TEXT])
{
    memcpy(into, "sha256:", 7);
    digest_hex(d, into + 7);
}

int digest_cut(struct str reference, struct str *ret_base, struct digest *ret, struct err *e)
{
    size_t at = reference.size;
    while (at > 0 && !str_starts(str_from(reference, at - 1), STR("@sha256:")))
        at--;
    if (at == 0) {
        *ret_base = reference;
        return 0;
    }
    int r = digest_parse(str_from(reference, at), ret, e);
    if (r < 0)
        return r;
    *ret_base = str_head(reference, at - 1);
    return 1;
}
