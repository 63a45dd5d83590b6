#include "api/list_version.h"

#define INVALID "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: "

/* *e is set where it is not NOW. */
static enum list_version_verdict match_check(const struct list_version *l, struct err *e)
{
    if (l->match.size == 0)
        return LIST_VERSION_NOW;
    if (l->version.size == 0)
        (void)err_set(e, CODE_INVALID, INVALID "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided");
    else if (l->token.size > 0)
        (void)err_set(e, CODE_INVALID, INVALID "Forbidden: resourceVersionMatch is forbidden when continue is provided");
    else if (!str_is(l->match, "Exact") && !str_is(l->match, "NotOlderThan"))
        (void)err_set(e, CODE_INVALID, INVALID "Unsupported value: \"%.*s\": supported values: \"Exact\", \"NotOlderThan\"",
                      (int)MIN(l->match.size, (size_t)64), l->match.at);
    else if (str_is(l->match, "Exact") && str_is(l->version, "0"))
        (void)err_set(e, CODE_INVALID, INVALID "Forbidden: resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"");
    else
        return LIST_VERSION_NOW;
    return LIST_VERSION_WRONG;
}

enum list_version_verdict list_version_read(const struct list_version *l, int64_t *ret_version, struct err *e)
{
    uint64_t version = 0;
    if (match_check(l, e) != LIST_VERSION_NOW)
        return LIST_VERSION_WRONG;
    if (l->version.size > 0 && (!str_u64(l->version, &version) || version > INT64_MAX)) {
        (void)err_set(e, CODE_INVALID, "resourceVersion: Invalid value: \"%.*s\": not a version that this server gave",
                      (int)MIN(l->version.size, (size_t)64), l->version.at);
        return LIST_VERSION_NONE;
    }
    *ret_version = (int64_t)version;
    if (version == 0)
        return LIST_VERSION_NOW;
    if (l->token.size > 0) {
        (void)err_set(e, CODE_INVALID, "specifying resource version is not allowed when using continue");
        return LIST_VERSION_NONE;
    }
    if ((int64_t)version > l->now) {
        (void)err_set(e, CODE_DEADLINE, "Too large resource version: %llu, current: %lld", (unsigned long long)version,
                      (long long)l->now);
        return LIST_VERSION_AHEAD;
    }
    return str_is(l->match, "Exact") ? LIST_VERSION_THEN : LIST_VERSION_NOW;
}
