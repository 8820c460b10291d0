/* SPDX-License-Identifier: Apache-2.0
 *
 * Secrets on their way to devices. Looks at one device after the other: what it should have (its apps and
 * channels as its last health says, core/secret_scope), what its document carries, and what it has
 * confirmed. What is new is sealed to the key it enrolled with, and its document issued again; nothing
 * new leaves the document as it is. A look costs little when nothing is to be done, and looks are taken
 * in slices, so that a secret of 10,000 devices does not hold up the loop.
 *
 * Looked at are: all devices after a change of any secret, at each start and daily; one device when
 * its identity or its apps and channels change, or when it confirms.
 */
#pragma once

#include "captain/core/fleet.h"
#include "captain/desired_device.h"
#include "captain/io/vault.h"
#include "proto/messages.h"

struct secrets;

struct secrets_parts {
    struct loop *loop;
    struct db *db;
    struct fleet *fleet;
    struct desired_devices *devices;
    const struct vault *vault; /* NULL: there is no master key; nothing new is sealed */
    const char *folder;
};

/* ERR_DENIED when secrets are set and the master key is another than the one that sealed them. */
MUST_USE enum err_code secrets_open(const struct secrets_parts *parts, struct secrets **ret,
                                    struct err *err);
/* NULL is fine. */
void secrets_close(struct secrets *secrets);

/* On ready. The first time also removes files of decisions that were never taken. */
void secrets_connected(struct secrets *secrets);
/* After the commit of any decision. */
void secrets_committed(struct secrets *secrets, const struct log_entry *entry);
/* A device spoke. */
void secrets_health(struct secrets *secrets, uint32_t device, const struct health *health);
/* Devices are still to be looked at: counts of the tables may grow. */
bool secrets_settling(const struct secrets *secrets);
