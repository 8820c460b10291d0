/* SPDX-License-Identifier: Apache-2.0
 *
 * Rollouts in a world (world.h): a fleet that runs hello@1.0 and may go to 1.1 (good) or 1.2 (never
 * healthy), by a policy of seconds. Functions that cannot do their work end the test.
 */
#pragma once

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "tests/e2e/world.h"
#include "tests/support/support.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

enum { FLEET_MS = 60000 };
#define FLEET_ID 64

/* One canary, then all. lines: more of the policy, or other values than these. */
static inline void fleet_policy(struct world *world, const char *soak, const char *lines)
{
    char path[PATH_MAX], text[2048];
    (void)snprintf(path, sizeof path, "%s/policy.yaml", world->dir);
    (void)snprintf(text, sizeof text,
                   "extends: fast\n"
                   "name: quick\n"
                   "eligible_age: 30s\n"
                   "waves:\n"
                   "  - {name: canary, count: 1, canary: true}\n"
                   "  - {name: all, all: true}\n"
                   "soak: %s\n"
                   "failures: {min_abs: 0, max_percent: 0}\n"
                   "compare: {min_control: 1, no_control: always}\n"
                   "rollback: 40s\n"
                   "%s",
                   soak, lines);
    tempdir_write(path, text, strlen(text));
}

/* Every agent runs 1.0, as captain knows; 1.1 and 1.2 are there. */
static inline struct world *fleet_new(unsigned agents)
{
    struct world *world = world_new(agents);
    world_agents_start(world);
    world_release(world, "1.0", "/index.html");
    world_release(world, "1.1", "/index.html");
    world_release(world, "1.2", "/missing");
    world_channel_set(world, "hello@1.0");
    world_wait_healthy(world, agents, FLEET_MS);
    fleet_policy(world, "1s", "");
    return world;
}

/* By policy.yaml; the id into ret. */
static inline void fleet_start(struct world *world, const char *release, char ret[static FLEET_ID])
{
    char policy[PATH_MAX];
    (void)snprintf(policy, sizeof policy, "%s/policy.yaml", world->dir);
    json_t *json = world_json(world, (const char *[]){"rollout", "start", "hello/stable", release,
                                                      "--policy", policy, NULL});
    (void)snprintf(ret, FLEET_ID, "%s", json_string_value(json_object_get(json, "id")));
    json_decref(json);
}

static inline json_t *fleet_show(struct world *world, const char *id)
{
    return world_json(world, (const char *[]){"rollout", "show", id, NULL});
}

static inline uint32_t fleet_number(struct world *world, const char *id, const char *key)
{
    json_t *json = fleet_show(world, id);
    uint32_t number = (uint32_t)json_integer_value(json_object_get(json, key));
    json_decref(json);
    return number;
}

struct fleet_hope {
    struct world *world;
    const char *id, *state;
    uint32_t wave;
};

/* A captain that is starting again does not answer: then not yet. */
static inline bool fleet_is(void *arg)
{
    const struct fleet_hope *hope = arg;
    char *out DEFER(mem_free_ref) = NULL;
    json_error_t where;
    if (world_cli(hope->world, (const char *[]){"--json", "rollout", "show", hope->id, NULL}, &out,
                  NULL) != 0)
        return false;
    json_t *json = json_loads(out, 0, &where);
    const char *state = json_string_value(json_object_get(json, "state"));
    const uint32_t wave = (uint32_t)json_integer_value(json_object_get(json, "wave"));
    bool is = state && (!hope->state || strcmp(state, hope->state) == 0) && wave >= hope->wave;
    json_decref(json);
    return is;
}

static inline void fleet_fail(struct world *world, const char *id, const char *what)
{
    char *show = NULL, *log = NULL, *devices = NULL;
    (void)world_cli(world, (const char *[]){"rollout", "show", id, NULL}, &show, NULL);
    (void)world_cli(world, (const char *[]){"log", "ls", NULL}, &log, NULL);
    (void)world_cli(world, (const char *[]){"device", "ls", NULL}, &devices, NULL);
    support_die(0, "%s\n%s\n%s\n%s", what, show ? show : "", devices ? devices : "",
                log ? log : "");
}

static inline void fleet_wait(struct world *world, const char *id, const char *state)
{
    char what[128];
    (void)snprintf(what, sizeof what, "the rollout does not come to be %s", state);
    if (!wait_until(fleet_is, &(struct fleet_hope){world, id, state, 0}, FLEET_MS))
        fleet_fail(world, id, what);
}

/* Waves count from 1. */
static inline void fleet_wait_wave(struct world *world, const char *id, uint32_t wave)
{
    if (!wait_until(fleet_is, &(struct fleet_hope){world, id, NULL, wave}, FLEET_MS))
        fleet_fail(world, id, "the rollout does not come to its next wave");
}

/* How many devices have ever switched to that version, by their stored events. */
static inline unsigned fleet_ran(struct world *world, const char *version)
{
    unsigned count = 0;
    for (unsigned i = 0; i < world->agents_len; i++) {
        char device[64];
        size_t k;
        json_t *event;
        bool ran = false;
        (void)snprintf(device, sizeof device, "lab/%s", world->agents[i].name);
        json_t *json = world_json(world, (const char *[]){"device", "show", device, NULL});
        json_array_foreach(json_object_get(json, "events"), k, event)
        {
            const char *kind = json_string_value(json_object_get(event, "kind"));
            const char *of = json_string_value(json_object_get(event, "version"));
            ran |= kind && of && strcmp(kind, "activated") == 0 && strcmp(of, version) == 0;
        }
        count += ran;
        json_decref(json);
    }
    return count;
}

/* Stored inputs give every recorded verdict again. */
static inline void fleet_replay(struct world *world, const char *id)
{
    json_t *json = world_json(world, (const char *[]){"gate", "replay", id, NULL});
    if (!json_is_true(json_object_get(json, "same")))
        fleet_fail(world, id, json_dumps(json, JSON_INDENT(1)));
    assert_true(json_array_size(json_object_get(json, "verdicts")) > 0);
    json_decref(json);
}

static inline int fleet_cli(struct world *world, const char *const *args)
{
    char *err DEFER(mem_free_ref) = NULL;
    int code = world_cli(world, args, NULL, &err);
    if (code != 0)
        print_message("captain %s %s: %d, %s\n", args[0], args[1] ? args[1] : "", code, err);
    return code;
}
