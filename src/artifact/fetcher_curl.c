#include "artifact/fetcher_curl.h"

#include <dlfcn.h>
#include <string.h>

static int call_find(void *library, const char *name, void *into, struct err *e)
{
    void *found = dlsym(library, name);
    if (!found)
        return err_set(e, CODE_NOT_FOUND,
                       "libcurl.so.4 is too old (no %s): downloads need Debian's package libcurl4, "
                       "7.85 or later",
                       name);
    memcpy(into, &found, sizeof found); /* ISO C has no cast from object to function */
    return 0;
}

int curl_calls_load(struct curl_calls *ret, struct err *e)
{
    struct curl_calls calls;
    int r = 0;
    void *library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return err_set(e, CODE_NOT_FOUND,
                       "libcurl.so.4 is not installed: downloads over http(s) need the package "
                       "libcurl4 (%s)",
                       dlerror());
#define X(name)                                                \
    if (r == 0)                                                \
        r = call_find(library, #name, &calls.name, e);
    CURL_CALLS(X)
#undef X
    if (r == 0)
        *ret = calls;
    return r;
}
