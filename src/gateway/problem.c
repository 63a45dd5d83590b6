#include "gateway/problem.h"

struct problem_row {
    int status;
    const char *name, *title;
    bool retryable;
};
static const struct problem_row rows[PROBLEM_KINDS] = {
#define X(id, status, name, retryable, title) [PROBLEM_##id] = { status, name, title, retryable },
    PROBLEMS(X)
#undef X
};

static const struct problem_row *row_of(enum problem_kind k)
{
    ASSERT((unsigned)k < PROBLEM_KINDS);
    return &rows[k];
}

int problem_status(enum problem_kind k) { return row_of(k)->status; }
const char *problem_name(enum problem_kind k) { return row_of(k)->name; }

enum problem_kind problem_of_status(int status)
{
    switch (status) {
    case 413: return PROBLEM_TOO_LARGE;
    case 414: return PROBLEM_TARGET_TOO_LONG;
    case 417: return PROBLEM_EXPECTATION;
    case 431: return PROBLEM_HEAD_TOO_LARGE;
    case 501: return PROBLEM_NOT_IMPLEMENTED;
    case 505: return PROBLEM_HTTP_VERSION;
    default: return PROBLEM_BAD_REQUEST;
    }
}

/* Size of the UTF-8 sequence at `at`, or 0: overlong, surrogate, beyond U+10FFFF or cut. */
static size_t utf8_size(const unsigned char *at, size_t left)
{
    size_t size = at[0] < 0x80                    ? 1
                  : at[0] >= 0xc2 && at[0] < 0xe0 ? 2
                  : at[0] >= 0xe0 && at[0] < 0xf0 ? 3
                  : at[0] >= 0xf0 && at[0] < 0xf5 ? 4
                                                  : 0;
    if (size == 0 || size > left)
        return 0;
    for (size_t i = 1; i < size; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) ||
        (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f))
        return 0;
    return size;
}

static void text_write(struct buf *b, const char *text)
{
    size_t left = strlen(text);
    const unsigned char *at = (const unsigned char *)text;
    buf_text(b, "\"");
    while (left > 0) {
        size_t size = utf8_size(at, left);
        if (size == 0)
            buf_text(b, "\\ufffd");
        else if (at[0] < 0x20 || at[0] == 0x7f)
            buf_printf(b, "\\u%04x", at[0]);
        else if (at[0] == '"' || at[0] == '\\')
            buf_printf(b, "\\%c", at[0]);
        else
            buf_append(b, at, size);
        size = MAX(size, 1);
        at += size;
        left -= size;
    }
    buf_text(b, "\"");
}

static void member_write(struct buf *b, const char *name, const char *text)
{
    buf_printf(b, ",\"%s\":", name);
    text_write(b, text);
}

void problem_write(struct buf *b, const struct problem *p)
{
    const struct problem_row *row = row_of(p->kind);
    buf_printf(b, "{\"type\":\"urn:hob:problem:%s\",\"status\":%d", row->name, row->status);
    member_write(b, "title", row->title);
    member_write(b, "detail", p->detail);
    member_write(b, "invocation_id", p->invocation_id);
    if (p->phase)
        member_write(b, "phase", p->phase);
    buf_printf(b, ",\"retryable\":%s", row->retryable ? "true" : "false");
    if (p->retry_after_s > 0)
        buf_printf(b, ",\"retry_after_s\":%u", p->retry_after_s);
    buf_text(b, "}\n");
}
