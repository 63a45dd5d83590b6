#include "codec/names.h"

#include <stdio.h>

/* One shape: first and last character, those between, and the sentence when it does not fit. */
struct shape {
    const char *first, *middle, *last;
    const char *sentence;
};

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"
#define ALNUM LOWER UPPER DIGITS

static const struct shape label_shape = {
    LOWER DIGITS, LOWER DIGITS "-", LOWER DIGITS,
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must "
    "start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for "
    "validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
};
static const struct shape subdomain_shape = {
    LOWER DIGITS, LOWER DIGITS "-", LOWER DIGITS,
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character (e.g. 'example.com', regex used for "
    "validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
};
static const struct shape dns1035_shape = {
    LOWER, LOWER DIGITS "-", LOWER DIGITS,
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
    "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', "
    "regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
};
static const struct shape qualified_shape = {
    ALNUM, ALNUM "-_.", ALNUM,
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation "
    "is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
};
static const struct shape value_shape = {
    ALNUM, ALNUM "-_.", ALNUM,
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or "
    "'12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
};
static const struct shape env_shape = {
    LOWER UPPER "-._", ALNUM "-._", ALNUM "-._",
    "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or "
    "'.', and must not start with a digit (e.g. 'my.env-name',  or 'MY_ENV.NAME',  or 'MyEnvName1', "
    "regex used for validation is '[-._a-zA-Z][-._a-zA-Z0-9]*')"
};

static bool among(const char *set, char c) { return c && strchr(set, c); }

static bool fits(struct str s, const struct shape *shape)
{
    if (s.size == 0 || !among(shape->first, s.at[0]))
        return false;
    for (size_t i = 1; i < s.size; i++)
        if (!among(i + 1 < s.size ? shape->middle : shape->last, s.at[i]))
            return false;
    return true;
}

/* Appends one reason; the first makes the error. Keeps *ret_ok false from then on. */
static void reason(struct err *e, bool *ok, const char *part, const char *sentence)
{
    if (*ok) {
        (void)err_set(e, CODE_INVALID, "%s%s", part, sentence);
    } else {
        size_t used = strlen(e->text);
        (void)snprintf(e->text + used, sizeof e->text - used, "; %s%s", part, sentence);
    }
    *ok = false;
}

static bool check(struct str s, size_t max, const struct shape *shape, struct err *e)
{
    bool ok = true;
    char too_long[64];
    if (s.size > max) {
        (void)snprintf(too_long, sizeof too_long, "must be no more than %zu bytes", max);
        reason(e, &ok, "", too_long);
    }
    if (!fits(s, shape))
        reason(e, &ok, "", shape->sentence);
    return ok;
}

bool names_label(struct str s, struct err *e) { return check(s, 63, &label_shape, e); }

bool names_dns1035(struct str s, struct err *e) { return check(s, 63, &dns1035_shape, e); }

bool names_subdomain(struct str s, struct err *e)
{
    bool ok = true, all = s.size > 0;
    struct str rest = s;
    if (s.size > 253)
        reason(e, &ok, "", "must be no more than 253 bytes");
    while (all && rest.size > 0)
        all = fits(str_cut(&rest, '.'), &subdomain_shape);
    if (!all || s.at[s.size - 1] == '.')
        reason(e, &ok, "", subdomain_shape.sentence);
    return ok;
}

bool names_label_value(struct str s, struct err *e)
{
    return s.size == 0 || check(s, 63, &value_shape, e);
}

bool names_qualified(struct str s, struct err *e)
{
    bool ok = true;
    struct err why;
    struct str name = s, prefix;
    const char *slash = s.size ? memchr(s.at, '/', s.size) : NULL;
    if (slash) {
        prefix = str_cut(&name, '/');
        if (name.size && memchr(name.at, '/', name.size))
            return err_set(e, CODE_INVALID,
                           "a qualified name %s with an optional DNS subdomain prefix and '/' (e.g. "
                           "'example.com/MyName')",
                           qualified_shape.sentence) == 0;
        if (prefix.size == 0)
            reason(e, &ok, "prefix part ", "must be non-empty");
        else if (!names_subdomain(prefix, &why))
            reason(e, &ok, "prefix part ", why.text);
    }
    if (name.size == 0)
        reason(e, &ok, "name part ", "must be non-empty");
    else if (name.size > 63)
        reason(e, &ok, "name part ", "must be no more than 63 bytes");
    if (!fits(name, &qualified_shape))
        reason(e, &ok, "name part ", qualified_shape.sentence);
    return ok;
}

bool names_env(struct str s, struct err *e)
{
    bool ok = true;
    if (!fits(s, &env_shape))
        reason(e, &ok, "", env_shape.sentence);
    if (str_is(s, ".") || str_is(s, ".."))
        reason(e, &ok, "", s.size == 1 ? "must not be '.'" : "must not be '..'");
    else if (str_starts(s, STR("..")))
        reason(e, &ok, "", "must not start with '..'");
    return ok;
}
