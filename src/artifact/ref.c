#include "artifact/ref.h"

#include <stdio.h>

bool ref_hex_parse(struct str hex, struct digest *ret)
{
    struct err ignored;
    char text[DIGEST_TEXT];
    if (hex.size != DIGEST_HEX - 1 || memchr(hex.at, '\0', hex.size))
        return false;
    snprintf(text, sizeof text, "sha256:" STR_FMT, STR_ARG(hex));
    return digest_parse(str_of(text), ret, &ignored) == 0;
}

static bool host_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_';
}

static bool ipv6_byte(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == ':' ||
           c == '.';
}

/* Cuts the host off the front of `*rest`; leaves an optional ":port". */
static bool host_take(struct str *rest)
{
    size_t size = 0;
    if (rest->size > 0 && rest->at[0] == '[') {
        size = 1;
        while (size < rest->size && ipv6_byte(rest->at[size]))
            size++;
        if (size < 3 || size == rest->size || rest->at[size] != ']')
            return false;
        size++;
    } else {
        while (size < rest->size && host_byte(rest->at[size]))
            size++;
        if (size == 0)
            return false;
    }
    *rest = str_from(*rest, size);
    return true;
}

static int authority_check(struct str authority, const char *text, struct err *e)
{
    struct str rest = authority;
    uint64_t port = 1;
    if (authority.size > 0 && memchr(authority.at, '@', authority.size))
        return err_set(e, CODE_INVALID, "reference %s: credentials do not belong in a reference", text);
    if (!host_take(&rest))
        return err_set(e, CODE_INVALID, "reference %s: no valid host name", text);
    if (rest.size > 0 &&
        (rest.at[0] != ':' || rest.size > 6 || !str_u64(str_from(rest, 1), &port) || port < 1 ||
         port > 65535))
        return err_set(e, CODE_INVALID, "reference %s: no valid port", text);
    return 0;
}

static int http_check(struct str url, const char *text, struct err *e)
{
    struct str rest = url;
    (void)str_cut(&rest, ':');
    rest = str_from(rest, 2);
    const char *slash = rest.size > 0 ? memchr(rest.at, '/', rest.size) : NULL;
    struct str authority = slash ? str_head(rest, (size_t)(slash - rest.at)) : rest;
    int r = authority_check(authority, text, e);
    if (r < 0)
        return r;
    if (!slash || authority.size + 1 == rest.size)
        return err_set(e, CODE_INVALID, "reference %s: no path to a file", text);
    for (size_t i = 0; i < url.size; i++) {
        unsigned char c = (unsigned char)url.at[i];
        if (c <= ' ' || c >= 0x7f || strchr("\\\"<>^`{|}#", c))
            return err_set(e, CODE_INVALID, "reference %s: byte 0x%02x must be percent-encoded", text,
                           c);
    }
    return 0;
}

static int path_check(struct str path, const char *text, struct err *e)
{
    if (path.size < 2 || path.at[0] != '/')
        return err_set(e, CODE_INVALID, "reference %s: file:// needs an absolute path (file:///…)",
                       text);
    for (size_t i = 0; i < path.size; i++) {
        unsigned char c = (unsigned char)path.at[i];
        if (c < ' ' || c == 0x7f || strchr("%?#\\", c))
            return err_set(e, CODE_INVALID,
                           "reference %s: byte 0x%02x cannot be part of a file:// path", text, c);
    }
    struct str rest = str_from(path, 1);
    if (str_ends(rest, STR("/")))
        rest.size--;
    if (rest.size == 0)
        return err_set(e, CODE_INVALID, "reference %s: file:// needs more than the root", text);
    while (rest.size > 0) {
        bool more = str_ends(rest, STR("/"));
        struct str name = str_cut(&rest, '/');
        if (name.size == 0 || (more && rest.size == 0) || str_is(name, ".") || str_is(name, ".."))
            return err_set(e, CODE_INVALID,
                           "reference %s: empty, . and .. are not allowed in a file:// path", text);
    }
    return 0;
}

static int scheme_check(struct ref *ref, struct str origin, enum artifact_kind kind, struct err *e)
{
    if (str_starts(origin, STR("file://"))) {
        struct str path = str_from(origin, 7);
        int r = path_check(path, ref->text, e);
        if (r < 0)
            return r;
        if (str_ends(path, STR("/")))
            path.size--;
        ref->scheme = REF_FILE;
        memcpy(ref->origin, path.at, path.size);
        ref->origin[path.size] = '\0';
        return 0;
    }
    ref->scheme = str_starts(origin, STR("https://")) ? REF_HTTPS : REF_HTTP;
    if (ref->scheme == REF_HTTP && !str_starts(origin, STR("http://")))
        return err_set(e, CODE_INVALID, "reference %s: must start with %s", ref->text,
                       kind == ARTIFACT_BUNDLE ? "file://" : "file://, http:// or https://");
    if (kind == ARTIFACT_BUNDLE)
        return err_set(e, CODE_INVALID, "reference %s: a bundle is a folder of this host (file://)",
                       ref->text);
    int r = http_check(origin, ref->text, e);
    if (r < 0)
        return r;
    if (ref->hex[0] == '\0')
        return err_set(e, CODE_INVALID,
                       "reference %s: what comes over the network must be pinned (@sha256:<digest>)",
                       ref->text);
    memcpy(ref->origin, origin.at, origin.size);
    ref->origin[origin.size] = '\0';
    return 0;
}

int ref_parse(enum artifact_kind kind, const char *text, struct ref *ret, struct err *e)
{
    struct ref ref = { 0 };
    struct str all = str_of(text);
    if (all.size == 0)
        return err_set(e, CODE_INVALID, "reference: is empty");
    if (all.size > REF_BYTES_MAX)
        return err_set(e, CODE_INVALID, "reference: %zu bytes are more than %d", all.size,
                       REF_BYTES_MAX);
    memcpy(ref.text, text, all.size);
    struct str origin;
    struct digest pin;
    int r = digest_cut(all, &origin, &pin, e);
    if (r < 0)
        return err_wrap(e, "reference %s", text);
    if (r > 0)
        digest_hex(&pin, ref.hex);
    r = scheme_check(&ref, origin, kind, e);
    if (r < 0)
        return r;
    *ret = ref;
    return 0;
}

int ref_pin(struct ref *ref, const char *digest, struct err *e)
{
    struct digest d;
    char hex[DIGEST_HEX];
    int r = digest_parse(str_of(digest), &d, e);
    if (r < 0)
        return r;
    digest_hex(&d, hex);
    if (ref->hex[0] && strcmp(ref->hex, hex) != 0)
        return err_set(e, CODE_INVALID, "reference %.160s: is not %.80s", ref->text, digest);
    memcpy(ref->hex, hex, sizeof ref->hex);
    return 0;
}
