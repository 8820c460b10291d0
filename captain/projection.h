/* SPDX-License-Identifier: Apache-2.0
 *
 * What each kind of decision means in the tables: a function of entry and tables alone, so that the
 * tables can be rebuilt from any full copy of the log (decisions_hooks.apply).
 */
#pragma once

#include "common/db.h"
#include "captain/account.h"
#include "captain/io/artifact.h"
#include "proto/messages.h"

/* How long the server must know the key of a device that was put out: a credential that was issued at
 * that moment lives so long. */
#define PROJECTION_REVOKED_FOR_MS                                                                  \
    ((ACCOUNT_DEVICE_TTL_S + ACCOUNT_REVOCATION_SLACK_S) * INT64_C(1000))

/* Inside the open transaction. A kind it does not know (written by a newer captain) is ERR_MALFORMED. */
MUST_USE enum err_code projection_apply(struct db *db, struct artifacts *artifacts,
                                        const struct log_entry *entry, struct err *err);
