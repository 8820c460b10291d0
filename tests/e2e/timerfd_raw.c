/* SPDX-License-Identifier: Apache-2.0
 *
 * Preloaded before libfaketime: that one takes every absolute timerfd for one of the wall clock and
 * shifts it. The agent's is of the monotonic clock, which is not faked.
 */
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

int timerfd_settime(int fd, int flags, const struct itimerspec *now, struct itimerspec *before)
{
    return (int)syscall(SYS_timerfd_settime, fd, flags, now, before);
}
