#include "api/access.h"

#include <stdio.h>
#include <string.h>

static bool is_token_byte(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c && strchr("-._~+/=", c));
}

static void base64(const char *from, size_t size, char *into)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < size; i += 3) {
        uint32_t three = 0;
        size_t have = MIN(size - i, (size_t)3);
        for (size_t k = 0; k < 3; k++)
            three = three << 8 | (k < have ? (uint8_t)from[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            *into++ = k <= have ? digits[three >> (18 - 6 * k) & 63] : '=';
    }
    *into = '\0';
}

int access_init(struct access *a, struct str token, bool open, struct err *e)
{
    char pair[4 + ACCESS_TOKEN_MAX + 1];
    _Static_assert((sizeof pair + 2) / 3 * 4 < ACCESS_BASIC_TEXT, "base64 is a third longer");
    for (size_t i = 0; i < token.size; i++)
        if (!is_token_byte(token.at[i]))
            return err_set(e, CODE_INVALID, "byte %zu is none of letters, digits and -._~+/=", i + 1);
    if (token.size < ACCESS_TOKEN_MIN || token.size > ACCESS_TOKEN_MAX)
        return err_set(e, CODE_INVALID, "it is %zu bytes long; a token has %d to %d", token.size,
                       ACCESS_TOKEN_MIN, ACCESS_TOKEN_MAX);
    snprintf(a->token, sizeof a->token, STR_FMT, STR_ARG(token));
    int size = snprintf(pair, sizeof pair, "hob:%s", a->token);
    base64(pair, (size_t)size, a->basic);
    a->open = open;
    return 0;
}

/* The length is no secret. */
static bool same(struct str given, const char *want)
{
    uint8_t differs = 0;
    if (given.size != strlen(want))
        return false;
    for (size_t i = 0; i < given.size; i++)
        differs |= (uint8_t)(given.at[i] ^ want[i]);
    return differs == 0;
}

static bool is_public(struct str path)
{
    static const char *const paths[] = { "/healthz", "/livez", "/readyz", "/version" };
    for (size_t i = 0; i < COUNT_OF(paths); i++)
        if (str_is(path, paths[i]))
            return true;
    return false;
}

int access_check(const struct access *a, bool local, struct str path, struct str authorization,
                 struct err *e)
{
    if (local || a->open || is_public(path))
        return 0;
    if (!authorization.at)
        return err_set(e, CODE_UNAUTHENTICATED,
                       "this address asks for a token, in HOB_TOKEN; who runs hob has it in the data folder's api-token, "
                       "and `hob kubeconfig` prints it for kubectl. Users of a group need none after "
                       "hob serve --api-group GROUP; --api-insecure asks nobody");
    struct str scheme = str_cut(&authorization, ' ');
    struct str credentials = str_trim(authorization);
    bool bearer = str_eq_nocase(scheme, STR("Bearer")), basic = str_eq_nocase(scheme, STR("Basic"));
    if ((bearer && same(credentials, a->token)) || (basic && same(credentials, a->basic)))
        return 0;
    return err_set(e, CODE_UNAUTHENTICATED,
                   bearer || basic ? "the token is not this hob's; `hob kubeconfig` prints the right one"
                                   : "Authorization wants Bearer and the token, or Basic with user hob and the token");
}
