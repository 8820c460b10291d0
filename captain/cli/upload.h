/* SPDX-License-Identifier: Apache-2.0
 *
 * Artifacts to captain and back, in pieces. Both ways resume and both ways the digest is checked.
 */
#pragma once

#include "captain/cli/client.h"

enum { UPLOAD_PIECE_BYTES = 512 << 10 };

struct upload {
    const char *path;  /* of the file */
    const char *label; /* for people */
    struct bytes sha256;
    uint64_t size_bytes;
    uint64_t *sent_bytes; /* adds what was really sent */
};

/* Asks what captain has, sends the rest. */
MUST_USE enum err_code upload_artifact(struct client *client, const struct upload *upload,
                                       struct err *err);

/* Into path (made 0600) by way of a temporary neighbour; ERR_HASH when captain's copy is not that
 * digest. */
MUST_USE enum err_code download_artifact(struct client *client, struct bytes sha256,
                                         const char *path, struct err *err);
