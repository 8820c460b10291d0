/* SPDX-License-Identifier: Apache-2.0
 *
 * The one table of commands and flags. Parsing, help, bash completion and suggestions are all read
 * from it, so none of them can tell another story than the others.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/suggest.h"

/* A flag has the same shape and the same meaning in every command that takes it. */
enum flag_id {
    FLAG_CONTEXT, /* these up to FLAG_VERSION are understood by every command */
    FLAG_NATS,
    FLAG_CREDS,
    FLAG_CA,
    FLAG_OPERATOR,
    FLAG_TIMEOUT,
    FLAG_JSON,
    FLAG_FORMAT,
    FLAG_COLOR,
    FLAG_HELP,
    FLAG_VERSION,
    FLAG_FILE,
    FLAG_KEY,
    FLAG_BUNDLE,
    FLAG_REASON,
    FLAG_OUTPUT_DIR,
    FLAG_LIMIT,
    FLAG_SITE,
    FLAG_APP,
    FLAG_STATE,
    FLAG_AFTER,
    FLAG_BEFORE,
    FLAG_KIND,
    FLAG_SUBJECT,
    FLAG_URL,
    FLAG_RELEASE_KEY,
    FLAG_DATA,
    FLAG_LISTEN,
    FLAG_STORE_URL,
    FLAG_TENANT,
    FLAG_LOG_LEVEL,
    FLAG_AGENTS,
    FLAG_CHECK,
    FLAG_STATE_DIR,
    FLAG_KEEP,
    FLAG_POLICY,
    FLAG_WATCH,
    FLAG_GATE,
    FLAG_AT,
    FLAG_LIVE,
    FLAG_ALL,
    FLAG_SCENARIO,
    FLAG_ROLE,
    FLAG_TTL,
    FLAG_USES,
    FLAG_LABELS,
    FLAG_APPROVE,
    FLAG_FROM,
    FLAG_CHANNEL,
    FLAG_DEVICE,
    FLAG_PERCENT,
    FLAG_ROOT,
    FLAG_PASSPHRASE,
    FLAG_THRESHOLD,
    FLAG_ADD,
    FLAG_REMOVE,
    FLAG_FLOOR,
    FLAG_REVOKE,
    FLAG_SEQUENCE,
    FLAG_HOST,
    FLAG_SECURE,
    FLAG_WAIT,
    FLAG_YES,
    FLAG_COUNT,
};
_Static_assert(FLAG_COUNT <= 64, "a command's flags are a mask of 64 bits");

#define FLAG_BIT(id) (UINT64_C(1) << (id))
#define FLAGS_EVERYWHERE ((FLAG_BIT(FLAG_VERSION) << 1) - 1)

struct flag {
    const char *name;
    char letter;       /* 0: none */
    const char *value; /* what help calls its value; NULL: it takes none */
    const char *summary;
};
extern const struct flag command_flags[FLAG_COUNT];

enum { COMMAND_ARGS_MAX = 18 }; /* a document and 15 signed copies, with noun and verb */

struct command;

/* One call of the program. Everything is borrowed but the arena, whose life is the process's. */
struct invocation {
    const struct command *command;
    const char *program; /* argv[0] */
    const char *args[COMMAND_ARGS_MAX];
    size_t args_len;
    const char *flags[FLAG_COUNT]; /* the value, "" for one without; NULL: not given */
    bool says_reason; /* set by a command that ends with 10 to 20, the reason a device would give */
    struct arena *arena;
};

typedef enum err_code (*command_fn)(struct invocation *invocation, struct err *err);

struct command {
    const char *noun;
    const char *verb;    /* NULL: the noun is the whole command */
    const char *usage;   /* of the arguments: "APP@VERSION" */
    const char *summary; /* one line */
    uint64_t flags;      /* beyond FLAGS_EVERYWHERE */
    unsigned args_min, args_max;
    command_fn run;
};
extern const struct command commands[];
extern const size_t commands_len;

bool command_takes(const struct command *command, enum flag_id flag);

/* argv into invocation (args, flags, command). A help or version flag leaves the command NULL when
 * none is named. ERR_USAGE with the nearest name as hint. */
MUST_USE enum err_code command_parse(int argc, char **argv, struct invocation *ret,
                                     struct err *err);

/* help.c: the text for a command, a noun, or everything (both NULL). */
void help_print(const struct command *command, const char *noun);

