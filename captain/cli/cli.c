/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/cli.h"

#include <signal.h>

#include "captain/cli/command.h"
#include "captain/cli/output.h"

enum { ARENA_MAX_BYTES = 256 << 20 };

int cli_exit_code(enum err_code code)
{
    switch (code) {
    case ERR_OK:
    case ERR_USAGE:
    case ERR_NOT_FOUND:
    case ERR_DENIED:
    case ERR_CONFLICT:
    case ERR_NO_CONTACT:
    case ERR_TIMEOUT:
        return (int)code;
    case ERR_UNHEALTHY:
        return 6;
    case ERR_INTERRUPTED:
        return 130;
    default:
        return 1;
    }
}

static enum err_code open_output(const struct invocation *invocation, struct err *err)
{
    const char *format = invocation->flags[FLAG_FORMAT];
    bool json = invocation->flags[FLAG_JSON] || str_equal(format, "json");
    if (output_open(json, invocation->flags[FLAG_COLOR], err))
        return err->code;
    if (!format || str_equal(format, "json") || str_equal(format, "table"))
        return ERR_OK;
    err_set(err, ERR_USAGE, "there is no format %s", format);
    return err_hint(err, "-o table, -o json");
}

static enum err_code run(int argc, char **argv, struct invocation *invocation, struct err *err)
{
    if (output_open(false, NULL, err) || command_parse(argc, argv, invocation, err) ||
        open_output(invocation, err))
        return err->code;
    if (invocation->flags[FLAG_HELP]) {
        help_print(invocation->command, NULL);
        return ERR_OK;
    }
    if (invocation->flags[FLAG_VERSION])
        return cmd_version(invocation, err);
    return invocation->command->run(invocation, err);
}

int cli_main(int argc, char **argv)
{
    struct err err = {0};
    struct arena arena;
    struct invocation invocation = {.arena = &arena};
    arena_init(&arena, ARENA_MAX_BYTES);
    (void)signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of writing, not a death */
    enum err_code code = run(argc, argv, &invocation, &err);
    struct err flush = {0};
    if (output_flush(&flush) && code == ERR_OK) {
        err = flush;
        code = flush.code;
    }
    if (code)
        output_error(&err);
    arena_fini(&arena);
    bool reason = invocation.says_reason && code >= ERR_BAD_SIGNATURE && code <= ERR_ROOT_CHAIN;
    return reason ? (int)code : cli_exit_code(code);
}
