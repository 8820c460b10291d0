/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/command.h"
#include "captain/cli/output.h"

enum err_code cmd_version(struct invocation *invocation, struct err *err)
{
    (void)invocation;
    (void)err;
    if (output_is_json())
        output_line("{\n  \"version\": \"%s\"\n}", CAPTAIN_VERSION);
    else
        output_line("captain %s", CAPTAIN_VERSION);
    return ERR_OK;
}
