/* SPDX-License-Identifier: Apache-2.0
 *
 * What a new device starts from (TrustBundle), as a file of FOLDER/trust named by its SHA-256, which the
 * HTTP server gives away and the operator gives to the device. Nothing in it is secret.
 */
#pragma once

#include "common/base/str.h"

enum { TRUST_BUNDLE_URLS_MAX = 8 };

struct trust_bundle_parts {
    const char *folder; /* enroll.creds is read there */
    const char *tenant;
    const char *ca_path;   /* PEM */
    struct bytes root;     /* envelope */
    const char *nats_urls; /* several with commas */
};

/* Writes the file, if it is not there yet; *ret_fingerprint: its hash. */
MUST_USE enum err_code trust_bundle_write(const struct trust_bundle_parts *parts,
                                          char ret_fingerprint[static DIGEST_HEX], struct err *err);

/* Cuts urls at their commas, into text (copied there); ERR_SIZE, ERR_FULL. */
MUST_USE enum err_code trust_bundle_split(const char *urls, char *text, size_t text_size,
                                          const char *ret[static TRUST_BUNDLE_URLS_MAX],
                                          size_t *ret_len, struct err *err);
