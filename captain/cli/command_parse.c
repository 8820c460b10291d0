/* SPDX-License-Identifier: Apache-2.0
 *
 * argv -> invocation, by getopt_long over the flags of all commands together, so that flags may
 * stand before the command as well as behind it; which flags the command takes is checked
 * afterwards.
 */
#include "captain/cli/command.h"

#include <getopt.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/str.h"

enum { LONG_BASE = 1000 }; /* above every letter */

struct tables {
    struct option options[FLAG_COUNT + 1];
    char letters[2 * FLAG_COUNT + 4];
};

static void tables_fill(struct tables *tables)
{
    size_t at = 0;
    memset(tables, 0, sizeof *tables);
    tables->letters[at++] = '-'; /* arguments come in order, as options of code 1 */
    tables->letters[at++] = ':';
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        const struct flag *flag = &command_flags[i];
        tables->options[i] = (struct option){
            flag->name, flag->value ? required_argument : no_argument, NULL, (int)(LONG_BASE + i)};
        if (flag->letter == 0)
            continue;
        tables->letters[at++] = flag->letter;
        if (flag->value)
            tables->letters[at++] = ':';
    }
}

/* The flag of a getopt code; FLAG_COUNT for none. */
static size_t flag_of(int code)
{
    if (code >= LONG_BASE)
        return (size_t)(code - LONG_BASE);
    for (size_t i = 0; i < FLAG_COUNT; i++)
        if (code > 1 && command_flags[i].letter == code)
            return i;
    return FLAG_COUNT;
}

static enum err_code unknown_flag(const char *word, const struct command *command, struct err *err)
{
    char name[64] = "";
    size_t len = strcspn(word, "=");
    if (len < sizeof name)
        memcpy(name, word, len);
    struct suggestion suggestion;
    suggest_start(&suggestion, name + strspn(name, "-"));
    for (size_t i = 0; i < FLAG_COUNT; i++)
        if (command == NULL || command_takes(command, (enum flag_id)i))
            suggest_offer(&suggestion, command_flags[i].name);
    const char *best = suggest_best(&suggestion);
    err_set(err, ERR_USAGE, "there is no flag %s", name);
    if (best)
        return err_hint(err, "did you mean --%s?", best);
    return err_hint(err, "captain help");
}

/* getopt_long takes every unambiguous beginning of a name; this house takes none. */
static bool abbreviated(const char *word, const struct flag *flag)
{
    return strncmp(word, "--", 2) == 0 && (strlen(flag->name) != strcspn(word + 2, "=") ||
                                           strncmp(word + 2, flag->name, strlen(flag->name)) != 0);
}

static enum err_code take_arg(struct invocation *ret, const char *text, struct err *err)
{
    if (ret->args_len == COMMAND_ARGS_MAX)
        return err_set(err, ERR_USAGE, "too many arguments, beginning with %s", text);
    ret->args[ret->args_len++] = text;
    return ERR_OK;
}

static enum err_code take_flag(struct invocation *ret, int code, const char *word, struct err *err)
{
    size_t id = flag_of(code);
    if (code == ':') {
        err_set(err, ERR_USAGE, "%s needs a value", word);
        return err_hint(err, "%s VALUE", word);
    }
    if (id == FLAG_COUNT || abbreviated(word, &command_flags[id]))
        return unknown_flag(word, NULL, err);
    if (ret->flags[id])
        return err_set(err, ERR_USAGE, "--%s is given twice", command_flags[id].name);
    ret->flags[id] = optarg ? optarg : "";
    return ERR_OK;
}

static enum err_code split(int argc, char **argv, struct invocation *ret, struct err *err)
{
    struct tables tables;
    tables_fill(&tables);
    optind = 0; /* starts anew, GNU's way */
    opterr = 0;
    for (;;) {
        const char *word = argv[optind ? optind : 1];
        int code = getopt_long(argc, argv, tables.letters, tables.options, NULL);
        if (code == -1)
            break;
        enum err_code result =
            code == 1 ? take_arg(ret, optarg, err) : take_flag(ret, code, word, err);
        if (result)
            return result;
    }
    for (int i = optind; i < argc; i++) /* behind "--" */
        if (take_arg(ret, argv[i], err))
            return err->code;
    return ERR_OK;
}

