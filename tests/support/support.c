/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void support_die(int sys_errno, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)fputs("test support: ", stderr);
    (void)vfprintf(stderr, fmt, args);
    va_end(args);
    if (sys_errno != 0) {
        (void)fprintf(stderr, ": %s", strerror(sys_errno));
    }
    (void)fputc('\n', stderr);
    abort();
}
