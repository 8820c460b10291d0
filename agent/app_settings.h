/* SPDX-License-Identifier: Apache-2.0
 *
 * What an app is given beside its release: feature flags as files, secrets in memory, the user its
 * programs run as, and word of a change. Flags follow the accepted desired state of the channel,
 * secrets the accepted document about the device, both at once, whatever release runs; they are in
 * place before a service is started. app_settings.c; for the files of app_private.h alone.
 */
#pragma once

#include "agent/app_reload.h"
#include "agent/io/app_files.h"
#include "agent/io/secret_folder.h"

struct app_settings {
    bool has_user;
    struct app_user user; /* when has_user */
    char flags[APP_FILES_PATH_MAX], flags_env[APP_FILES_PATH_MAX];
    char due[APP_FILES_PATH_MAX]; /* a file that is there while services are to be told */
    char secrets[SECRET_FOLDER_PATH_MAX];

    bool flags_due, secrets_due; /* to be looked at in this turn's deeds */
    bool here;                   /* the app is, or is to be, on this device: it has secrets */
    struct err flags_err, secrets_err;
    uint64_t told;       /* hash of the complaint told last */
    uint64_t generation; /* of the device's document whose secrets for this app are in place */

    struct app_reload *reload;
    struct loop_timer again, sweep;
};
