/* SPDX-License-Identifier: Apache-2.0
 *
 * `captain-agent enroll`: makes this device known to captain. Fetches what the fingerprint stands
 * for, keeps it, asks with the join token, waits while a person has to approve, keeps the
 * credential. Run again after any crash or lost answer it ends in the same place.
 */
#pragma once

#include "agent/config.h"

enum { ENROLL_WAIT_MS = 10 * 60 * 1000 };

/* A line for people, without a newline. */
typedef void (*enroll_say_fn)(const char *line);

struct enroll_options {
    const char *config_path; /* for what is said */
    const char *url;         /* of the store: http or https */
    const char *token;       /* the text, "-": from standard input, "env://NAME" */
    const char *fingerprint; /* 64 hexadecimal digits */
    int64_t wait_ms;         /* for contact (a minute of it at most) and approval */
    enroll_say_fn say;
};

/* config: the file alone; it is completed here. ERR_DENIED and captain's other reasons, ERR_NO_CONTACT,
 * ERR_HASH, ERR_WRONG_TARGET (another tenant's bundle), ERR_CONFLICT (the folder is another
 * device's), ERR_TIMEOUT (not approved yet), ERR_INTERRUPTED. */
MUST_USE enum err_code enroll_run(const struct enroll_options *options, struct config *config,
                                  struct arena *arena, struct err *err);
