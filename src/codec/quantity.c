#include "codec/quantity.h"

#include <stdio.h>

enum {
    TEXT_MAX = 128,
    LIMBS = 24,         /* 768 bits: 128 digits, 2^60 and 10^POWER_MAX together are below 2^620 */
    POWER_MAX = 40,     /* 10^40 nano is beyond every quantity */
    EXPONENT_MAX = 999, /* beyond it only "more than the cap" or "the smallest there is" is left */
    NANO_DIGITS = 9,
};

typedef unsigned __int128 wide;
#define UNITS_MAX ((wide)INT64_MAX * 1000000000)

/* ---- a number wide enough for whatever the text says ---- */

struct big {
    uint32_t limb[LIMBS]; /* least significant first */
};

static void big_mul_add(struct big *b, uint32_t factor, uint32_t add)
{
    uint64_t carry = add;
    for (int i = 0; i < LIMBS; i++) {
        carry += (uint64_t)b->limb[i] * factor;
        b->limb[i] = (uint32_t)carry;
        carry >>= 32;
    }
    ASSERT(carry == 0);
}

static uint32_t big_div(struct big *b, uint32_t by)
{
    uint64_t rest = 0;
    for (int i = LIMBS - 1; i >= 0; i--) {
        rest = rest << 32 | b->limb[i];
        b->limb[i] = (uint32_t)(rest / by);
        rest %= by;
    }
    return (uint32_t)rest;
}

/* Held at UNITS_MAX. */
static wide big_nano(const struct big *b)
{
    for (int i = 4; i < LIMBS; i++)
        if (b->limb[i])
            return UNITS_MAX;
    wide n = (wide)b->limb[3] << 96 | (wide)b->limb[2] << 64 | (wide)b->limb[1] << 32 | b->limb[0];
    return MIN(n, UNITS_MAX);
}

/* ---- text ---- */

struct suffix {
    const char *text;
    int power, shift; /* times 10^power times 2^shift */
};
static const struct suffix suffixes[] = {
    { "", 0, 0 },    { "n", -9, 0 },  { "u", -6, 0 },  { "m", -3, 0 },  { "k", 3, 0 },
    { "M", 6, 0 },   { "G", 9, 0 },   { "T", 12, 0 },  { "P", 15, 0 },  { "E", 18, 0 },
    { "Ki", 0, 10 }, { "Mi", 0, 20 }, { "Gi", 0, 30 }, { "Ti", 0, 40 }, { "Pi", 0, 50 },
    { "Ei", 0, 60 },
};

static bool digit(char c) { return c >= '0' && c <= '9'; }

/* "e5", "E-3". False: not an exponent. */
static bool exponent_parse(struct str s, int *ret)
{
    if (s.size < 2 || (s.at[0] | 0x20) != 'e')
        return false;
    bool negative = s.at[1] == '-';
    s = str_from(s, s.at[1] == '-' || s.at[1] == '+' ? 2 : 1);
    int n = 0;
    if (s.size == 0)
        return false;
    for (size_t i = 0; i < s.size; i++) {
        if (!digit(s.at[i]))
            return false;
        n = MIN(n * 10 + (s.at[i] - '0'), EXPONENT_MAX);
    }
    *ret = negative ? -n : n;
    return true;
}

static bool suffix_parse(struct str s, struct quantity *q, int *ret_power, int *ret_shift)
{
    *ret_shift = 0;
    for (size_t i = 0; i < COUNT_OF(suffixes); i++) {
        if (!str_is(s, suffixes[i].text))
            continue;
        q->form = suffixes[i].shift ? QUANTITY_BINARY : QUANTITY_DECIMAL;
        *ret_power = suffixes[i].power;
        *ret_shift = suffixes[i].shift;
        return true;
    }
    q->form = QUANTITY_EXPONENT;
    return exponent_parse(s, ret_power);
}

static wide nano_of(struct big *b, bool zero, int power, int shift)
{
    bool rest = false;
    if (zero)
        return 0;
    if (power > POWER_MAX)
        return UNITS_MAX;
    for (; shift > 0; shift -= 10)
        big_mul_add(b, 1024, 0);
    for (; power > 0; power--)
        big_mul_add(b, 10, 0);
    for (; power < 0; power++)
        rest |= big_div(b, 10) != 0;
    wide nano = big_nano(b);
    return nano + (rest && nano < UNITS_MAX);
}

