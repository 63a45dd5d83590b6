/* fetcher_curl.h -- libcurl, found at run time: only the fetcher carries it and its forty libraries. */
#pragma once

#include "base/err.h"

#include <curl/curl.h>

/* X(type of the function, its name) */
#define CURL_CALLS(X)          \
    X(curl_global_init)        \
    X(curl_version_info)       \
    X(curl_easy_init)          \
    X(curl_easy_cleanup)       \
    X(curl_easy_setopt)        \
    X(curl_easy_getinfo)       \
    X(curl_easy_header)        \
    X(curl_easy_pause)         \
    X(curl_easy_strerror)      \
    X(curl_multi_init)         \
    X(curl_multi_cleanup)      \
    X(curl_multi_setopt)       \
    X(curl_multi_add_handle)   \
    X(curl_multi_remove_handle) \
    X(curl_multi_socket_action) \
    X(curl_multi_info_read)    \
    X(curl_slist_append)       \
    X(curl_slist_free_all)

/* curl.h wraps some of these in checking macros; the table wants the functions. */
#undef curl_easy_setopt
#undef curl_easy_getinfo
#undef curl_multi_setopt

struct curl_calls {
#define X(name) __typeof__(name) *name;
    CURL_CALLS(X)
#undef X
};

/* CODE_NOT_FOUND: not installed, or too old; the text names the package. Stays loaded for ever. */
int curl_calls_load(struct curl_calls *ret, struct err *e) MUST_USE;
