/* SPDX-License-Identifier: Apache-2.0
 *
 * Help and completion, read from the command table.
 */
#include "captain/cli/command.h"

#include <stdio.h>
#include <string.h>

#include "captain/cli/output.h"

static void print_flag(const struct flag *flag)
{
    char left[64];
    char letter[8] = "    ";
    if (flag->letter)
        (void)snprintf(letter, sizeof letter, "-%c, ", flag->letter);
    (void)snprintf(left, sizeof left, "%s--%s%s%s", letter, flag->name, flag->value ? " " : "",
                   flag->value ? flag->value : "");
    output_line("  %-31s %s", left, flag->summary);
}

static void print_flags(uint64_t mask)
{
    for (size_t i = 0; i < FLAG_COUNT; i++)
        if (mask & FLAG_BIT(i))
            print_flag(&command_flags[i]);
}

static void print_command(const struct command *command)
{
    output_line("captain %s%s%s%s%s [flags]", command->noun, command->verb ? " " : "",
                command->verb ? command->verb : "", command->usage[0] ? " " : "", command->usage);
    output_line("  %s", command->summary);
    if (command->flags) {
        output_line("%s", "");
        output_line("Flags:");
        print_flags(command->flags);
    }
    output_line("%s", "");
    output_line("Flags of every command:");
    print_flags(FLAGS_EVERYWHERE);
}

static void print_list(const char *noun)
{
    for (size_t i = 0; i < commands_len; i++) {
        const struct command *command = &commands[i];
        if (noun && !str_equal(command->noun, noun))
            continue;
        char left[80];
        (void)snprintf(left, sizeof left, "%s%s%s%s%s", command->noun, command->verb ? " " : "",
                       command->verb ? command->verb : "", command->usage[0] ? " " : "",
                       command->usage);
        output_line("  %-35s %s", left, command->summary);
    }
}

void help_print(const struct command *command, const char *noun)
{
    if (command) {
        print_command(command);
        return;
    }
    if (noun) {
        print_list(noun);
        output_line("\ncaptain help %s VERB says more.", noun);
        return;
    }
    output_line("captain [flags] NOUN VERB [NAME...]");
    output_line("  moves a fleet of devices from release to release\n");
    print_list(NULL);
    output_line("\nFlags of every command:");
    print_flags(FLAGS_EVERYWHERE);
    output_line("\ncaptain help NOUN VERB and man captain say more. Exit codes: 0 done, 1 failed,");
    output_line("2 usage, 3 not found, 4 not authorised, 5 conflict, 6 a rollout that failed,");
    output_line("8 no contact, 124 timeout, 130 interrupted.");
}

enum err_code cmd_help(struct invocation *invocation, struct err *err)
{
    const char *noun = invocation->args_len > 0 ? invocation->args[0] : NULL;
    const char *verb = invocation->args_len > 1 ? invocation->args[1] : NULL;
    if (!noun) {
        help_print(NULL, NULL);
        return ERR_OK;
    }
    bool known = false;
    for (size_t i = 0; i < commands_len; i++) {
        if (!str_equal(commands[i].noun, noun))
            continue;
        known = true;
        if (str_equal(commands[i].verb, verb)) {
            help_print(&commands[i], NULL);
            return ERR_OK;
        }
    }
    if (!known || verb) {
        err_set(err, ERR_USAGE, "there is no command %s%s%s", noun, verb ? " " : "",
                verb ? verb : "");
        return err_hint(err, "captain help");
    }
    help_print(NULL, noun);
    return ERR_OK;
}

/* `noun) words="verbs or flags";;` for each noun of the table. */
static void completion_nouns(void)
{
    for (size_t i = 0; i < commands_len; i++) {
        if (i > 0 && str_equal(commands[i].noun, commands[i - 1].noun))
            continue;
        char words[256] = "";
        for (size_t k = i; k < commands_len && str_equal(commands[k].noun, commands[i].noun); k++) {
            const char *word = commands[k].verb;
            if (word == NULL) /* "bash" of `completion bash` is a word, "[APP]" is none */
                word = strpbrk(commands[k].usage, "[@/ABCDEFGHIJKLMNOPQRSTUVWXYZ")
                           ? ""
                           : commands[k].usage;
            strncat(words, word, sizeof words - strlen(words) - 1);
            strncat(words, " ", sizeof words - strlen(words) - 1);
        }
        output_line("        %s) words=\"%s\" ;;", commands[i].noun, words);
    }
}

static void completion_flags(void)
{
    for (size_t i = 0; i < commands_len; i++) {
        char words[1024] = "";
        for (size_t k = 0; k < FLAG_COUNT; k++) {
            if (!command_takes(&commands[i], (enum flag_id)k))
                continue;
            strncat(words, "--", sizeof words - strlen(words) - 1);
            strncat(words, command_flags[k].name, sizeof words - strlen(words) - 1);
            strncat(words, " ", sizeof words - strlen(words) - 1);
        }
        output_line("        \"%s %s\") flags=\"%s\" ;;", commands[i].noun,
                    commands[i].verb ? commands[i].verb : "", words);
    }
}

enum err_code cmd_completion(struct invocation *invocation, struct err *err)
{
    if (!str_equal(invocation->args[0], "bash")) {
        err_set(err, ERR_USAGE, "there is no completion for %s", invocation->args[0]);
        return err_hint(err, "captain completion bash");
    }
    char nouns[512] = "";
    for (size_t i = 0; i < commands_len; i++) {
        if (i > 0 && str_equal(commands[i].noun, commands[i - 1].noun))
            continue;
        strncat(nouns, commands[i].noun, sizeof nouns - strlen(nouns) - 1);
        strncat(nouns, " ", sizeof nouns - strlen(nouns) - 1);
    }
    output_line("# bash completion of captain: source <(captain completion bash)");
    output_line("_captain() {");
    output_line("    local cur=\"${COMP_WORDS[COMP_CWORD]}\" noun=\"${COMP_WORDS[1]}\" "
                "verb=\"${COMP_WORDS[2]}\"");
    output_line("    local words= flags=");
    output_line("    if [ \"$COMP_CWORD\" -eq 1 ]; then words=\"%s\"; else", nouns);
    output_line("    case \"$noun\" in");
    completion_nouns();
    output_line("    esac; fi");
    output_line("    if [ \"$COMP_CWORD\" -gt 2 ]; then words=; fi");
    output_line("    case \"$noun $verb\" in");
    completion_flags();
    output_line("    *) case \"$noun \" in");
    completion_flags();
    output_line("    esac ;;");
    output_line("    esac");
    output_line("    case \"$cur\" in");
    output_line("    -*) COMPREPLY=($(compgen -W \"$flags\" -- \"$cur\")) ;;");
    output_line("    *) COMPREPLY=($(compgen -f -W \"$words\" -- \"$cur\")) ;;");
    output_line("    esac");
    output_line("}");
    output_line("complete -F _captain captain");
    return ERR_OK;
}
