/* SPDX-License-Identifier: Apache-2.0
 *
 * The NATS side of a new fleet: operator, accounts SYS, STREAMS and FLEET, the signing key of each
 * role, and captain's three users. Used once per fleet, by `captain init`.
 */
#pragma once

#include "captain/account.h"

/* Texts live in the arena. The claims are for the server's configuration. */
struct identities {
    const char *operator_jwt, *system_jwt, *streams_jwt, *fleet_jwt;
    char system[NKEY_TEXT], streams[NKEY_TEXT], fleet[NKEY_TEXT];
};

/* Writes into FOLDER (which must be new): keys/operator.nk, keys/system.nk, keys/streams.nk,
 * keys/fleet.nk, keys/scope-captain.nk (these five are needed only to make new ones: they may go offline),
 * keys/operator-signing.nk, keys/scope-<role>.nk, captain.creds, streams.creds, system.creds and
 * enroll.creds. */
MUST_USE enum err_code identities_create(const char *folder, account_subjects_fn subjects,
                                         struct arena *arena, struct identities *ret,
                                         struct err *err);
