/* callback_target.h -- where callbacks may go: URLs, and the hosts that a Service lets its clients name. Pure.
 *
 * Receives texts; owns nothing, emits nothing but its verdict. Refuses targets that are no plain http(s) URL of at most
 * CALLBACK_TARGET_MAX bytes, and those that the list does not name. Where a name leads is looked at when it is connected to
 * (artifact/origin.h). */
#pragma once

#include "base/err.h"
#include "base/str.h"

enum { CALLBACK_TARGET_MAX = 500 };

int callback_target_check(struct str url, struct err *e) MUST_USE;
/* May a client name this target? `hosts`: "hooks.example.org, *.example.net:8443"; "*" is every one; without a port: any.
 * CODE_DENIED: no. */
int callback_target_allowed(struct str url, struct str hosts, struct err *e) MUST_USE;
int callback_target_hosts(struct str hosts, struct err *e) MUST_USE; /* is this such a list? */
