/* fetcher_box.h -- takes from this process everything a fetcher does not need, for good.
 *
 * No new privileges, no capabilities, no core, no file opened for writing, reading
 * only below /usr and /etc and of the resolver's settings (Landlock), no listening, no exec, no fork, no mapping
 * of code, and only the system calls a network client makes. Threads stay possible: the resolver
 * uses them. Where the kernel has no Landlock the rest holds.
 */
#pragma once

#include "base/err.h"

int fetcher_box(struct err *e) MUST_USE;
