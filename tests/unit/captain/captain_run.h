/* SPDX-License-Identifier: Apache-2.0
 *
 * The test's program as a captain: a process of its own that can be killed.
 */
#pragma once

#include "captain/captain.h"
#include "common/log.h"

/* Until it is told to end; the exit code. */
static inline int captain_run(const struct captain_options *options)
{
    struct err err = {0};
    log_open("captain", LOG_LEVEL_INFO);
    const enum err_code code = captain_serve(options, &err);
    if (code != ERR_OK)
        log_err("captain", &err);
    return (int)code;
}