static enum err_code unknown_noun(const char *noun, struct err *err)
{
    struct suggestion suggestion;
    suggest_start(&suggestion, noun);
    for (size_t i = 0; i < commands_len; i++)
        suggest_offer(&suggestion, commands[i].noun);
    const char *best = suggest_best(&suggestion);
    err_set(err, ERR_USAGE, "there is no command %s", noun);
    return best ? err_hint(err, "did you mean captain %s?", best) : err_hint(err, "captain help");
}

static enum err_code unknown_verb(const char *noun, const char *verb, struct err *err)
{
    struct suggestion suggestion;
    suggest_start(&suggestion, verb ? verb : "");
    char verbs[256] = "";
    for (size_t i = 0; i < commands_len; i++) {
        if (!str_equal(commands[i].noun, noun))
            continue;
        suggest_offer(&suggestion, commands[i].verb);
        if (verbs[0])
            strncat(verbs, ", ", sizeof verbs - strlen(verbs) - 1);
        strncat(verbs, commands[i].verb, sizeof verbs - strlen(verbs) - 1);
    }
    if (verb == NULL) {
        err_set(err, ERR_USAGE, "captain %s needs a verb: %s", noun, verbs);
        return err_hint(err, "captain help %s", noun);
    }
    const char *best = suggest_best(&suggestion);
    err_set(err, ERR_USAGE, "captain %s knows no %s, but: %s", noun, verb, verbs);
    return best ? err_hint(err, "did you mean captain %s %s?", noun, best)
                : err_hint(err, "captain help %s", noun);
}

/* Finds the command and leaves its own arguments in args. */
static enum err_code find(struct invocation *ret, struct err *err)
{
    const char *noun = ret->args[0];
    const char *verb = ret->args_len > 1 ? ret->args[1] : NULL;
    bool known = false;
    for (size_t i = 0; i < commands_len && !ret->command; i++) {
        if (!str_equal(commands[i].noun, noun))
            continue;
        known = true;
        if (commands[i].verb == NULL || str_equal(commands[i].verb, verb))
            ret->command = &commands[i];
    }
    if (!ret->command)
        return known ? unknown_verb(noun, verb, err) : unknown_noun(noun, err);
    size_t words = ret->command->verb ? 2 : 1;
    ret->args_len -= words;
    memmove(ret->args, ret->args + words, ret->args_len * sizeof *ret->args);
    return ERR_OK;
}

static enum err_code check_flags(const struct invocation *invocation, struct err *err)
{
    const struct command *command = invocation->command;
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        if (!invocation->flags[i] || command_takes(command, (enum flag_id)i))
            continue;
        err_set(err, ERR_USAGE, "captain %s%s%s has no flag --%s", command->noun,
                command->verb ? " " : "", command->verb ? command->verb : "",
                command_flags[i].name);
        return err_hint(err, "captain help %s%s%s", command->noun, command->verb ? " " : "",
                        command->verb ? command->verb : "");
    }
    return ERR_OK;
}

static enum err_code check_args(const struct invocation *invocation, struct err *err)
{
    const struct command *command = invocation->command;
    if (invocation->args_len >= command->args_min && invocation->args_len <= command->args_max)
        return ERR_OK;
    bool few = invocation->args_len < command->args_min;
    err_set(err, ERR_USAGE, "%s%s",
            few ? "an argument is missing" : "there is an argument too many: ",
            few ? "" : invocation->args[command->args_max]);
    return err_hint(err, "captain %s%s%s %s", command->noun, command->verb ? " " : "",
                    command->verb ? command->verb : "", command->usage);
}

enum err_code command_parse(int argc, char **argv, struct invocation *ret, struct err *err)
{
    ret->program = argc > 0 ? argv[0] : "captain";
    if (argc < 1 || split(argc, argv, ret, err))
        return err->code;
    bool asks = ret->flags[FLAG_HELP] || ret->flags[FLAG_VERSION];
    if (ret->args_len == 0) {
        if (asks)
            return ERR_OK;
        err_set(err, ERR_USAGE, "no command was given");
        return err_hint(err, "captain help");
    }
    if (find(ret, err) || check_flags(ret, err))
        return err->code;
    return asks ? ERR_OK : check_args(ret, err);
}
