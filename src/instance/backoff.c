#include "instance/backoff.h"

uint64_t backoff_pause_us(uint32_t restarts, uint64_t first_us, uint64_t longest_us)
{
    uint64_t pause_us = first_us;
    if (restarts == 0)
        return 0;
    while (--restarts > 0 && pause_us < longest_us)
        pause_us *= 2;
    return MIN(pause_us, longest_us);
}
