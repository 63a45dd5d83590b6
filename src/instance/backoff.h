/* backoff.h -- how long to wait before a container that ended is started again. Receives how often it was started again
 * already. Owns nothing, refuses nothing. Pure. */
#pragma once

#include "base/base.h"

/* None the first time, then first_us, doubling up to longest_us. */
uint64_t backoff_pause_us(uint32_t restarts, uint64_t first_us, uint64_t longest_us);
