/* SPDX-License-Identifier: Apache-2.0
 *
 * Feature flags: which value of a flag is this device's, and what an app reads of them. Two texts
 * of the same flags, in the order of their names:
 *
 *   flags.json   {"new-ui": true, "limit": 12, "greeting": "hello"}
 *   flags.env    FLAG_NEW_UI="true"
 *
 * JSON: a value that is exactly the JSON literal true, false or a number (at most 15 digits and an
 * exponent of at most two, so that every reader gets the number that was meant) stands as it is;
 * everything else is a string. Environment: FLAG_ and the name, upper case, '-' as '_'; of two flags
 * that come to one name there the first by name counts. Values stand in double quotes with \ before
 * ", \, $ and `, which a POSIX shell (". flags.env") and systemd (EnvironmentFile=) read alike. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/str.h"

enum { FLAGS_MAX = 64 };

struct flag {
    const char *name;             /* letters, digits, _ and - */
    const char *value;            /* of the devices below the cut; see common/base/cohort.h */
    const char *otherwise, *salt; /* borrowed, as all here */
    uint64_t cut;
};

/* device is "site/device". */
const char *flags_value(const struct flag *flag, const char *device);

/* Whether the value stands unquoted in flags.json. */
bool flags_is_literal(const char *value);

/* What both files hold for this device, in the arena. Of two flags with one name the first counts.
 * ERR_SIZE: more than FLAGS_MAX, or the arena is full. */
MUST_USE enum err_code flags_write(const struct flag *flags, size_t len, const char *device,
                                   struct arena *arena, struct bytes *ret_json,
                                   struct bytes *ret_env, struct err *err);
