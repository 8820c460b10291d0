/* SPDX-License-Identifier: Apache-2.0
 *
 * What this device accepts: the root document, a release, a desired state, each checked in the order of
 * the house's rules; the answer is the document or the reason. Counters are raised before anything acts
 * on the document.
 */
#pragma once

#include "agent/io/agent_store.h"

struct trust;

/* Reads the trust anchor: a root document signed by its own root role. */
MUST_USE enum err_code trust_open(const char *root_path, const char *tenant, struct agent_store *store,
                                  struct trust **ret, struct err *err);
void trust_close(struct trust *trust);

/* Signature, tenant, app and channel, generation (below the last: ERR_ROLLBACK; equal only with the same
 * bytes), expiry. last is the envelope accepted last, or empty. */
MUST_USE enum err_code trust_desired(struct trust *trust, struct bytes envelope, const char *app, const char *channel,
                                     struct bytes last, uint64_t last_generation, int64_t now_ms,
                                     struct arena *arena, struct desired *ret, struct err *err);
/* Signatures of the release role, digest of the payload, app, expiry, revocation, floor. */
MUST_USE enum err_code trust_release(struct trust *trust, struct bytes envelope,
                                     const uint8_t digest[DIGEST_BYTES], const char *app, int64_t now_ms,
                                     struct arena *arena, struct release *ret, struct err *err);