/* Handlers, one file per noun. */
enum err_code cmd_help(struct invocation *invocation, struct err *err);
enum err_code cmd_version(struct invocation *invocation, struct err *err);
enum err_code cmd_completion(struct invocation *invocation, struct err *err);
enum err_code cmd_serve(struct invocation *invocation, struct err *err);
enum err_code cmd_status(struct invocation *invocation, struct err *err);
enum err_code cmd_release_create(struct invocation *invocation, struct err *err);
enum err_code cmd_release_ls(struct invocation *invocation, struct err *err);
enum err_code cmd_release_show(struct invocation *invocation, struct err *err);
enum err_code cmd_release_export(struct invocation *invocation, struct err *err);
enum err_code cmd_release_sign(struct invocation *invocation, struct err *err);
enum err_code cmd_release_assemble(struct invocation *invocation, struct err *err);
enum err_code cmd_release_verify(struct invocation *invocation, struct err *err);
enum err_code cmd_key_new(struct invocation *invocation, struct err *err);
enum err_code cmd_key_ls(struct invocation *invocation, struct err *err);
enum err_code cmd_key_rm(struct invocation *invocation, struct err *err);
enum err_code cmd_root_show(struct invocation *invocation, struct err *err);
enum err_code cmd_root_rotate(struct invocation *invocation, struct err *err);
enum err_code cmd_root_sign(struct invocation *invocation, struct err *err);
enum err_code cmd_root_assemble(struct invocation *invocation, struct err *err);
enum err_code cmd_root_lint(struct invocation *invocation, struct err *err);
enum err_code cmd_root_publish(struct invocation *invocation, struct err *err);
enum err_code cmd_channel_set(struct invocation *invocation, struct err *err);
enum err_code cmd_channel_ls(struct invocation *invocation, struct err *err);
enum err_code cmd_channel_show(struct invocation *invocation, struct err *err);
enum err_code cmd_channel_history(struct invocation *invocation, struct err *err);
enum err_code cmd_device_ls(struct invocation *invocation, struct err *err);
enum err_code cmd_device_show(struct invocation *invocation, struct err *err);
enum err_code cmd_rollout_start(struct invocation *invocation, struct err *err);
enum err_code cmd_rollout_ls(struct invocation *invocation, struct err *err);
enum err_code cmd_rollout_show(struct invocation *invocation, struct err *err);
enum err_code cmd_rollout_watch(struct invocation *invocation, struct err *err);
enum err_code cmd_rollout_wait(struct invocation *invocation, struct err *err);
enum err_code cmd_rollout_plan(struct invocation *invocation, struct err *err);
enum err_code cmd_rollout_action(struct invocation *invocation, struct err *err);
enum err_code cmd_rollout_exclude(struct invocation *invocation, struct err *err);
enum err_code cmd_rollout_retry(struct invocation *invocation, struct err *err);
enum err_code cmd_gate_replay(struct invocation *invocation, struct err *err);
enum err_code cmd_policy_lint(struct invocation *invocation, struct err *err);
enum err_code cmd_policy_show(struct invocation *invocation, struct err *err);
enum err_code cmd_policy_set(struct invocation *invocation, struct err *err);
enum err_code cmd_policy_ls(struct invocation *invocation, struct err *err);
enum err_code cmd_freeze(struct invocation *invocation, struct err *err);
enum err_code cmd_freeze_show(struct invocation *invocation, struct err *err);
enum err_code cmd_site_windows(struct invocation *invocation, struct err *err);
enum err_code cmd_site_ls(struct invocation *invocation, struct err *err);
enum err_code cmd_thaw(struct invocation *invocation, struct err *err);
enum err_code cmd_why(struct invocation *invocation, struct err *err);
enum err_code cmd_device_drift(struct invocation *invocation, struct err *err);
enum err_code cmd_device_label(struct invocation *invocation, struct err *err);
enum err_code cmd_device_pin(struct invocation *invocation, struct err *err);
enum err_code cmd_device_approve(struct invocation *invocation, struct err *err);
enum err_code cmd_device_reject(struct invocation *invocation, struct err *err);
enum err_code cmd_device_revoke(struct invocation *invocation, struct err *err);
enum err_code cmd_device_retire(struct invocation *invocation, struct err *err);
enum err_code cmd_device_identities(struct invocation *invocation, struct err *err);
enum err_code cmd_doctor(struct invocation *invocation, struct err *err);
enum err_code cmd_operator_add(struct invocation *invocation, struct err *err);
enum err_code cmd_operator_ls(struct invocation *invocation, struct err *err);
enum err_code cmd_operator_rm(struct invocation *invocation, struct err *err);
enum err_code cmd_token_new(struct invocation *invocation, struct err *err);
enum err_code cmd_token_ls(struct invocation *invocation, struct err *err);
enum err_code cmd_token_revoke(struct invocation *invocation, struct err *err);
enum err_code cmd_device_unpin(struct invocation *invocation, struct err *err);
enum err_code cmd_flag_set(struct invocation *invocation, struct err *err);
enum err_code cmd_flag_unset(struct invocation *invocation, struct err *err);
enum err_code cmd_flag_ls(struct invocation *invocation, struct err *err);
enum err_code cmd_secret_set(struct invocation *invocation, struct err *err);
enum err_code cmd_secret_rotate(struct invocation *invocation, struct err *err);
enum err_code cmd_secret_ls(struct invocation *invocation, struct err *err);
enum err_code cmd_secret_rm(struct invocation *invocation, struct err *err);
enum err_code cmd_log_ls(struct invocation *invocation, struct err *err);
enum err_code cmd_log_show(struct invocation *invocation, struct err *err);
enum err_code cmd_context_ls(struct invocation *invocation, struct err *err);
enum err_code cmd_context_show(struct invocation *invocation, struct err *err);
enum err_code cmd_context_create(struct invocation *invocation, struct err *err);
enum err_code cmd_context_use(struct invocation *invocation, struct err *err);
enum err_code cmd_context_rm(struct invocation *invocation, struct err *err);
enum err_code cmd_init(struct invocation *invocation, struct err *err);
enum err_code cmd_dev(struct invocation *invocation, struct err *err);
