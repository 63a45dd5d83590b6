/* log.h -- events, not prose: `ts level event key=value ...`, one line of logfmt on stderr.
 * Event names are stable (docs/reference/events.md). Never secrets, never payload bytes. */
#pragma once

#include "base/base.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_level_set(enum log_level max);
void log_role_set(const char *role); /* "node", "launcher", "fetcher"; borrowed for ever */
/* `fmt` gives the pairs: log_event(LOG_WARN, "start.failed", "revision=%s code=%s", ...). Text
 * that may hold spaces goes in as %s wrapped in \"...\" after log_quote(). */
void log_event(enum log_level level, const char *event, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Escapes quotes, backslashes and control bytes of `text` for use between quotes; cuts it to fit. */
const char *log_quote(const char *text, char *into, size_t size);
#define LOG_QUOTED(text) log_quote((text), (char[512]){ 0 }, 512)
