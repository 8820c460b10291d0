/* SPDX-License-Identifier: Apache-2.0
 *
 * A whole small fleet for a test: a real nats-server, `captain serve`, captain-agent processes with
 * their own folders, and the CLI. Everything is a real process on loopback that may be killed at
 * any moment; everything dies with the test. A helper that cannot do its work ends the test with a
 * sentence.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/support/nats_server.h"
#include "tests/support/proc.h"

enum { WORLD_AGENTS_MAX = 16 };

struct world_agent {
    struct proc *proc;
    char name[16];    /* "d0"; its site is "lab" */
    char dir[256];    /* agent.json, data/, log */
    uint16_t port;    /* where its app serves */
    char extra[1024]; /* more of its agent.json: `, "key": value` */
};

struct world {
    char *dir;
    struct nats_server *nats;
    struct proc *captain;
    char captain_dir[256];
    char captain_options[4][128]; /* more arguments of `captain serve`; "" ends */
    struct world_agent agents[WORLD_AGENTS_MAX];
    unsigned agents_len;
};

/* Bus and captain run and answer when it returns; agents are made but not started. */
struct world *world_new(unsigned agents);
void world_free(struct world *world);

void world_captain_start(struct world *world);
/* SIGKILL. */
void world_captain_kill(struct world *world);
void world_agent_start(struct world *world, unsigned agent);
void world_agent_kill(struct world *world, unsigned agent);
/* Each of world_agents_len. */
void world_agents_start(struct world *world);

/* Runs `captain --nats URL <args...>` (ended by NULL) and returns its exit code; *ret_out (may be
 * NULL) is its stdout, *ret_err (may be NULL) its stderr, owned by the caller. */
int world_cli(struct world *world, const char *const *args, char **ret_out, char **ret_err);
/* The same with --json, must exit 0; the caller owns the result. */
json_t *world_json(struct world *world, const char *const *args);

/* Packs and publishes hello@version: busybox httpd serving "hello VERSION\n", with a check whose
 * path is health (an existing file: "/index.html"; "/missing": never healthy). Confirm window 1 s.
 */
void world_release(struct world *world, const char *version, const char *health);
/* The same with a payload of that many random bytes (an artifact of its own). */
void world_release_with(struct world *world, const char *version, const char *health,
                        uint64_t payload_bytes);
void world_channel_set(struct world *world, const char *release);

/* A GET of the app of one agent answers "hello VERSION\n". */
bool world_serves(const struct world *world, unsigned agent, const char *version);
/* Waits until every agent serves it; dies with the state of the fleet when ms passed. */
void world_wait_serving(struct world *world, const char *version, int64_t ms);
/* Waits until captain counts that many healthy devices on hello/stable at its release. */
void world_wait_healthy(struct world *world, unsigned devices, int64_t ms);

/* Each device's stored events are numbered 1..n within each epoch, without gap or double: read from
 * captain's database. Returns how many there are. */
unsigned world_check_events(struct world *world);
/* How many of the newest 50 events of one agent are of this kind ("confirmed", "rolled_back"). */
unsigned world_events(struct world *world, unsigned agent, const char *kind);
/* Under every agent's app folder: `current` points to a whole release and nothing else is named
 * releases/<x> without its document. */
void world_check_disks(struct world *world);
