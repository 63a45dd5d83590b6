/* desk_impl.h -- what the desk's two files share: desk.c knows attempts, desk_ask.c clients. */
#pragma once

#include "invocation/desk.h"

struct durable_host *desk_host(const struct desk *d);
const struct limits *desk_limits(const struct desk *d);
struct desk_counts *desk_tally(struct desk *d);
struct journal_key desk_key(const char *id); /* borrows it */
void desk_ended_count(struct desk *d, enum invoked_status before, const struct invocation *v);
