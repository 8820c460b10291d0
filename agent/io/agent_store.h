/* SPDX-License-Identifier: Apache-2.0
 *
 * The agent's SQLite file: what must survive a power cut. Only reads and writes. Writes belong to
 * the turn's transaction; agent_store_commit makes them durable.
 */
#pragma once

#include "agent/core/lifecycle.h"
#include "agent/io/child.h"
#include "common/base/arena.h"
#include "common/base/ulid.h"
#include "proto/messages.h"

struct agent_store;

enum {
    AGENT_OUTBOX_MAX = 10000, /* events that wait for captain, twice that at the most */
    AGENT_EXCUSED_MAX = 32 * (TOKEN_MAX + 1),
};

MUST_USE enum err_code agent_store_open(const char *path, struct agent_store **ret,
                                        struct err *err);
void agent_store_close(struct agent_store *store);
MUST_USE enum err_code agent_store_commit(struct agent_store *store, struct err *err);
/* ULID made when the file was. */
const char *agent_store_epoch(const struct agent_store *store);

/* One app: the machine's memory, the last desired document accepted, the attempt. */
struct agent_app_row {
    struct lifecycle lifecycle;
    struct bytes desired;            /* signed envelope; empty: none. In the arena when read */
    uint64_t generation;             /* of it */
    char attempt[ULID_TEXT];         /* "" or the attempt in progress or last made */
    char rollout[TOKEN_MAX + 1];     /* that it was made for, or "" */
    uint32_t attempt_number;         /* within the rollout, from 1; 0: of none */
    uint32_t flaps;                  /* how often it became unhealthy in this attempt */
    char excused[AGENT_EXCUSED_MAX]; /* "a,b": checks that failed before the switch already */
    char failure[ERR_TEXT_MAX];      /* why the last attempt was given up */
};
/* ERR_NOT_FOUND when the app is new. */
MUST_USE enum err_code agent_store_get_app(struct agent_store *store, const char *app,
                                           struct arena *arena, struct agent_app_row *ret,
                                           struct err *err);
MUST_USE enum err_code agent_store_put_app(struct agent_store *store, const char *app,
                                           const struct agent_app_row *row, struct err *err);

/* The signed document about this device that was accepted last, in the arena; ERR_NOT_FOUND. */
MUST_USE enum err_code agent_store_get_device(struct agent_store *store, struct arena *arena,
                                              struct bytes *ret, struct err *err);
MUST_USE enum err_code agent_store_put_device(struct agent_store *store, struct bytes envelope,
                                              struct err *err);

/* Events: numbered from 1 without gaps within the epoch. Fills event->epoch and event->seq. Captain
 * takes no event behind a gap, so none is ever dropped once it has a number; instead, when
 * AGENT_OUTBOX_MAX wait, new SERVICE_EXITED, HEALTHY and UNHEALTHY get none: ERR_FULL, nothing
 * written, nothing broken. At twice that many the same goes for all. */
MUST_USE enum err_code agent_store_add_event(struct agent_store *store, struct event *event,
                                             struct err *err);
/* The newest number ever written. */
uint64_t agent_store_event_seq(const struct agent_store *store);
/* Encoded events above `after`, oldest first, at most max. */
struct agent_outbox_row {
    uint64_t seq;
    struct bytes encoded;
};
MUST_USE enum err_code agent_store_outbox(struct agent_store *store, uint64_t after, size_t max,
                                          struct arena *arena, struct agent_outbox_row **ret,
                                          size_t *ret_len, struct err *err);
/* Captain has stored everything up to seq. */
MUST_USE enum err_code agent_store_acked(struct agent_store *store, uint64_t seq, struct err *err);

/* Processes that run; one row per app and service. */
MUST_USE enum err_code agent_store_put_process(struct agent_store *store, const char *app,
                                               const char *service,
                                               const struct child_identity *identity,
                                               struct err *err);
MUST_USE enum err_code agent_store_drop_process(struct agent_store *store, const char *app,
                                                const char *service, struct err *err);
/* ERR_NOT_FOUND. */
MUST_USE enum err_code agent_store_get_process(struct agent_store *store, const char *app,
                                               const char *service, struct child_identity *ret,
                                               struct err *err);
/* Names of the services that have a process row, in the arena. */
MUST_USE enum err_code agent_store_list_processes(struct agent_store *store, const char *app,
                                                  struct arena *arena, const char ***ret,
                                                  size_t *ret_len, struct err *err);

/* Trusted counters (root version, last signed time ...): kept here and in a second file beside it,
 * replaced by rename and fsync; the larger of the two wins. Set only ever raises, and is durable on
 * return. */
MUST_USE enum err_code agent_store_raise_counter(struct agent_store *store, const char *name,
                                                 uint64_t value, struct err *err);
uint64_t agent_store_counter(const struct agent_store *store, const char *name);
/* Those whose names begin with prefix will not be asked for again; a crash may bring them back. */
MUST_USE enum err_code agent_store_drop_counters(struct agent_store *store, const char *prefix,
                                                 struct err *err);
