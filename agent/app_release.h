/* SPDX-License-Identifier: Apache-2.0
 *
 * A release on this device's disk: its document, verified again from the stored envelope, and the
 * plan made of it.
 */
#pragma once

#include "agent/app_plan.h"
#include "agent/io/release_dir.h"
#include "agent/trust.h"

struct app_release {
    bool set;
    uint8_t digest[DIGEST_BYTES];
    struct arena arena; /* holds all below */
    struct release release;
    struct app_plan plan;
    bool planned; /* false: plan_err says what this device does not give it */
    struct err plan_err;
};

struct app_release_input {
    struct trust *trust;
    const struct config *config;
    const struct config_app *app;
    const struct release_dir *dir;
    const char *flags, *flags_env, *secrets; /* paths; see app_plan.h */
    const struct app_user *user;             /* NULL: the agent's own */
    const char *logs;                        /* folder of log files, or NULL: the journal */
};

/* Replaces what release holds. Errors are trust_check_installed's and file_read's; then nothing is held.
 * A zeroed struct holds nothing. */
MUST_USE enum err_code app_release_load(struct app_release *release,
                                        const struct app_release_input *input,
                                        const uint8_t digest[DIGEST_BYTES], struct err *err);
void app_release_clear(struct app_release *release);

/* Only looks: the document on disk is what was signed. */
MUST_USE enum err_code app_release_verify(const struct app_release_input *input,
                                          const uint8_t digest[DIGEST_BYTES], struct err *err);
/* As app_release_verify, and that it may still be installed (trust_release); only its data version
 * and how long it must be healthy are kept. */
MUST_USE enum err_code app_release_check(const struct app_release_input *input,
                                         const uint8_t digest[DIGEST_BYTES], int64_t now_ms,
                                         uint32_t *ret_data_version, uint32_t *ret_confirm_ms,
                                         struct err *err);
