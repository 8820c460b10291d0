/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/number.h"

#include "common/base/str.h"

enum err_code number_flag(const struct invocation *invocation, enum flag_id flag, uint32_t max,
                          uint32_t *ret, struct err *err)
{
    uint64_t value;
    const char *text = invocation->flags[flag];
    if (!text)
        return ERR_OK;
    if (str_u64(text, max, &value) || value == 0)
        return err_set(err, ERR_USAGE, "--%s %s is no number from 1 to %u",
                       command_flags[flag].name, text, max);
    *ret = (uint32_t)value;
    return ERR_OK;
}

enum err_code number_sequence(const char *text, uint64_t *ret, struct err *err)
{
    if (str_u64(text, INT64_MAX, ret) == ERR_OK && *ret > 0)
        return ERR_OK;
    err_set(err, ERR_USAGE, "%s is no number of the log", text);
    return err_hint(err, "captain log ls");
}
