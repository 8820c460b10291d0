/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line of captain-agent.
 */
#pragma once

#include <stdint.h>

#include "common/base/err.h"

enum options_command {
    OPTIONS_RUN,
    OPTIONS_DEADMAN,
    OPTIONS_ENROLL,
    OPTIONS_VERIFY,
    OPTIONS_TEXT, /* text is printed, nothing else */
};

struct options {
    enum options_command command;
    const char *config;
    const char *deadman;
    const char *text;
    const char *url, *token, *fingerprint; /* of enroll */
    int64_t wait_ms;
    const char *root, *file; /* of verify; NULL: what is installed */
};

/* ERR_USAGE with a hint. A token among the arguments is copied away and overwritten, so that ps
 * does not show it; ret borrows argv otherwise. */
MUST_USE enum err_code options_read(int argc, char **argv, struct options *ret, struct err *err);
