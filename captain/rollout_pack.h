/* SPDX-License-Identifier: Apache-2.0
 *
 * The members of a start as bytes; for rollout_codec.c alone, whose header tells the layout.
 */
#pragma once

#include "captain/rollout_codec.h"

MUST_USE enum err_code rollout_pack_members(const struct rollout_start *start,
                                            const struct rollout_names *names, struct arena *arena,
                                            struct bytes *ret, struct err *err);
/* policy stays NULL. */
MUST_USE enum err_code rollout_unpack_members(struct bytes in, struct arena *arena,
                                              struct rollout_start *ret,
                                              struct rollout_names *ret_names, struct err *err);
