/* page.h -- answers and parameters as hob's own pages have them (admin.h).
 *
 * Receives calls and trees. Owns nothing. Emits one answer each: JSON, or a problem (RFC 9457).
 * Refuses answers over PAGE_BYTES_MAX (507). */
#pragma once

#include "codec/json.h"
#include "net/http_server.h"

#define PAGE_JSON    "application/json"
#define PAGE_PROBLEM "application/problem+json"
enum { PAGE_BYTES_MAX = 16 * 1024 * 1024 };

void page_json(struct http_call *c, int status, const char *type, json_t *take_j);
void page_problem(struct http_call *c, int status, const char *title, const char *detail);
void page_err(struct http_call *c, const struct err *e);

/* False: no number from 1 to max. Absent: `otherwise`. */
bool page_param_u64(struct http_call *c, const char *name, uint64_t otherwise, uint64_t max, uint64_t *ret);
/* False: longer than `size` allows. An absent parameter is the empty text. */
bool page_param_text(struct http_call *c, const char *name, char *into, size_t size);
