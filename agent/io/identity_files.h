/* SPDX-License-Identifier: Apache-2.0
 *
 * Who this device is, on disk:
 *   FOLDER/identity/ (0700)   device.nk     its NATS key          made once, never overwritten
 *                             seal.key      its X25519 key        made once, never overwritten
 *                             device.creds  its credential        replaced at each renewal
 *                             enroll.creds  what it may ask with when that one has run out
 *                             ca.pem        of the NATS server
 *                             nats.json     {"urls": [...], "tenant": "..."}
 *                             lock          who enrols
 *   FOLDER/root.dsse          the newest root document
 * Files are 0600 and each is replaced by one rename, so a crash leaves the old one or the new one.
 */
#pragma once

#include <stdbool.h>

#include "common/base/arena.h"
#include "common/sign.h"

enum { IDENTITY_PATH_MAX = 1280, IDENTITY_URLS_MAX = 8, IDENTITY_SEAL_BYTES = 32 };

enum identity_file {
    IDENTITY_DEVICE_KEY,
    IDENTITY_SEAL_KEY,
    IDENTITY_DEVICE_CREDS,
    IDENTITY_ENROLL_CREDS,
    IDENTITY_CA,
    IDENTITY_NATS,
    IDENTITY_ROOT,
};

void identity_files_path(const char *folder, enum identity_file file,
                         char ret[static IDENTITY_PATH_MAX]);
bool identity_files_has(const char *folder, enum identity_file file);

struct identity_keys {
    struct sign_key device;
    uint8_t seal_public[IDENTITY_SEAL_BYTES], seal_secret[IDENTITY_SEAL_BYTES];
};

/* Makes the folder, and the keys that are missing. Returns the lock of whoever enrols: ERR_CONFLICT
 * names another; closing *ret_lock_fd releases it. A key that is there and cannot be read is an
 * error, and stays. */
MUST_USE enum err_code identity_files_make(const char *folder, int *ret_lock_fd,
                                           struct identity_keys *ret, struct err *err);
/* ERR_NOT_FOUND when one is missing. */
MUST_USE enum err_code identity_files_keys(const char *folder, struct identity_keys *ret,
                                           struct err *err);
/* Overwrites what is secret. */
void identity_keys_wipe(struct identity_keys *keys);

MUST_USE enum err_code identity_files_write(const char *folder, enum identity_file file,
                                            struct bytes data, struct err *err);

/* Of nats.json; in the arena. */
struct identity_nats {
    const char *url; /* all of them, with commas */
    const char *tenant;
};
MUST_USE enum err_code identity_files_read_nats(const char *folder, struct arena *arena,
                                                struct identity_nats *ret, struct err *err);
/* ERR_MALFORMED for an address that is not nats:// or tls://. */
MUST_USE enum err_code identity_files_write_nats(const char *folder, const char *const *urls,
                                                 size_t urls_len, const char *tenant,
                                                 struct err *err);
