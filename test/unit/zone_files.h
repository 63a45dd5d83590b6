/* Time zones for tests: those of the machine, and one made of nothing but a rule for all years. */
#pragma once

#include "base/buf.h"
#include "codec/zone.h"

#include <stdio.h>

static inline void zone_number(struct buf *b, uint64_t n, size_t size)
{
    for (size_t i = size; i-- > 0;) {
        char c = (char)(n >> (8 * i));
        buf_append(b, &c, 1);
    }
}

static inline void zone_header(struct buf *b, uint32_t times, uint32_t types)
{
    const uint32_t counts[] = { 0, 0, 0, times, types, 4 };
    buf_text(b, "TZif2");
    zone_number(b, 0, 8);
    zone_number(b, 0, 7);
    for (size_t i = 0; i < COUNT_OF(counts); i++)
        zone_number(b, counts[i], 4);
}

/* A file without transitions: the rule alone. */
static inline void zone_rule_file(struct buf *b, const char *rule)
{
    zone_header(b, 0, 1);
    zone_number(b, 0, 6);
    zone_number(b, 0, 4);
    zone_header(b, 0, 1);
    zone_number(b, 0, 6);
    zone_number(b, 0, 4);
    buf_printf(b, "\n%s\n", rule);
}

static inline struct zone *zone_of_rule(const char *rule)
{
    struct buf b;
    struct err e = { 0 };
    struct zone *z = NULL;
    buf_init(&b, 4096);
    zone_rule_file(&b, rule);
    if (zone_parse(buf_str(&b), &z, &e) < 0)
        z = NULL;
    buf_done(&b);
    return z;
}

static inline struct zone *zone_of_machine(const char *name)
{
    static char bytes[ZONE_BYTES_MAX];
    char path[200];
    struct err e = { 0 };
    struct zone *z = NULL;
    (void)snprintf(path, sizeof path, "/usr/share/zoneinfo/%s", name);
    FILE *f = fopen(path, "rbe");
    if (!f)
        return NULL;
    size_t size = fread(bytes, 1, sizeof bytes, f);
    (void)fclose(f);
    if (zone_parse((struct str){ bytes, size }, &z, &e) < 0)
        printf("# %s: %s\n", name, e.text);
    return z;
}
