/* SPDX-License-Identifier: Apache-2.0
 *
 * An input of a rollout as it is stored, and back. The core knows members, sites and groups by number; what
 * is stored of a start and of those that join later carries their names, so that a replay needs nothing but
 * the stored inputs. The policy of a start is stored whole, with every default written out. Holds no rule.
 *
 * Packed members (RolloutInput.members), little-endian: version u8 (1), seed u64, has_base u8; number of
 * sites u32 and their names; number of groups u32 and their names; number of strata u32, each site u16 and
 * group u16; number of members u32, each stratum u16, pick u8, flags u8 (1 eligible, 2 online, 4 leased),
 * the lease's end i64 if leased, and the name "site/device". A name is a length u8 and its bytes. Hashes are
 * not stored: they follow from the names and the rollout's id.
 */
#pragma once

#include "captain/core/rollout.h"
#include "common/base/arena.h"
#include "proto/messages_rollout.h"

/* What the core does not know. Borrowed when packed; in the arena when unpacked. */
struct rollout_names {
    const char *const *sites;
    uint32_t sites_len;
    const char *const *groups;
    uint32_t groups_len;
    const char *const *devices; /* "site/device" of each member of START or JOIN */
    uint32_t devices_len;
};

/* names: of START (all) and JOIN (devices; sites and groups as they stand); else NULL. reason: an
 * operator's words or NULL. */
MUST_USE enum err_code rollout_codec_fill(const struct rollout_input *input,
                                          const struct rollout_names *names, const char *reason,
                                          struct arena *arena, struct rollout_stored_input *ret,
                                          struct err *err);
/* The same, encoded. */
MUST_USE enum err_code rollout_codec_pack(const struct rollout_input *input,
                                          const struct rollout_names *names, const char *reason,
                                          struct arena *arena, struct bytes *ret, struct err *err);
/* Everything that *ret points to is in the arena; the hashes of members stay 0 (rollout_codec_hash). ERR_MALFORMED. */
MUST_USE enum err_code rollout_codec_unpack(struct bytes in, struct arena *arena,
                                            struct rollout_input *ret,
                                            struct rollout_names *ret_names, struct err *err);
MUST_USE enum err_code rollout_codec_read(const struct rollout_stored_input *stored,
                                          struct arena *arena, struct rollout_input *ret,
                                          struct rollout_names *ret_names, struct err *err);
/* Sets the hashes of the members of a START or JOIN: id is the rollout's. */
void rollout_codec_hash(struct rollout_input *input, const struct rollout_names *names,
                        const char *id);
