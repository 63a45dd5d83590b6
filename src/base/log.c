#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static enum log_level level_max = LOG_INFO;
static const char *role = "hob";

void log_level_set(enum log_level max) { level_max = max; }
void log_role_set(const char *name) { role = name; }

void log_event(enum log_level level, const char *event, const char *fmt, ...)
{
    static const char *const names[] = { "error", "warn", "info", "debug" };
    char line[1536];
    struct timespec ts;
    struct tm tm;

    if (level > level_max)
        return;
    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    size_t used = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &tm);
    used += (size_t)snprintf(line + used, sizeof line - used, ".%03ldZ %s %s.%s ",
                             ts.tv_nsec / 1000000, names[level], role, event);
    va_list ap;
    va_start(ap, fmt);
    int more = vsnprintf(line + used, sizeof line - used - 1, fmt, ap);
    va_end(ap);
    used = more < 0 ? used : MIN(used + (size_t)more, sizeof line - 2);
    line[used++] = '\n';
    (void)!write(STDERR_FILENO, line, used); /* one write: lines of several processes stay whole */
}

const char *log_quote(const char *text, char *into, size_t size)
{
    size_t used = 0;
    ASSERT(size > 0);
    for (; *text && used + 5 < size; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            into[used++] = '\\';
            into[used++] = (char)c;
        } else if (c < 0x20 || c == 0x7f) {
            used += (size_t)snprintf(into + used, size - used, "\\x%02x", c);
        } else {
            into[used++] = (char)c;
        }
    }
    into[used] = '\0';
    return into;
}
