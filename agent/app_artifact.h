/* SPDX-License-Identifier: Apache-2.0
 *
 * One artifact, from the stores to its place in a staged release:
 *
 *   staging/incoming/<sha256>   the transfer's user writes here, and nowhere else
 *   staging/copy                the agent's copy of it, only in doubt (verify.h)
 *   staging/unpack/tree         the transfer's user unpacks the verified archive here
 *   staging/root/               the agent's alone: only what was verified gets a name in it
 *
 * Each helper is gone when the next step begins, each has a folder that the others never saw, and
 * staging itself cannot be entered by their user.
 */
#pragma once

#include "agent/config.h"
#include "common/loop.h"
#include "proto/messages.h"

struct app_artifact;

struct app_artifact_order {
    struct loop *loop;
    const struct config *config; /* helper, user, ca; borrowed, as all here, until the end */
    const char *staging;         /* the agent's */
    const struct artifact *artifact;
    const char *const *urls; /* ended by NULL */
    void (*progress)(void *arg, uint64_t done_bytes, uint64_t total_bytes);
    /* Runs once, never before app_artifact_start returned; the object is freed when it returns. */
    void (*done)(void *arg, const struct err *err);
    void *arg;
};

MUST_USE enum err_code app_artifact_start(const struct app_artifact_order *order,
                                          struct app_artifact **ret, struct err *err);
/* done will not run; partial files stay. NULL is fine. */
void app_artifact_cancel(struct app_artifact *artifact);

/* Where a transfer of that name writes (made if missing: 0700). ret takes APP_ARTIFACT_PATH_BYTES. */
enum { APP_ARTIFACT_PATH_BYTES = 2304 };
MUST_USE enum err_code app_artifact_incoming(const char *staging, const char *name, char *ret,
                                             struct err *err);
/* Bytes of the disk that earlier tries of this release use already. */
uint64_t app_artifact_bytes_there(const char *staging);
