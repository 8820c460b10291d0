/* SPDX-License-Identifier: Apache-2.0
 *
 * What the commands of flags and secrets read from their words, apart so that it can be tested.
 */
#pragma once

#include "captain/cli/command.h"
#include "common/base/str.h"

/* "12.5" -> 1250; at most two decimals, 0.01 to 100. ERR_USAGE. */
MUST_USE enum err_code setting_percent(const char *text, uint32_t *ret_permyriad, struct err *err);
/* What devices outside the percentage have: the other of true and false, else nothing. */
const char *setting_otherwise(const char *value);

enum { SETTING_VALUE_MAX = 4096 };

/* The value of a secret: from a file, stdin ("-") or a variable ("env://NAME"), byte for byte: a newline
 * at its end stays, as kubectl and systemd-creds leave it. 1 to SETTING_VALUE_MAX bytes; the caller
 * wipes ret. ERR_USAGE, ERR_NOT_FOUND, ERR_SIZE. */
MUST_USE enum err_code setting_read_value(const char *from, uint8_t ret[SETTING_VALUE_MAX],
                                          size_t *ret_len, struct err *err);
/* "APP/NAME" and the scope that --channel, --site or --device give ("" for none of them). ERR_USAGE. */
MUST_USE enum err_code setting_secret_name(const struct invocation *invocation,
                                           char ret_app[static TOKEN_MAX + 1],
                                           const char **ret_name, const char **ret_scope,
                                           struct err *err);
