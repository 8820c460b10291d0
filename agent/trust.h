/* SPDX-License-Identifier: Apache-2.0
 *
 * What this device accepts: the root document, a release, a desired state, each checked in the
 * order of the house's rules; the answer is the document or the reason. Counters are raised before
 * anything acts on the document.
 */
#pragma once

#include "agent/io/agent_store.h"

enum {
    TRUST_CLOCK_SKEW_MS = 10 * 60 * 1000
}; /* how far a device's clock may lie behind captain's */

struct trust;

/* Reads the trust anchor: a root document signed by its own root role, of this tenant, with usable
 * keys, not older than one seen before. An expired root opens (what runs keeps running); nothing
 * new is taken by it. */
MUST_USE enum err_code trust_open(const char *root_path, const char *tenant,
                                  struct agent_store *store, struct trust **ret, struct err *err);
/* NULL is fine. */
void trust_close(struct trust *trust);

/* Signature, tenant, app and channel, generation (below the last: ERR_ROLLBACK; equal only with the
 * same bytes), expiry. last is the envelope accepted last, or empty. ret lives in the arena. */
MUST_USE enum err_code trust_desired(struct trust *trust, struct bytes envelope, const char *app,
                                     const char *channel, struct bytes last,
                                     uint64_t last_generation, int64_t now_ms, struct arena *arena,
                                     struct desired *ret, struct err *err);

/* As trust_desired, for what this device ("site/device") alone is told. */
MUST_USE enum err_code trust_device(struct trust *trust, struct bytes envelope, const char *device,
                                    struct bytes last, uint64_t last_generation, int64_t now_ms,
                                    struct arena *arena, struct device_desired *ret,
                                    struct err *err);

/* For installing: digest of the payload (ERR_HASH, before anything else is looked at: another try
 * may bring the right bytes), signatures of the release role, app, expiry, revocation, floor, and
 * that the clock is not before the last signed time. */
MUST_USE enum err_code trust_release(struct trust *trust, struct bytes envelope,
                                     const uint8_t digest[DIGEST_BYTES], const char *app,
                                     int64_t now_ms, struct arena *arena, struct release *ret,
                                     struct err *err);

/* For a release that is installed already: digest, signatures and app only, since what runs keeps
 * running when it expires or is revoked. */
MUST_USE enum err_code trust_installed(struct trust *trust, struct bytes envelope,
                                       const uint8_t digest[DIGEST_BYTES], const char *app,
                                       struct arena *arena, struct release *ret, struct err *err);
