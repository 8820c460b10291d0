/* SPDX-License-Identifier: Apache-2.0 */
#include "common/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

static struct timespec read_clock(clockid_t clock)
{
    struct timespec now = {0};
    if (clock_gettime(clock, &now) != 0)
        abort(); /* only an unknown clock fails */
    return now;
}

static int64_t to_ms(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t clock_unix_ms(void)
{
    return to_ms(read_clock(CLOCK_REALTIME));
}

int64_t clock_mono_ms(void)
{
    return to_ms(read_clock(CLOCK_BOOTTIME));
}

int64_t clock_mono_ns(void)
{
    struct timespec now = read_clock(CLOCK_MONOTONIC);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void clock_boot_id(char ret[static 37])
{
    memset(ret, 0, 37);
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (read(fd, ret, 36) != 36)
        memset(ret, 0, 37);
    (void)close(fd);
}

void clock_random(void *ret, size_t len)
{
    unsigned char *at = ret;
    while (len > 0) {
        ssize_t got = getrandom(at, len, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            abort(); /* no kernel this runs on lacks the call */
        at += got;
        len -= (size_t)got;
    }
}

void clock_ulid(char ret[static ULID_TEXT])
{
    uint8_t random[ULID_RANDOM_BYTES];
    clock_random(random, sizeof random);
    ulid_format(clock_unix_ms(), random, ret);
}
