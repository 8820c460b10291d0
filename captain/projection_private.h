/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared by projection.c (the log, releases, channels) and projection_*.c; no one else's.
 */
#pragma once

#include "captain/projection.h"

struct projection {
    struct db *db;
    struct artifacts *artifacts;
    const struct log_entry *entry;
    struct arena arena;
};

/* A channel points to a release of its own app that the log has brought before. */
MUST_USE enum err_code projection_check_release(struct projection *projection, const char *app,
                                                struct bytes digest, struct err *err);

/* projection_root.c */
enum err_code projection_root_created(struct projection *projection, struct err *err);
enum err_code projection_root_rotated(struct projection *projection, struct err *err);

/* projection_rollout.c */
enum err_code projection_started(struct projection *projection, struct err *err);
enum err_code projection_command(struct projection *projection, struct err *err);
enum err_code projection_published(struct projection *projection, struct err *err);
enum err_code projection_verdict(struct projection *projection, struct err *err);
enum err_code projection_moved(struct projection *projection, struct err *err);
enum err_code projection_rollout_device(struct projection *projection, struct err *err);
enum err_code projection_policy(struct projection *projection, struct err *err);
enum err_code projection_freeze(struct projection *projection, struct err *err);
enum err_code projection_device_set(struct projection *projection, struct err *err);
enum err_code projection_site(struct projection *projection, struct err *err);

/* projection_setting.c */
enum err_code projection_flag_set(struct projection *projection, struct err *err);
enum err_code projection_flag_unset(struct projection *projection, struct err *err);
enum err_code projection_secret_set(struct projection *projection, struct err *err);
enum err_code projection_secret_removed(struct projection *projection, struct err *err);

/* projection_trust.c */
enum err_code projection_token_created(struct projection *projection, struct err *err);
enum err_code projection_token_revoked(struct projection *projection, struct err *err);
enum err_code projection_device_enrolled(struct projection *projection, struct err *err);
enum err_code projection_device_verdict(struct projection *projection, struct err *err);
enum err_code projection_operator_added(struct projection *projection, struct err *err);
enum err_code projection_operator_removed(struct projection *projection, struct err *err);
enum err_code projection_incident(struct projection *projection, struct err *err);
