#include "workflow/zones.h"

#include "os/zonefile.h"

static int read_file(const char *dir, struct str name, struct zone **ret, struct err *e)
{
    struct buf bytes;
    buf_init(&bytes, ZONE_BYTES_MAX);
    int r = zonefile_read(dir, name, &bytes, e);
    if (r == 0 && (r = zone_parse(buf_str(&bytes), ret, e)) < 0)
        r = err_wrap(e, "time zone %.*s", (int)name.size, name.at);
    buf_done(&bytes);
    if (r == -CODE_NOT_FOUND) /* who asked named it: that is their mistake, not a thing that is missing here */
        r = err_set(e, CODE_INVALID, "unknown time zone %.*s", (int)name.size, name.at);
    return r;
}

int zones_load(const char *dir, struct str name, struct str data, struct zone **ret, struct err *e)
{
    if (data.size > 0)
        return zone_parse(data, ret, e);
    if (zone_name_is_utc(name)) {
        *ret = NULL;
        return 0;
    }
    if (!zone_name_valid(name))
        return err_set(e, CODE_INVALID, "unknown time zone %.*s", (int)MIN(name.size, (size_t)100), name.at);
    return read_file(dir, name, ret, e);
}
