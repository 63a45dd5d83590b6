#include "workflow/zones.h"

#include "os/zonefile.h"

static int read_file(const char *dir, struct str name, struct buf *into, struct zone **ret, struct err *e)
{
    int r = zonefile_read(dir, name, into, e);
    if (r == 0 && (r = zone_parse(buf_str(into), ret, e)) < 0)
        r = err_wrap(e, "time zone %.*s", (int)name.size, name.at);
    if (r == -CODE_NOT_FOUND) /* who asked named it: that is their mistake, not a thing that is missing here */
        r = err_set(e, CODE_INVALID, "unknown time zone %.*s", (int)name.size, name.at);
    return r;
}

static int zone_of(const char *dir, struct str name, struct buf *into, struct zone **ret, struct err *e)
{
    if (zone_name_is_utc(name)) {
        *ret = NULL;
        return 0;
    }
    if (!zone_name_valid(name))
        return err_set(e, CODE_INVALID, "unknown time zone %.*s", (int)MIN(name.size, (size_t)100), name.at);
    return read_file(dir, name, into, ret, e);
}

int zones_read(const char *dir, struct str name, struct buf *into, struct err *e)
{
    AUTO(zone) struct zone *z = NULL;
    return zone_of(dir, name, into, &z, e);
}

int zones_load(const char *dir, struct str name, struct str data, struct zone **ret, struct err *e)
{
    if (data.size > 0)
        return zone_parse(data, ret, e);
    struct buf bytes;
    buf_init(&bytes, ZONE_BYTES_MAX);
    int r = zone_of(dir, name, &bytes, ret, e);
    buf_done(&bytes);
    return r;
}
