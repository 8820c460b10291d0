/* SPDX-License-Identifier: Apache-2.0
 *
 * The request of a device that wants in, out of its envelope. It names the keys it is signed by, so it
 * is read, within the codec's limits, before its signatures can be checked; nothing of it is believed
 * until they are. Key ids of the signatures must be there: each key is checked against one signature,
 * so that a bad request costs at most two. No clock, table or bus.
 */
#pragma once

#include "common/sign.h"
#include "proto/messages_enrol.h"

enum { ENROL_MAX_BYTES = 4096, ENROL_SIGNATURES_MAX = 2 };

/* Size, form, usable keys, and the signature of the device's key. ret lives in the arena, as does what
 * it points to. ERR_SIZE, ERR_MALFORMED, ERR_BAD_SIGNATURE. */
MUST_USE enum err_code enrol_request_read(struct bytes envelope, struct arena *arena,
                                          struct enrol_request *ret, struct err *err);
/* That key has signed it too; after enrol_request_read. ERR_BAD_SIGNATURE. */
MUST_USE enum err_code enrol_request_signed_by(struct bytes envelope,
                                               const uint8_t key[static SIGN_PUBLIC_BYTES],
                                               struct arena *arena, struct err *err);
/* The grant, sealed to the request's X25519 key; ERR_MALFORMED when that is none. */
MUST_USE enum err_code enrol_request_seal(const struct enrol_request *request,
                                          const struct enrol_grant *grant, struct arena *arena,
                                          struct bytes *ret, struct err *err);