/* Which of Kubernetes' three sentences fits. */
static int refuse(struct str text, int digits, struct str suffix, struct err *e)
{
    size_t at = 0;
    if (text.size > 0 && text.size <= TEXT_MAX) {
        while (at < suffix.size && suffix.at[at] && strchr("eEinumkKMGTP", suffix.at[at]))
            at++;
        at += at < suffix.size && (suffix.at[at] == '-' || suffix.at[at] == '+');
        while (at < suffix.size && digit(suffix.at[at]))
            at++;
        if (at == suffix.size)
            return err_set(e, CODE_INVALID, "%s",
                           digits ? "unable to parse quantity's suffix"
                                  : "unable to parse numeric part of quantity");
    }
    return err_set(e, CODE_INVALID,
                   "quantities must match the regular expression "
                   "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
}

int quantity_parse(struct str text, struct quantity *ret, struct err *e)
{
    struct quantity q = { 0 };
    struct big b = { 0 };
    struct str s = text;
    int power, shift, digits = 0, decimals = 0;
    bool point = false, zero = true;

    if (s.size == 0 || s.size > TEXT_MAX)
        return refuse(text, digits, s, e);
    if (s.at[0] == '-' || s.at[0] == '+') {
        q.negative = s.at[0] == '-';
        s = str_from(s, 1);
    }
    for (; s.size > 0 && (digit(s.at[0]) || (s.at[0] == '.' && !point)); s = str_from(s, 1)) {
        if (s.at[0] == '.') {
            point = true;
            continue;
        }
        big_mul_add(&b, 10, (uint32_t)(s.at[0] - '0'));
        zero = zero && s.at[0] == '0';
        digits++;
        decimals += point;
    }
    if (digits == 0 || !suffix_parse(s, &q, &power, &shift))
        return refuse(text, digits, s, e);
    q.nano = nano_of(&b, zero, power - decimals + NANO_DIGITS, shift);
    q.negative = q.negative && q.nano > 0;
    *ret = q;
    return 0;
}

static int64_t scaled(const struct quantity *q, uint32_t nano_each)
{
    wide n = (q->nano + nano_each - 1) / nano_each;
    int64_t held = n > (wide)INT64_MAX ? INT64_MAX : (int64_t)n;
    return q->negative ? -held : held;
}

int64_t quantity_units(const struct quantity *q) { return scaled(q, 1000000000); }

int64_t quantity_milli(const struct quantity *q) { return scaled(q, 1000000); }

/* ---- canonical text ---- */

static void binary_format(const struct quantity *q, char into[QUANTITY_TEXT])
{
    static const char *const names[] = { "", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei" };
    uint64_t n = (uint64_t)(q->nano / 1000000000);
    size_t step = 0;
    for (; n > 0 && n % 1024 == 0 && step + 1 < COUNT_OF(names); step++)
        n /= 1024;
    (void)snprintf(into, QUANTITY_TEXT, "%s%llu%s", q->negative ? "-" : "", (unsigned long long)n,
                   names[step]);
}

static void decimal_format(const struct quantity *q, char into[QUANTITY_TEXT])
{
    static const char *const names[] = { "n", "u", "m", "", "k", "M", "G", "T", "P", "E" };
    wide n = q->nano;
    size_t step = 0;
    for (; n > 0 && n % 1000 == 0 && step + 1 < COUNT_OF(names); step++)
        n /= 1000;
    /* at most UNITS_MAX, so 10^28: two halves for printf, which knows no 128 bits */
    const wide half = 1000000000000000000;
    char number[48];
    if (n >= half)
        (void)snprintf(number, sizeof number, "%llu%018llu", (unsigned long long)(n / half),
                       (unsigned long long)(n % half));
    else
        (void)snprintf(number, sizeof number, "%llu", (unsigned long long)n);
    if (q->form == QUANTITY_EXPONENT && step != 3)
        (void)snprintf(into, QUANTITY_TEXT, "%s%se%d", q->negative ? "-" : "", number,
                       (int)step * 3 - NANO_DIGITS);
    else
        (void)snprintf(into, QUANTITY_TEXT, "%s%s%s", q->negative ? "-" : "", number, names[step]);
}

void quantity_format(const struct quantity *q, char into[QUANTITY_TEXT])
{
    bool whole = q->nano % 1000000000 == 0;
    if (q->nano == 0)
        (void)snprintf(into, QUANTITY_TEXT, "0");
    else if (q->form == QUANTITY_BINARY && whole && q->nano >= (wide)1024 * 1000000000)
        binary_format(q, into);
    else
        decimal_format(q, into);
}
