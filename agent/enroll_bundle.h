/* SPDX-License-Identifier: Apache-2.0
 *
 * The first half of enrolment: what the fingerprint stands for is fetched, checked and kept.
 */
#pragma once

#include "agent/enroll.h"

/* Fetches, checks (hash, tenant, root document) and writes CA, enrolment credential, addresses and
 * root document; a root document that is there and newer stays. */
MUST_USE enum err_code enroll_bundle(const struct enroll_options *options,
                                     const struct config *config, struct arena *arena,
                                     struct err *err);
