/* SPDX-License-Identifier: Apache-2.0
 *
 * The root chain at work: table, files and the log agree on it, and the stream DESIRED has every version
 * on desired.root.<version>, so that a device that was away walks from the one it knows to the newest.
 */
#pragma once

#include "captain/keys.h"
#include "common/bus.h"
#include "common/db.h"
#include "proto/messages.h"

struct roots;

/* All borrowed; keys are changed when the chain goes on. */
struct roots_parts {
    struct loop *loop;
    struct bus *bus;
    struct db *db;
    struct keys *keys;
    const char *folder;
};

/* Takes the newest of table and files. ERR_ROOT_CHAIN when the two are not of one chain, or captain's own
 * key is not in the newest. */
MUST_USE enum err_code roots_open(const struct roots_parts *parts, struct roots **ret,
                                  struct err *err);
/* After bus_close. NULL is fine. */
void roots_close(struct roots *roots);

/* After the projection, in the same transaction: an entry root.created must be of our chain, a root.rotated
 * is in force from here on. Others are none of its business. */
MUST_USE enum err_code roots_applied(struct roots *roots, const struct log_entry *entry,
                                     struct err *err);
/* After the commit of a root.rotated. */
void roots_committed(struct roots *roots, const struct log_entry *entry);
/* On ready, first: whether the log has a root. ERR_ROOT_CHAIN when keys/ has a newer one than the log. */
MUST_USE enum err_code roots_known(struct roots *roots, bool *ret, struct err *err);
/* On ready, when DESIRED is there: sends what it lacks. */
void roots_connected(struct roots *roots);
