#include "api/page.h"

void page_json(struct http_call *c, int status, const char *type, json_t *take_j)
{
    struct buf b;
    buf_init(&b, PAGE_BYTES_MAX);
    json_write(take_j, &b);
    buf_text(&b, "\n");
    json_decref(take_j);
    if (b.overflow)
        http_answer(c, 507, PAGE_PROBLEM, NULL,
                    STR("{\"title\":\"the answer is too large; ask for less with limit=\"}\n"));
    else
        http_answer(c, status, type, status == 429 ? "Retry-After: 1\r\n" : NULL, buf_str(&b));
    buf_done(&b);
}

void page_problem(struct http_call *c, int status, const char *title, const char *detail)
{
    page_json(c, status, PAGE_PROBLEM,
              json_pack("{s:s, s:s, s:i, s:s}", "type", "about:blank", "title", title, "status", status, "detail", detail));
}

void page_err(struct http_call *c, const struct err *e)
{
    page_problem(c, code_http_status(e->code), code_name(e->code), e->text);
}

bool page_param_u64(struct http_call *c, const char *name, uint64_t otherwise, uint64_t max, uint64_t *ret)
{
    struct str text = http_call_param(c, name);
    *ret = otherwise;
    return !text.at || (str_u64(text, ret) && *ret >= 1 && *ret <= max);
}

bool page_param_text(struct http_call *c, const char *name, char *into, size_t size)
{
    struct str text = http_call_param(c, name);
    if (text.size >= size)
        return false;
    if (text.size > 0)
        memcpy(into, text.at, text.size);
    into[text.size] = '\0';
    return true;
}
