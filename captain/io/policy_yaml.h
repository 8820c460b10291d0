/* SPDX-License-Identifier: Apache-2.0
 *
 * Policies as files: YAML -> struct policy (captain/core/policy.h), and back. Keys, units and defaults are
 * documented in captain-policy.yaml(5). Errors name file, line, column and the nearest known key.
 */
#pragma once

#include "captain/core/policy.h"
#include "common/base/arena.h"
#include "common/base/str.h"

enum { POLICY_YAML_MAX_BYTES = 64 << 10 };

/* name stands for the file in errors. An empty text with a known name ("careful", "normal", "fast") is that
 * policy. Checked by policy_check; a rule broken there names the line of the key too where it can. */
MUST_USE enum err_code policy_yaml_parse(const char *name, struct bytes text, struct policy *ret,
                                         struct err *err);
/* The whole policy as YAML that parses back to the same. */
MUST_USE enum err_code policy_yaml_write(const struct policy *policy, struct arena *arena,
                                         const char **ret, struct err *err);
