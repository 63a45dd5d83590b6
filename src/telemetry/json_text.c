#include "telemetry/json_text.h"

/* Bytes of the character that begins here (RFC 3629: shortest form, no surrogates); 0: none does. */
static size_t character(const uint8_t *at)
{
    size_t more = at[0] >= 0xf0 ? 3 : at[0] >= 0xe0 ? 2 : 1;
    if (at[0] < 0x80)
        return 1;
    if (at[0] < 0xc2 || at[0] > 0xf4)
        return 0;
    for (size_t i = 1; i <= more; i++)
        if ((at[i] & 0xc0) != 0x80) /* the NUL at the end ends it, too */
            return 0;
    if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) || (at[0] == 0xf0 && at[1] < 0x90) ||
        (at[0] == 0xf4 && at[1] > 0x8f))
        return 0;
    return more + 1;
}

static void special_put(struct buf *b, uint8_t c)
{
    if (c == '"' || c == '\\')
        buf_printf(b, "\\%c", c);
    else if (c >= 0x80)
        buf_str_append(b, STR("?"));
    else
        buf_printf(b, "\\u%04x", c);
}

void json_text_put(struct buf *b, const char *text)
{
    const uint8_t *at = (const uint8_t *)text, *from = at;
    buf_str_append(b, STR("\""));
    while (*at) {
        size_t size = character(at);
        if (size > 0 && *at >= ' ' && *at != '"' && *at != '\\' && *at != 0x7f) {
            at += size;
            continue;
        }
        buf_append(b, from, (size_t)(at - from));
        special_put(b, *at++);
        from = at;
    }
    buf_append(b, from, (size_t)(at - from));
    buf_str_append(b, STR("\""));
}

static void name_put(struct json_members *m, const char *name)
{
    buf_printf(m->out, "%s\"%s\":", m->begun ? "," : "", name);
    m->begun = true;
}

void json_member_text(struct json_members *m, const char *name, const char *value)
{
    name_put(m, name);
    json_text_put(m->out, value);
}

void json_member_flag(struct json_members *m, const char *name, bool value)
{
    name_put(m, name);
    buf_text(m->out, value ? "true" : "false");
}

void json_member_number(struct json_members *m, const char *name, int64_t value)
{
    name_put(m, name);
    buf_printf(m->out, "%lld", (long long)value);
}
