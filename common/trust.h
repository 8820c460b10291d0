/* SPDX-License-Identifier: Apache-2.0
 *
 * PURE: which signed document is accepted, or the reason why not (err_code 10 to 20), in the order of
 * the house's rules. No clock, file or memory of its own: time and what was seen before are parameters;
 * what must be remembered is told back. Device, captain and CLI ask this one core.
 */
#pragma once

#include "common/base/arena.h"
#include "common/sign.h"
#include "proto/messages.h"

#define TRUST_ROLE_ROOT "root"
#define TRUST_ROLE_RELEASE "release"
#define TRUST_ROLE_DESIRED "desired"

enum {
    TRUST_CLOCK_SKEW_MS = 10 * 60 * 1000, /* how far a clock may lie behind the last signed time */
};
/* As now_ms: neither expiry nor the clock is asked. For what was accepted before and is remembered, and
 * for looking at a document without a device. */
#define TRUST_ANY_TIME INT64_MIN

/* A root that can be kept to: each role once, the three among them; usable keys, unique in their role;
 * reachable thresholds. ERR_ROOT_CHAIN with the role in the text. */
MUST_USE enum err_code trust_root_form(const struct root *root, struct err *err);
/* A trust anchor: of that form and signed by its own root role. Expiry is not looked at. ret lives in
 * the arena. */
MUST_USE enum err_code trust_root_anchor(struct bytes envelope, struct arena *arena,
                                         struct root *ret, struct err *err);
/* The next root: version exactly one more, the same tenant, signed by the threshold of the old root's
 * root role and by that of its own. Expiry of the old one is not looked at: that is how a device comes
 * back. ERR_ROOT_CHAIN (version, tenant, form), ERR_ROLLBACK (a version that is not newer),
 * ERR_BAD_SIGNATURE, ERR_THRESHOLD. */
MUST_USE enum err_code trust_root_next(const struct root *old, struct bytes envelope,
                                       struct arena *arena, struct root *ret, struct err *err);
/* Whether the keys or the threshold of a role differ: counters that the role's documents raised start
 * anew then. */
bool trust_role_changed(const struct root *old, const struct root *next, const char *role);
bool trust_role_has(const struct root *root, const char *role,
                    const uint8_t key[static SIGN_PUBLIC_BYTES]);
/* ERR_EXPIRED at now_ms. */
MUST_USE enum err_code trust_root_fresh(const struct root *root, int64_t now_ms, struct err *err);
/* What is odd but allowed, one sentence each ("role release: one key of one is enough"); at most max.
 * For `root lint` and `doctor`. In the arena. */
size_t trust_root_lint(const struct root *root, int64_t now_ms, struct arena *arena,
                       const char **ret, size_t max);

/* What a device, or captain, is. NULL: any. */
struct trust_target {
    const char *tenant;
    const char *app, *channel;        /* of a desired state */
    const char *device;               /* "site/device", of a document about one device */
    const char *os, *arch, *hardware; /* of a release: some artifact must fit each path it has */
    const char *agent_version;        /* a release may ask for a newer one */
};
/* What was seen of this channel (or device document) before. */
struct trust_seen {
    struct bytes last;        /* envelope accepted last; empty: none or lost */
    uint64_t last_generation; /* of it */
    uint64_t generation;      /* trusted counter */
};

/* Root unexpired, signature by role desired, meant for the target, not older than seen (equal only with
 * the same bytes), unexpired. The caller raises its counters to ret's generation and issued time before
 * it acts. */
MUST_USE enum err_code trust_check_desired(const struct root *root, struct bytes envelope,
                                           const struct trust_target *target,
                                           const struct trust_seen *seen, int64_t now_ms,
                                           struct arena *arena, struct desired *ret,
                                           struct err *err);
MUST_USE enum err_code trust_check_device(const struct root *root, struct bytes envelope,
                                          const struct trust_target *target,
                                          const struct trust_seen *seen, int64_t now_ms,
                                          struct arena *arena, struct device_desired *ret,
                                          struct err *err);

/* Whether an artifact is for the target. */
bool trust_artifact_fits(const struct artifact *artifact, const struct trust_target *target);
/* The lowest sequence of the app that the root allows. */
uint64_t trust_floor(const struct root *root, const char *app);
/* ERR_EXPIRED "clock unsure" when now_ms is more than TRUST_CLOCK_SKEW_MS before the last signed time. */
MUST_USE enum err_code trust_check_clock(int64_t signed_ms, int64_t now_ms, struct err *err);

/* A release for installing: digest (NULL: any) of the payload first (ERR_HASH), then signatures, target,
 * expiry, revocation, floor (the root's or the larger floor_seen), clock (ERR_EXPIRED "clock unsure" when
 * now is before signed_ms). */
struct trust_release_want {
    const uint8_t *digest; /* 32 bytes; NULL: any */
    uint64_t floor_seen;   /* trusted counter of the app's floor */
    int64_t signed_ms;     /* last signed time seen of any document; 0: none */
};
MUST_USE enum err_code trust_check_release(const struct root *root, struct bytes envelope,
                                           const struct trust_release_want *want,
                                           const struct trust_target *target, int64_t now_ms,
                                           struct arena *arena, struct release *ret,
                                           uint8_t ret_digest[static 32], struct err *err);
/* One that is installed already and was checked then: its bytes are still those (digest) and readable;
 * keys, expiry and revocation are not asked again, since what runs keeps running. */
MUST_USE enum err_code trust_check_installed(struct bytes envelope, const uint8_t digest[static 32],
                                             const char *app, struct arena *arena,
                                             struct release *ret, struct err *err);
