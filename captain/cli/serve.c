/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/captain.h"
#include "captain/cli/command.h"
#include "captain/cli/context.h"
#include "captain/cli/dev_proc.h"
#include "captain/io/settings.h"
#include "common/log.h"

static const char *first(const char *a, const char *b)
{
    return a && a[0] ? a : b;
}

/* The fleet's own folder says how captain is reached; flags come before it. A context is of a person and
 * counts only where `captain init` has not been. */
static enum err_code read_options(const struct invocation *invocation, struct captain_options *ret,
                                  struct err *err)
{
    const char *const *flags = invocation->flags;
    const char *folder = first(flags[FLAG_DATA], "/var/lib/captain");
    struct settings settings = {0};
    struct context context = {0};
    enum err_code code = settings_load(folder, invocation->arena, &settings, err);
    if (code == ERR_NOT_FOUND) {
        *err = (struct err){0};
        code = context_resolve(invocation, &context, err);
    }
    *ret = (struct captain_options){
        .folder = folder,
        .nats_url = first(flags[FLAG_NATS], first(settings.nats_url, context.url)),
        .nats_creds = first(flags[FLAG_CREDS], first(settings.nats_creds, context.creds)),
        .nats_ca = first(flags[FLAG_CA], first(settings.nats_ca, context.ca)),
        .listen = first(flags[FLAG_LISTEN], settings.listen),
        .store_url = first(flags[FLAG_STORE_URL], settings.store_url),
        .tls_cert = settings.tls_cert,
        .tls_key = settings.tls_key,
        .tenant = first(flags[FLAG_TENANT], settings.tenant),
        .master_key = settings.master_key,
        .fetch_helper = dev_proc_find("captain-fetch", "../agent/captain-fetch", CAPTAIN_LIBEXEC,
                                      invocation->arena),
    };
    return code;
}

enum err_code cmd_serve(struct invocation *invocation, struct err *err)
{
    const char *const *flags = invocation->flags;
    enum log_level level = LOG_LEVEL_INFO;
    if (flags[FLAG_LOG_LEVEL] && log_parse_level(flags[FLAG_LOG_LEVEL], &level)) {
        err_set(err, ERR_USAGE, "--log-level %s is none of error, warning, info, debug",
                flags[FLAG_LOG_LEVEL]);
        return err_hint(err, "--log-level info");
    }
    struct captain_options options;
    if (read_options(invocation, &options, err))
        return err->code;
    log_open("captain", level);
    return captain_serve(&options, err);
}
