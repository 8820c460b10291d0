/* SPDX-License-Identifier: Apache-2.0 */
#include "common/no_dump.h"

#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#ifdef __has_feature
#define HAS_FEATURE(x) __has_feature(x)
#else
#define HAS_FEATURE(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || HAS_FEATURE(address_sanitizer) || HAS_FEATURE(leak_sanitizer)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

static struct rlimit before;
static bool taken;

/* The hard limit stays: what we start may have core files, and without privileges it could not be
 * raised again. exec makes a process dumpable again by itself. */
void no_dump(void)
{
    if (!taken && getrlimit(RLIMIT_CORE, &before) == 0) {
        struct rlimit none = {.rlim_cur = 0, .rlim_max = before.rlim_max};
        taken = setrlimit(RLIMIT_CORE, &none) == 0;
    }
    if (!SANITIZED)
        (void)prctl(PR_SET_DUMPABLE, 0);
}

void no_dump_undo(void)
{
    if (taken)
        (void)setrlimit(RLIMIT_CORE, &before);
}
