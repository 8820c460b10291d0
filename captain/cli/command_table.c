/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/command.h"

#include "common/base/mem.h"

const struct flag command_flags[FLAG_COUNT] = {
    [FLAG_CONTEXT] = {"context", 0, "NAME", "use this context (captain context ls)"},
    [FLAG_NATS] = {"nats", 0, "URL", "server; before NATS_URL and the context"},
    [FLAG_CREDS] = {"creds", 0, "FILE", "NATS credentials"},
    [FLAG_CA] = {"ca", 0, "FILE", "certificate authority of the NATS server"},
    [FLAG_OPERATOR] = {"operator", 0, "NAME", "who asks; default: you"},
    [FLAG_TIMEOUT] = {"timeout", 0, "DURATION", "give up after this long; default 5s"},
    [FLAG_JSON] = {"json", 0, NULL, "print the reply as JSON"},
    [FLAG_FORMAT] = {"format", 'o', "table|json", "how to print the reply"},
    [FLAG_COLOR] = {"color", 0, "auto|always|never", "colours; NO_COLOR is respected"},
    [FLAG_HELP] = {"help", 'h', NULL, "show help"},
    [FLAG_VERSION] = {"version", 0, NULL, "show the version"},
    [FLAG_FILE] = {"file", 'f', "FILE", "description of the release (release.yaml)"},
    [FLAG_KEY] = {"key", 0, "FILE", "key to sign with; default: the context's"},
    [FLAG_BUNDLE] = {"bundle", 0, "DIR", "take in what `captain release export` wrote"},
    [FLAG_REASON] = {"reason", 0, "TEXT", "why, for the log"},
    [FLAG_OUTPUT_DIR] = {"output", 0, "DIR", "folder to write to; default: APP-VERSION"},
    [FLAG_LIMIT] = {"limit", 0, "N", "at most so many"},
    [FLAG_SITE] = {"site", 0, "SITE", "only of this site"},
    [FLAG_APP] = {"app", 0, "APP", "only with this app"},
    [FLAG_STATE] = {"state", 0, "STATE", "only in this state"},
    [FLAG_AFTER] = {"after", 0, "SITE/DEVICE", "go on behind this one"},
    [FLAG_BEFORE] = {"before", 0, "SEQ", "only entries below this number"},
    [FLAG_KIND] = {"kind", 0, "KIND", "only entries of this kind"},
    [FLAG_SUBJECT] = {"subject", 0, "NAME", "only entries about this object"},
    [FLAG_URL] = {"url", 0, "URL", "NATS server of the context"},
    [FLAG_RELEASE_KEY] = {"release-key", 0, "FILE", "key that signs releases in this context"},
    [FLAG_DATA] = {"data", 0, "DIR", "state folder; default /var/lib/captain"},
    [FLAG_LISTEN] = {"listen", 0, "ADDR:PORT", "artifact store; default 127.0.0.1:0"},
    [FLAG_STORE_URL] = {"store-url", 0, "URL", "what devices are told; default: --listen"},
    [FLAG_TENANT] = {"tenant", 0, "NAME", "the fleet's tenant; default: default"},
    [FLAG_LOG_LEVEL] = {"log-level", 0, "LEVEL", "error, warning, info or debug"},
    [FLAG_AGENTS] = {"agents", 0, "N", "so many agents; default 5"},
    [FLAG_CHECK] = {"check", 0, NULL, "run the scenario and end"},
    [FLAG_STATE_DIR] = {"state-dir", 0, "DIR", "work there (must be empty or missing)"},
    [FLAG_KEEP] = {"keep", 0, NULL, "leave the folder behind"},
};

#define F(name) FLAG_BIT(FLAG_##name)

const struct command commands[] = {
    {"status", NULL, "", "the fleet at a glance", 0, 0, 0, cmd_status},
    {"dev", NULL, "", "a whole fleet on this machine, to try",
     F(AGENTS) | F(CHECK) | F(STATE_DIR) | F(KEEP), 0, 0, cmd_dev},
    {"serve", NULL, "", "run captain",
     F(DATA) | F(LISTEN) | F(STORE_URL) | F(TENANT) | F(LOG_LEVEL), 0, 0, cmd_serve},
    {"release", "create", "", "pack, sign and store a release",
     F(FILE) | F(KEY) | F(BUNDLE) | F(REASON), 0, 0, cmd_release_create},
    {"release", "ls", "[APP]", "list releases", 0, 0, 1, cmd_release_ls},
    {"release", "show", "APP@VERSION", "show one release", 0, 1, 1, cmd_release_show},
    {"release", "export", "APP@VERSION", "write a release with its files to a folder",
     F(OUTPUT_DIR), 1, 1, cmd_release_export},
    {"channel", "set", "APP/CHANNEL APP@VERSION", "point a channel to a release", F(REASON), 2, 2,
     cmd_channel_set},
    {"channel", "ls", "", "list channels", 0, 0, 0, cmd_channel_ls},
    {"channel", "show", "APP/CHANNEL", "show one channel", 0, 1, 1, cmd_channel_show},
    {"channel", "history", "APP/CHANNEL", "what a channel pointed to, newest first", F(LIMIT), 1, 1,
     cmd_channel_history},
    {"device", "ls", "", "list devices", F(SITE) | F(APP) | F(STATE) | F(LIMIT) | F(AFTER), 0, 0,
     cmd_device_ls},
    {"device", "show", "[SITE/]DEVICE", "show one device and its last events", 0, 1, 1,
     cmd_device_show},
    {"log", "ls", "", "list decisions, newest first", F(BEFORE) | F(LIMIT) | F(KIND) | F(SUBJECT),
     0, 0, cmd_log_ls},
    {"log", "show", "SEQ", "show one decision with its evidence", 0, 1, 1, cmd_log_show},
    {"context", "ls", "", "list contexts", 0, 0, 0, cmd_context_ls},
    {"context", "show", "[NAME]", "show one context", 0, 0, 1, cmd_context_show},
    {"context", "create", "NAME", "add a context, or change it", F(URL) | F(RELEASE_KEY), 1, 1,
     cmd_context_create},
    {"context", "use", "NAME", "make a context the default", 0, 1, 1, cmd_context_use},
    {"context", "rm", "NAME", "remove a context", 0, 1, 1, cmd_context_rm},
    {"completion", NULL, "bash", "print a completion script", 0, 1, 1, cmd_completion},
    {"help", NULL, "[NOUN [VERB]]", "show help", 0, 0, 2, cmd_help},
    {"version", NULL, "", "show the version", 0, 0, 0, cmd_version},
};
const size_t commands_len = ARRAY_LEN(commands);

bool command_takes(const struct command *command, enum flag_id flag)
{
    return ((command->flags | FLAGS_EVERYWHERE) & FLAG_BIT(flag)) != 0;
}
