/* SPDX-License-Identifier: Apache-2.0 */
#include <getopt.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"

enum { CONFIG_ARENA_MAX_BYTES = 1 << 20 };

static const char help[] =
    "usage: captain-agent --config FILE\n"
    "       captain-agent --deadman APPDIR\n"
    "\n"
    "Runs the releases that captain wants on this device.\n"
    "\n"
    "  --config FILE  the configuration (JSON)\n"
    "  --deadman DIR  take the app back if its dead-man record is due\n"
    "  --version      the version\n"
    "  --help         this text\n"
    "\n"
    "Exit codes: 0 asked to end, 1 failed, 2 usage or configuration, 5 the folder is\n"
    "in use (by whom is said), 10 to 22 the trust anchor is not accepted.\n";

struct arguments {
    const char *config, *deadman;
    const char *text; /* to print instead of running */
};

static enum err_code read_arguments(int argc, char **argv, struct arguments *ret, struct err *err)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"deadman", required_argument, NULL, 'd'},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int key;
    opterr = 0;
    while ((key = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (key == 'c')
            ret->config = optarg;
        else if (key == 'd')
            ret->deadman = optarg;
        else if (key == 'v')
            ret->text = CAPTAIN_VERSION "\n";
        else if (key == 'h')
            ret->text = help;
        else
            return err_set(err, ERR_USAGE, "option %s is not known or lacks its value",
                           argv[optind - 1]);
    }
    if (optind < argc)
        return err_set(err, ERR_USAGE, "\"%s\" is too much", argv[optind]);
    if (!ret->config && !ret->deadman && !ret->text)
        return err_set(err, ERR_USAGE, "--config FILE is missing");
    return ERR_OK;
}

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

static enum err_code run(const char *path, int *ret_exit, struct err *err)
{
    struct arena arena;
    struct config config;
    arena_init(&arena, CONFIG_ARENA_MAX_BYTES);
    enum err_code code = config_load(path, &arena, &config, err);
    if (code != ERR_OK) {
        code = ERR_USAGE;
    } else {
        log_open("captain-agent", config.log_level);
        if (!config.fetch_user)
            config.fetch_user = default_fetch_user();
        code = run_supervised(&config, ret_exit, err);
    }
    arena_fini(&arena);
    return code;
}

/* OPERATORS.md, "Exit codes", and SECURITY.md for 10 to 22. */
static int exit_code(enum err_code code)
{
    return code <= ERR_UNHEALTHY ? (int)code : 1;
}

static int say(const char *text)
{
    size_t len = strlen(text);
    return write(STDOUT_FILENO, text, len) == (ssize_t)len ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct err err = {.code = ERR_OK};
    int exit_of_agent = -1;
    (void)signal(SIGPIPE, SIG_IGN);
    log_open("captain-agent", LOG_LEVEL_INFO);
    enum err_code code = read_arguments(argc, argv, &arguments, &err);
    if (code != ERR_OK)
        (void)err_hint(&err, "captain-agent --help");
    else if (arguments.text)
        return say(arguments.text);
    else if (arguments.deadman)
        code = supervisor_deadman(arguments.deadman, &err);
    else
        code = run(arguments.config, &exit_of_agent, &err);
    if (code != ERR_OK)
        log_err("error", &err);
    return exit_of_agent >= 0 ? exit_of_agent : exit_code(code);
}
