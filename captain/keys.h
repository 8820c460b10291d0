/* SPDX-License-Identifier: Apache-2.0
 *
 * The fleet's keys in FOLDER/keys (root.key, release.key, desired.key; made at the first start for
 * now) and the signed root document FOLDER/root.dsse that agents take as their trust anchor.
 */
#pragma once

#include "common/sign.h"
#include "proto/messages.h"

struct keys {
    struct sign_key desired;
    struct bytes root_envelope; /* owned by arena */
    struct root root;           /* decoded from it */
    struct arena arena;
};

/* Loads, or makes what is missing when nothing is there at all. A folder with some of the files is
 * refused, naming the missing one. *ret_created says whether the root was made now. */
MUST_USE enum err_code keys_open(const char *folder, const char *tenant, int64_t now_ms,
                                 struct keys *ret, bool *ret_created, struct err *err);
void keys_close(struct keys *keys);

/* Verifies a release envelope against the root and decodes it into the arena. */
MUST_USE enum err_code keys_open_release(const struct keys *keys, struct bytes envelope,
                                         struct arena *arena, struct release *ret,
                                         uint8_t ret_digest[DIGEST_BYTES], struct err *err);
