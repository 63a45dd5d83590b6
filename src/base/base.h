/* base.h -- the few macros every file may use. Anything longer belongs in a module. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUST_USE          __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))
#define COUNT_OF(array)   (sizeof(array) / sizeof((array)[0]))
#define BIT(n)            (UINT64_C(1) << (n))
#define MIN(a, b)         ((a) < (b) ? (a) : (b))
#define MAX(a, b)         ((a) > (b) ? (a) : (b))

#define KIB(n) (UINT64_C(1024) * (n))
#define MIB(n) (UINT64_C(1024) * 1024 * (n))
#define GIB(n) (UINT64_C(1024) * 1024 * 1024 * (n))

/* Programmer errors only, and always on: a wrong scheduler is worse than a stopped one.
 * Bad input and failing system calls are not programmer errors; they return an error. */
#define ASSERT(cond) \
    (__builtin_expect(!!(cond), 1) ? (void)0 : assert_failed(#cond, __FILE__, __LINE__, __func__))
#define UNREACHABLE(why) assert_failed(why, __FILE__, __LINE__, __func__)
_Noreturn void assert_failed(const char *cond, const char *file, int line, const char *func);

// clang-format off
/* Scope-bound ownership. `AUTO(thing) struct thing *t = NULL;` frees t on every exit. */
#define AUTO(name)  __attribute__((cleanup(name##_auto)))
#define AUTO_CLOSE  __attribute__((cleanup(fd_auto)))
#define AUTO_FREE   __attribute__((cleanup(free_auto)))
#define DEFINE_AUTO(name, type, free_fn) \
    static inline void name##_auto(type *p) { free_fn(*p); }

/* Hand ownership to the caller: yields the value and disarms the local. */
#define TAKE(p)    ({ __typeof__(p) taken_ = (p); (p) = NULL; taken_; })
#define TAKE_FD(f) ({ int taken_ = (f); (f) = -1; taken_; })
// clang-format on

void fd_auto(int *fd); /* closes what is open, and leaves -1 */
void free_auto(void *p); /* for AUTO_FREE: p points at the pointer */

/* Small allocations of our own abort when memory is out: state is durable and restart is the
 * tested path. Anything whose size comes from outside goes through buf or arena, which are capped. */
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *p, size_t count, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t size);
char *xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2);
