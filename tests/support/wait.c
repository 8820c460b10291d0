/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/wait.h"

#include <time.h>

#include "common/clock.h"

bool wait_until(wait_fn fn, void *arg, int64_t ms)
{
    int64_t deadline_ms = clock_mono_ms() + ms;
    while (!fn(arg)) {
        if (clock_mono_ms() >= deadline_ms) {
            return false;
        }
        (void)nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    return true;
}

bool wait_turning(struct loop *loop, wait_fn fn, void *arg, int64_t ms)
{
    int64_t deadline_ms = clock_mono_ms() + ms;
    while (!fn(arg)) {
        if (clock_mono_ms() >= deadline_ms) {
            return false;
        }
        loop_turn(loop, 5);
    }
    return true;
}

void turn_for(struct loop *loop, int64_t ms)
{
    for (int64_t end_ms = clock_mono_ms() + ms; clock_mono_ms() < end_ms;) {
        loop_turn(loop, end_ms - clock_mono_ms());
    }
}
