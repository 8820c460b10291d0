/* SPDX-License-Identifier: Apache-2.0
 *
 * Lets devices in and puts them out: answers `enroll` and renew.<site>.<device>, takes the decision
 * device.enrolled (one for each device), mints credentials, and hands revocations to the server.
 * core/admit.h has the rules, enrol_request.h the signatures.
 *
 * Asks nothing of a device that it could not prove again: an answer that is lost is given again to the
 * same key. It answers only under the asker's own inbox, and not more than ENROL_WAITING_MAX requests
 * wait for their decision: the others are told to ask later.
 */
#pragma once

#include "captain/account.h"
#include "captain/core/fleet.h"
#include "captain/decision.h"
#include "captain/incidents.h"

enum { ENROL_WAITING_MAX = 256, ENROL_URLS_MAX = 8 };

struct enrol;

struct enrol_parts {
    struct bus *bus;
    struct db *db;
    struct fleet *fleet;
    struct decisions *decisions;
    struct incidents *incidents;
    const char *tenant, *holder;
    const char *const *urls; /* NATS servers that devices are told; at most ENROL_URLS_MAX */
    size_t urls_len;
    /* account_mint_device, account_revoke and account_set_revocations of arg. */
    enum err_code (*mint)(void *arg, const struct account_device *device, struct arena *arena,
                          const char **ret, struct err *err);
    enum err_code (*revoke)(void *arg, const struct account_revocation *revocation,
                            struct err *err);
    enum err_code (*set_revocations)(void *arg, const struct account_revocation *list, size_t len,
                                     struct err *err);
    void *arg;
};

/* Before bus_start, with the fleet loaded. What parts points to is borrowed. Nobody is let in before
 * enrol_ready. */
MUST_USE enum err_code enrol_open(const struct enrol_parts *parts, struct enrol **ret,
                                  struct err *err);
/* decisions_hooks.ready: the tables hold all of the log. Those that were there at enrol_open may have been
 * of a backup, in which a device that was put out since is still welcome. Hands over the revocations, and
 * takes retired devices out of the fleet's counts. */
MUST_USE enum err_code enrol_ready(struct enrol *enrol, struct err *err);
/* After decisions_close and bus_close. NULL is fine. */
void enrol_close(struct enrol *enrol);
/* decisions_hooks.committed: who is put out loses contact, who is retired leaves the counts. */
void enrol_committed(struct enrol *enrol, const struct log_entry *entry);
