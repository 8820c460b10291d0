/* SPDX-License-Identifier: Apache-2.0
 *
 * PURE: what is known to be wrong with versions of nats-server, as far as it concerns a fleet, and what
 * to do about it. From the project's own measurements with 2.9.10, release notes and advisories.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { SERVER_HOLES_MAX = 8 };

struct server_hole {
    const char *what; /* follows "nats-server 2.9.10 " */
    const char *mend;
    bool grave; /* data is lost, or nobody ever tried it */
};

/* Those of the version ("2.9.10", "2.11.0-RC.1"), which live for ever; false: that is no version. */
bool server_version_holes(const char *version,
                          const struct server_hole *ret[static SERVER_HOLES_MAX], size_t *ret_len);
