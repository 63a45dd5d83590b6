#include "base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void assert_failed(const char *cond, const char *file, int line, const char *func)
{
    fprintf(stderr, "%s:%d: %s: assertion failed: %s\n", file, line, func, cond);
    abort();
}

void fd_auto(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1; /* closed twice, it would be somebody else's by then */
}

void free_auto(void *p)
{
    void *owned;
    memcpy(&owned, p, sizeof owned);
    free(owned);
}

static void *must(void *p)
{
    if (!p)
        assert_failed("out of memory", __FILE__, __LINE__, __func__);
    return p;
}

void *xcalloc(size_t count, size_t size) { return must(calloc(count, size)); }

void *xrealloc(void *p, size_t count, size_t size) { return must(reallocarray(p, count, size)); }

char *xstrdup(const char *s) { return must(strdup(s)); }

char *xstrndup(const char *s, size_t size) { return must(strndup(s, size)); }

char *xasprintf(const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    int r = vasprintf(&text, fmt, ap);
    va_end(ap);
    return must(r < 0 ? NULL : text);
}
