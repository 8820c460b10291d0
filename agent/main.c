/* SPDX-License-Identifier: Apache-2.0 */
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/enroll.h"
#include "agent/inspect.h"
#include "agent/options.h"
#include "common/no_dump.h"

enum { CONFIG_ARENA_MAX_BYTES = 4 << 20 };

/* The parent ends here, with the agent's code in *ret_exit. */
static enum err_code run_supervised(const struct config *config, int *ret_exit, struct err *err)
{
    struct supervisor_link link;
    const char *wanted = getenv("CAPTAIN_AGENT_SUPERVISOR");
    if (!config->supervised || (wanted && str_equal(wanted, "0")))
        return agent_run(config, NULL, err);
    if (supervisor_run(config, &link, ret_exit, err))
        return agent_run(config, &link, err);
    return *ret_exit < 0 ? err->code : ERR_OK;
}

/* What reads foreign bytes does not run as root, whether the configuration names a user or not. */
static const char *default_fetch_user(void)
{
    if (geteuid() != 0)
        return NULL;
    return getpwnam("captain-fetch") ? "captain-fetch" : "nobody";
}

static enum err_code say(const char *text, struct err *err)
{
    size_t len = strlen(text);
    if (write(STDOUT_FILENO, text, len) == (ssize_t)len)
        return ERR_OK;
    return err_set(err, ERR_FAILED, "cannot write to standard output");
}

static void say_line(const char *line)
{
    char text[ERR_TEXT_MAX * 2];
    struct err err;
    int len = snprintf(text, sizeof text, "%.1000s\n", line);
    if (len > 0 && say(text, &err) != ERR_OK)
        log_err("error", &err);
}

static enum err_code run_agent(const struct options *options, struct arena *arena, int *ret_exit,
                               struct err *err)
{
    struct config config;
    if (config_load(options->config, arena, &config, err) != ERR_OK)
        return ERR_USAGE;
    log_open("captain-agent", config.log_level);
    if (!config.fetch_user)
        config.fetch_user = default_fetch_user();
    return run_supervised(&config, ret_exit, err);
}

static enum err_code enroll(const struct options *options, struct arena *arena, struct err *err)
{
    struct config config;
    struct enroll_options enroll = {.config_path = options->config,
                                    .url = options->url,
                                    .token = options->token,
                                    .fingerprint = options->fingerprint,
                                    .wait_ms = options->wait_ms,
                                    .say = say_line};
    if (config_read(options->config, arena, &config, err) != ERR_OK)
        return ERR_USAGE;
    log_open("captain-agent", config.log_level);
    if (!config.fetch_user)
        config.fetch_user = default_fetch_user();
    return enroll_run(&enroll, &config, arena, err);
}

static enum err_code verify(const struct options *options, struct arena *arena, struct err *err)
{
    struct config config;
    if (options->root)
        return inspect_release(options->root, options->file, say_line, err);
    if (config_load(options->config, arena, &config, err) != ERR_OK)
        return ERR_USAGE;
    return inspect_device(&config, say_line, err);
}

static enum err_code run(const struct options *options, int *ret_exit, struct err *err)
{
    struct arena arena;
    enum err_code code = ERR_OK;
    arena_init(&arena, CONFIG_ARENA_MAX_BYTES);
    switch (options->command) {
    case OPTIONS_RUN:
        code = run_agent(options, &arena, ret_exit, err);
        break;
    case OPTIONS_ENROLL:
        code = enroll(options, &arena, err);
        break;
    case OPTIONS_VERIFY:
        code = verify(options, &arena, err);
        break;
    case OPTIONS_DEADMAN:
        code = supervisor_deadman(options->deadman, err);
        break;
    case OPTIONS_TEXT:
        code = say(options->text, err);
        break;
    }
    arena_fini(&arena);
    return code;
}

/* OPERATORS.md, "Exit codes", and SECURITY.md for 10 to 22. */
static int exit_code(enum err_code code)
{
    bool told = code <= ERR_UNHEALTHY || code == ERR_TIMEOUT || code == ERR_INTERRUPTED;
    return told ? (int)code : 1;
}

int main(int argc, char **argv)
{
    struct options options;
    struct err err = {.code = ERR_OK};
    int exit_of_agent = -1;
    no_dump();
    (void)signal(SIGPIPE, SIG_IGN);
    log_open("captain-agent", LOG_LEVEL_INFO);
    enum err_code code = options_read(argc, argv, &options, &err);
    if (code == ERR_OK)
        code = run(&options, &exit_of_agent, &err);
    if (code != ERR_OK)
        log_err("error", &err);
    return exit_of_agent >= 0 ? exit_of_agent : exit_code(code);
}
