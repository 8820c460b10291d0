/* SPDX-License-Identifier: Apache-2.0
 *
 * The fleet's keys in FOLDER/keys, and the signed root document FOLDER/root.dsse that agents take as
 * their trust anchor. captain itself needs desired.key and root.dsse; root.key and release.key lie there
 * where nobody keeps them elsewhere. What a root may say and what it allows is common/trust's to tell.
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

/* Whether captain can go on under this next root: trust_root_next, and that it names desired.key. ret lives
 * in the arena. */
MUST_USE enum err_code keys_check_root(const struct keys *keys, struct bytes envelope,
                                       struct arena *arena, struct root *ret, struct err *err);
/* Checked, in both files of FOLDER, in force. A cut between the two files is mended by keys_open. */
MUST_USE enum err_code keys_take_root(struct keys *keys, const char *folder, struct bytes envelope,
                                      struct err *err);

/* Verifies a release envelope against the root, revoked digests and floors, and decodes it into the
 * arena. Expiry is for devices to look at, when they install. */
MUST_USE enum err_code keys_open_release(const struct keys *keys, struct bytes envelope,
                                         struct arena *arena, struct release *ret,
                                         uint8_t ret_digest[DIGEST_BYTES], struct err *err);
