/* SPDX-License-Identifier: Apache-2.0
 *
 * Selectors as operators write them: "ring=early,site=north", every one of which a device must have.
 */
#pragma once

#include "common/base/arena.h"
#include "common/base/cohort.h"
#include "proto/messages.h"

/* The labels are in the arena. ERR_MALFORMED with a sentence. */
MUST_USE enum err_code selector_parse(const char *text, struct arena *arena, struct selector *ret,
                                      struct err *err);
/* The same for common/base/cohort.h. */
MUST_USE enum err_code selector_rule(const char *text, struct arena *arena,
                                     struct cohort_selector *ret, struct err *err);
