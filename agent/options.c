/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/options.h"

#include <getopt.h>
#include <string.h>

#include "agent/enroll.h"
#include "common/join_token.h"

static const char help[] =
    "usage: captain-agent --config FILE\n"
    "       captain-agent enroll --config FILE --url URL --token TOKEN --fingerprint HEX\n"
    "                            [--wait TIME]\n"
    "       captain-agent verify --config FILE\n"
    "       captain-agent verify --root ROOT FILE|DIR\n"
    "       captain-agent --deadman APPDIR\n"
    "\n"
    "Runs the releases that captain wants on this device. enroll makes the device known to\n"
    "captain, once; verify checks what is installed, or a release, and says why not.\n"
    "\n"
    "  --config FILE      the configuration (JSON)\n"
    "  --url URL          captain's store, as `captain token new` prints it\n"
    "  --token TOKEN      the join token; - reads it from standard input, env://NAME from\n"
    "                     the environment\n"
    "  --fingerprint HEX  what the store's answer must be\n"
    "  --wait TIME        for contact and an operator's approval, as in 10m (the default)\n"
    "  --root ROOT        the root document to check with; FILE is a release.dsse, DIR what\n"
    "                     `captain release export` wrote\n"
    "  --deadman DIR      take the app back if its dead-man record is due\n"
    "  --version          the version\n"
    "  --help             this text\n"
    "\n"
    "Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 not there, 4 refused, 5 in use\n"
    "or another device's (by whom is said), 8 no contact, 124 not approved in time; 10 bad\n"
    "signature, 11 too few signatures, 12 expired, 13 older than allowed, 14 wrong hash,\n"
    "15 size, 16 not for this device, 17 revoked, 18 malformed, 20 root chain.\n";

static char token[JOIN_TOKEN_TEXT + 64];

static enum err_code take_token(char *text, struct options *ret, struct err *err)
{
    if (str_copy(token, sizeof token, text) != ERR_OK)
        return err_set(err, ERR_USAGE, "--token: that is too long for a join token");
    if (strncmp(text, "env://", 6) != 0)
        memset(text, 'x', strlen(text));
    ret->token = token;
    return ERR_OK;
}

static enum err_code take(int key, char *value, struct options *ret, struct err *err)
{
    switch (key) {
    case 'c':
        ret->config = value;
        return ERR_OK;
    case 'd':
        ret->deadman = value;
        ret->command = OPTIONS_DEADMAN;
        return ERR_OK;
    case 'u':
        ret->url = value;
        return ERR_OK;
    case 't':
        return take_token(value, ret, err);
    case 'f':
        ret->fingerprint = value;
        return ERR_OK;
    case 'r':
        ret->root = value;
        return ERR_OK;
    case 'w':
        if (str_duration_ms(value, &ret->wait_ms) == ERR_OK && ret->wait_ms > 0)
            return ERR_OK;
        return err_set(err, ERR_USAGE, "--wait: \"%.40s\" must be a duration, as in \"10m\"",
                       value);
    default:
        ret->text = key == 'v' ? CAPTAIN_VERSION "\n" : help;
        ret->command = OPTIONS_TEXT;
        return ERR_OK;
    }
}

static const struct option run_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"deadman", required_argument, NULL, 'd'},
    {"version", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};
static const struct option enroll_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"url", required_argument, NULL, 'u'},
    {"token", required_argument, NULL, 't'},
    {"fingerprint", required_argument, NULL, 'f'},
    {"wait", required_argument, NULL, 'w'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};
static const struct option verify_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"root", required_argument, NULL, 'r'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static enum err_code need(const char *value, const char *name, struct err *err)
{
    return value ? ERR_OK : err_set(err, ERR_USAGE, "%s is missing", name);
}

static enum err_code check(const struct options *o, struct err *err)
{
    enum err_code code;
    switch (o->command) {
    case OPTIONS_RUN:
        return need(o->config, "--config FILE", err);
    case OPTIONS_ENROLL:
        if ((code = need(o->config, "--config FILE", err)) ||
            (code = need(o->url, "--url URL", err)) ||
            (code = need(o->fingerprint, "--fingerprint HEX", err)))
            return code;
        return need(o->token, "--token TOKEN", err);
    case OPTIONS_VERIFY:
        if (!o->root && !o->config)
            return err_set(err, ERR_USAGE, "--config FILE or --root ROOT is missing");
        if (o->root && o->config)
            return err_set(err, ERR_USAGE, "--config and --root are two ways to verify: choose");
        return o->root ? need(o->file, "the release to verify", err) : ERR_OK;
    case OPTIONS_DEADMAN:
    case OPTIONS_TEXT:
        break;
    }
    return ERR_OK;
}

/* What was typed wrong may be the token, which is not said again: what an error says ends up in logs. */
static enum err_code refuse_option(const char *text, struct err *err)
{
    return err_set(err, ERR_USAGE, "option %.*s is not known or lacks its value",
                   (int)strcspn(text, "="), text);
}

static enum err_code refuse_word(const char *text, struct err *err)
{
    if (strstr(text, "captain-"))
        return err_set(err, ERR_USAGE, "a join token needs --token before it");
    return err_set(err, ERR_USAGE, "\"%.100s\" is too much", text);
}

static enum err_code read_all(int argc, char **argv, const struct option *known,
                              struct options *ret, struct err *err)
{
    int key;
    opterr = 0;
    optind = 1;
    while ((key = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (key == '?')
            return refuse_option(argv[optind - 1], err);
        enum err_code code = take(key, optarg, ret, err);
        if (code != ERR_OK)
            return code;
    }
    if (optind < argc && ret->root)
        ret->file = argv[optind++];
    if (optind < argc)
        return refuse_word(argv[optind], err);
    return check(ret, err);
}

enum err_code options_read(int argc, char **argv, struct options *ret, struct err *err)
{
    static const struct {
        const char *name;
        enum options_command command;
        const struct option *known;
    } commands[] = {{"enroll", OPTIONS_ENROLL, enroll_options},
                    {"verify", OPTIONS_VERIFY, verify_options}};
    const struct option *known = run_options;
    struct options options = {.command = OPTIONS_RUN, .wait_ms = ENROLL_WAIT_MS};
    for (size_t i = 0; argc > 1 && i < sizeof commands / sizeof *commands; i++) {
        if (!str_equal(argv[1], commands[i].name))
            continue;
        options.command = commands[i].command;
        known = commands[i].known;
        argc--;
        argv++;
        break;
    }
    enum err_code code = read_all(argc, argv, known, &options, err);
    if (code != ERR_OK)
        return err_hint(err, "captain-agent --help");
    *ret = options;
    return ERR_OK;
}
