#include "artifact/fetcher_wire.h"

_Static_assert(sizeof(struct wire_message) == 48 + 128 + 512, "no padding: both ends agree");

static bool ended(const char *text, size_t room) { return memchr(text, '\0', room) != NULL; }

static bool plain(const char *text)
{
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return false;
    return true;
}

static bool head_good(const struct wire_message *m)
{
    return m->status >= 100 && m->status <= 599 && m->size >= -1 && m->from >= -1 &&
           m->retry_after_ms >= -1 && plain(m->etag);
}

int wire_check(const struct wire_message *m, size_t size, bool from_node, struct err *e)
{
    bool good = size == sizeof *m && m->unused == 0 && ended(m->etag, sizeof m->etag) &&
                ended(m->text, sizeof m->text);
    if (good && from_node)
        good = m->kind == WIRE_CANCEL || (m->kind == WIRE_POST && !m->text[0]) ||
               ((m->kind == WIRE_START || m->kind == WIRE_CALL) && m->from >= 0 && m->text[0] && plain(m->text) && plain(m->etag));
    else if (good)
        good = (m->kind == WIRE_HEAD && head_good(m)) ||
               (m->kind == WIRE_END && m->code <= CODE_DATA_LOSS && plain(m->text));
    return good ? 0 : err_set(e, CODE_INTERNAL, "fetcher socket: a message that is not one of ours");
}

static bool number_take(struct str *rest, char by, int64_t *ret)
{
    uint64_t n = 0;
    struct str part = by ? str_cut(rest, by) : *rest;
    if (!str_u64(part, &n) || n > INT64_MAX)
        return false;
    *ret = (int64_t)n;
    return true;
}

bool wire_range_parse(struct str text, int64_t *ret_from, int64_t *ret_total)
{
    int64_t from, to, total = -1;
    if (!str_starts(text, STR("bytes ")))
        return false;
    struct str rest = str_from(text, 6);
    if (!number_take(&rest, '-', &from) || !number_take(&rest, '/', &to) || to < from)
        return false;
    if (!str_is(rest, "*") && (!number_take(&rest, '\0', &total) || to >= total))
        return false;
    *ret_from = from;
    *ret_total = total;
    return true;
}
