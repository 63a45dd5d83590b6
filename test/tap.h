/* tap.h -- the whole unit-test harness. A test is a function; a failed check ends it.
 *
 *     TEST(parses_zero) { CHECK_EQ(parse("0"), 0); }
 *     TEST_MAIN()
 *
 * Prints TAP, which `meson test` reads. Checks never longjmp, so AUTO() cleanups run. */
#pragma once

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tap_test {
    const char *name;
    void (*run)(void);
};
extern const struct tap_test *const __start_tap_tests[], *const __stop_tap_tests[];
static bool tap_failed;
static const char *tap_skipped;

// clang-format off
#define TEST(id)                                                                           \
    static void test_##id(void);                                                           \
    static const struct tap_test tap_##id = { #id, test_##id };                            \
    static const struct tap_test *const tap_ptr_##id                                       \
        __attribute__((section("tap_tests"), used)) = &tap_##id;                           \
    static void test_##id(void)

#define FAIL(...)                                                                          \
    do {                                                                                   \
        tap_failed = true;                                                                 \
        printf("# %s:%d: ", __FILE__, __LINE__);                                           \
        printf(__VA_ARGS__);                                                               \
        printf("\n");                                                                      \
        return;                                                                            \
    } while (0)
/* What the machine lacks, not what is inconvenient: skips are printed and counted. */
#define SKIP(why)                                                                          \
    do {                                                                                   \
        tap_skipped = (why);                                                               \
        return;                                                                            \
    } while (0)
#define CHECK(cond)                                                                        \
    do {                                                                                   \
        if (!(cond))                                                                       \
            FAIL("expected %s", #cond);                                                    \
    } while (0)
#define CHECK_EQ(a, b)                                                                     \
    do {                                                                                   \
        int64_t a_ = (int64_t)(a), b_ = (int64_t)(b);                                      \
        if (a_ != b_)                                                                      \
            FAIL("%s is %" PRId64 ", expected %s = %" PRId64, #a, a_, #b, b_);             \
    } while (0)
#define CHECK_STR(a, b)                                                                    \
    do {                                                                                   \
        const char *a_ = (a), *b_ = (b);                                                   \
        if (strcmp(a_, b_) != 0)                                                           \
            FAIL("%s is \"%s\", expected \"%s\"", #a, a_, b_);                             \
    } while (0)

#define TEST_MAIN()                                                                        \
    int main(int argc, char **argv)                                                        \
    {                                                                                      \
        const char *only = argc > 1 ? argv[1] : NULL;                                      \
        int count = 0, failures = 0;                                                       \
        setvbuf(stdout, NULL, _IOLBF, 0);                                                  \
        for (const struct tap_test *const *t = __start_tap_tests; t < __stop_tap_tests; t++) { \
            if (only && !strstr((*t)->name, only))                                         \
                continue;                                                                  \
            tap_failed = false;                                                            \
            tap_skipped = NULL;                                                            \
            (*t)->run();                                                                   \
            failures += tap_failed;                                                        \
            printf("%s %d - %s", tap_failed ? "not ok" : "ok", ++count, (*t)->name);       \
            printf(tap_skipped ? " # SKIP %s\n" : "%s\n", tap_skipped ? tap_skipped : ""); \
        }                                                                                  \
        printf("1..%d\n", count);                                                          \
        return failures != 0 || count == 0;                                                \
    }
