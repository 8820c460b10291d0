/* SPDX-License-Identifier: Apache-2.0
 *
 * The decision log at work. One decision at a time: prepare (validate against the tables as they are
 * now) -> append to the stream LOG with expected-last-sequence -> one SQLite transaction with the entry,
 * its projection and the outbox -> on_committed (publish) -> done (answer). When the stream did not answer,
 * the same bytes are sent again: the message id and the hash make that safe. Another captain's entry at
 * our sequence ends this one (on_lost).
 *
 * At each connect the two copies are compared from the end and completed: entries only in the stream are
 * applied here, entries only here are appended there, with a log line that says so. Two different entries
 * at one sequence are refused with both hashes; nothing is changed then. Beside that the chain here is
 * verified from its first entry, a slice per turn: an edited row ends this captain (on_lost, ERR_HASH).
 */
#pragma once

#include "common/bus.h"
#include "common/db.h"
#include "proto/messages.h"

enum { DECISION_QUEUE_MAX = 1024 };

struct decisions;

struct decision {
    const char *actor;
    const char *kind;
    const char *subject;
    const char *reason;
    struct bytes body;
    const struct evidence *evidence;
    size_t evidence_len;
};

/* Fills *ret in the arena, or refuses with the error the operator reads. */
typedef enum err_code (*decision_prepare_fn)(void *arg, struct arena *arena, struct decision *ret,
                                             struct err *err);
/* seq of the entry; err->code not ERR_OK: nothing was decided. */
typedef void (*decision_done_fn)(void *arg, uint64_t seq, const struct err *err);

struct decisions_hooks {
    /* Projects the entry into the tables, in the open transaction; must depend on nothing but entry and
     * tables. Runs for new entries and for those recovered from the stream. */
    enum err_code (*apply)(void *arg, const struct log_entry *entry, struct err *err);
    /* After the commit. */
    void (*committed)(void *arg, const struct log_entry *entry);
    /* Copies agree and captain.started is in: from now on decisions are taken. Once per connection. */
    void (*ready)(void *arg);
    /* Another captain holds the log (ERR_CONFLICT with its name), the histories differ, or the disk failed:
     * this process must end. */
    void (*lost)(void *arg, const struct err *err);
    void *arg;
};

MUST_USE enum err_code decisions_open(struct loop *loop, struct bus *bus, struct db *db,
                                      const char *holder, const char *folder,
                                      const struct decisions_hooks *hooks, struct decisions **ret,
                                      struct err *err);
/* Those that wait end with ERR_NO_CONTACT: nothing was decided. The one on its way ends with ERR_TIMEOUT:
 * nobody knows. NULL is fine. */
void decisions_close(struct decisions *decisions);

/* Call on BUS_CONNECTED and BUS_DISCONNECTED. */
void decisions_connected(struct decisions *decisions);
void decisions_disconnected(struct decisions *decisions);

/* Queues one; done is always called, once, never before this returns. ERR_FULL, or ERR_NO_CONTACT before ready. */
MUST_USE enum err_code decisions_submit(struct decisions *decisions, decision_prepare_fn prepare,
                                        decision_done_fn done, void *arg, struct err *err);

uint64_t decisions_last_seq(const struct decisions *decisions);
