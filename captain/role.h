/* SPDX-License-Identifier: Apache-2.0
 *
 * Roles of operators; each may what those before it may. The server's subject permissions enforce them
 * (account.h); the table of requests says which request needs which.
 */
#pragma once

#include <stdbool.h>

enum operator_role {
    ROLE_VIEWER,          /* looks */
    ROLE_OPERATOR,        /* runs rollouts, freezes, labels and pins devices */
    ROLE_RELEASE_MANAGER, /* and brings releases, approves, sets flags and policies */
    ROLE_ADMIN,           /* and lets people, devices and secrets in and out */
    ROLES,
};
extern const char *const role_names[ROLES]; /* "viewer" ... */
/* False: no role of that name. */
bool role_parse(const char *text, enum operator_role *ret);
