/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/captain.h"
#include "captain/cli/command.h"
#include "captain/cli/context.h"
#include "captain/cli/dev_proc.h"
#include "common/log.h"

enum err_code cmd_serve(struct invocation *invocation, struct err *err)
{
    const char *const *flags = invocation->flags;
    struct context context;
    enum log_level level = LOG_LEVEL_INFO;
    if (flags[FLAG_LOG_LEVEL] && log_parse_level(flags[FLAG_LOG_LEVEL], &level)) {
        err_set(err, ERR_USAGE, "--log-level %s is none of error, warning, info, debug",
                flags[FLAG_LOG_LEVEL]);
        return err_hint(err, "--log-level info");
    }
    if (context_resolve(invocation, &context, err))
        return err->code;
    log_open("captain", level);
    struct captain_options options = {
        .folder = flags[FLAG_DATA] ? flags[FLAG_DATA] : "/var/lib/captain",
        .nats_url = context.url,
        .nats_creds = context.creds,
        .nats_ca = context.ca,
        .listen = flags[FLAG_LISTEN],
        .store_url = flags[FLAG_STORE_URL],
        .tenant = flags[FLAG_TENANT],
        .fetch_helper = dev_proc_find("captain-fetch", "../agent/captain-fetch", CAPTAIN_LIBEXEC,
                                      invocation->arena),
    };
    return captain_serve(&options, err);
}
