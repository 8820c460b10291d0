/* SPDX-License-Identifier: Apache-2.0
 *
 * Whether what is secret in captain's folder can be read by captain's user alone.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "common/base/err.h"

/* path lies open (mode, 07777 of it), or belongs to another user (owner). */
struct modes_fault {
    const char *path;
    mode_t mode, wanted;
    uid_t owner;
    bool foreign;
};
typedef void (*modes_fn)(void *arg, const struct modes_fault *fault);

/* Looks at folder itself, its captain.json and *.creds, keys/ and the private keys in it, secret/, and the key
 * of the server's certificate, which nats-server's group may read. What is not there is no fault. */
MUST_USE enum err_code modes_check(const char *folder, modes_fn fn, void *arg, struct err *err);
