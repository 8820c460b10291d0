/* SPDX-License-Identifier: Apache-2.0
 *
 * The agent's configuration file (JSON):
 *   {
 *     "device": "gw-17", "site": "lyon", "tenant": "default",
 *     "nats": {"url": "nats://captain:4222", "creds": "agent.creds", "ca": "ca.pem",
 *              "cert": "agent.pem", "key": "agent.key"},
 *     "root": "/etc/captain/root.dsse",          the trust anchor: the fleet's signed root document
 *     "folder": "/var/lib/captain-agent",
 *     "apps": {"hello": {"channel": "stable", "env": {"PORT": "8080"}, "lock": "/run/hello.lock",
 *                        "user": "hello"}},
 *     "secrets": "/run/captain-agent",           tmpfs; default: $RUNTIME_DIRECTORY, else this
 *     "labels": {"line": "3", "tier": "gold"},
 *     "fetch": {"helper": "LIBEXECDIR/captain/captain-fetch", "user": "captain-fetch",
 *               "ca": "ca.pem"},               of https stores; default: that of nats
 *     "intervals": {"health": "30s", "telemetry": "1m", "refresh": "10m",
 *                   "reconnect_first": "30s", "reconnect_max": "5m"},
 *     "supervisor": {"enabled": true, "hang": "2m", "restart": "500ms"},
 *     "hardware": "rpi4", "log": "info"
 *   }
 * lock: the app's update lock (default state/update.lock in the app's folder); while it is held
 * nothing of the app is stopped for an update.
 * supervisor: the small parent process that starts the agent again, at the earliest `restart` after
 * it ended, kills it when it has been silent for `hang`, and takes a device back that it left
 * unconfirmed; CAPTAIN_AGENT_SUPERVISOR=0 in the environment turns it off too.
 * reconnect_first: after a session that worked the first try to come back is at random within it, so
 * that a fleet does not come back at once; reconnect_max bounds the delay between tries.
 * nats, root and tenant may be left out once the device has enrolled: they come from the identity
 * folder (agent/io/identity_files.h). What the file says comes before it.
 * Unknown keys, wrong types and values out of range are errors that name file, place and what is
 * allowed.
 */
#pragma once

#include "common/base/arena.h"
#include "common/base/str.h"
#include "common/log.h"

enum { CONFIG_APPS_MAX = 8, CONFIG_ENV_MAX = 64, CONFIG_LABELS_MAX = 32 };

#define CONFIG_TENANT "default" /* where neither file nor identity names one */

struct config_app {
    const char *app;
    const char *channel;
    const char *const *env; /* "K=V", ended by NULL */
    const char *lock;       /* NULL: the default */
    const char *user;       /* that its programs run as; NULL: the agent's own */
};

struct config_label {
    const char *key, *value;
};

struct config {
    const char *device, *site;
    const char *tenant, *nats_url; /* NULL: not said; config_complete fills them */
    const char *nats_creds, *nats_ca, *nats_cert, *nats_key; /* NULL: not used */
    bool renews;      /* nats_creds is the identity's, which the agent renews */
    const char *root; /* like nats_url */
    const char *folder;
    const char *secrets;                   /* tmpfs folder; NULL: the default */
    const char *fetch_helper, *fetch_user; /* user may be NULL: main chooses one */
    const char *fetch_ca;                  /* NULL: nats_ca, and without it the system's */
    const char *hardware;                  /* "" */
    struct config_app apps[CONFIG_APPS_MAX];
    size_t apps_len;
    const struct config_label *labels;
    size_t labels_len;
    bool supervised;
    int64_t hang_ms, restart_ms;
    int64_t health_ms, telemetry_ms, refresh_ms, reconnect_first_ms, reconnect_max_ms;
    enum log_level log_level;
};

/* Everything lives in the arena. The file, completed from the identity folder. */
MUST_USE enum err_code config_load(const char *path, struct arena *arena, struct config *ret,
                                   struct err *err);
/* The file alone. */
MUST_USE enum err_code config_read(const char *path, struct arena *arena, struct config *ret,
                                   struct err *err);
/* Fills what is left out; ERR_MALFORMED when something is missing then. name stands for the path in
 * errors. */
MUST_USE enum err_code config_complete(const char *name, struct config *config, struct arena *arena,
                                       struct err *err);
/* As config_read; for the fuzz target. */
MUST_USE enum err_code config_parse(const char *name, struct bytes text, struct arena *arena,
                                    struct config *ret, struct err *err);
