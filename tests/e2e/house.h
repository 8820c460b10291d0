/* SPDX-License-Identifier: Apache-2.0
 *
 * A house for one agent: a real bus, a real HTTP server, real services; the test plays captain. It signs with its own
 * keys, publishes desired states, listens to health, and stores events by captain's rule (each number once, in order,
 * acknowledged when there is no gap).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/arena.h"
#include "common/base/ulid.h"
#include "common/bus.h"
#include "common/sign.h"
#include "proto/messages.h"
#include "tests/support/nats_server.h"
#include "tests/support/proc.h"

enum { EVENTS_MAX = 4096, LONG_MS = 60000 };

struct released {
    uint8_t digest[DIGEST_BYTES];
    char version[32];
};

struct house {
    char *dir;
    struct arena arena;
    struct nats_server *nats;
    struct loop *loop;
    struct bus *bus;
    bool ready; /* streams are there */
    unsigned streams;
    struct proc *http, *agent;
    uint16_t http_port, service_port;
    struct sign_key root_key, release_key, desired_key, foreign_key;
    uint64_t generation, decision, sequence;
    /* what captain knows */
    char epoch[ULID_TEXT];
    uint64_t stored; /* events without a gap */
    uint64_t deaf;   /* so many more events are lost on the way */
    struct event events[EVENTS_MAX];
    struct health health;
    struct arena health_arena;
    unsigned telemetry;
};

/* What the releases of these tests are like. */
struct recipe {
    const char *version;
    const char *expect; /* what the check wants to see; NULL: the version */
    const char *os;     /* of the artifact */
    bool crashes, tree, foreign_signature;
};

/* What a test waits for. */
struct hope {
    struct house *h;
    enum app_state state;
    const char *version;
    enum event_kind kind;
    uint64_t from; /* events after it count */
};

/* For cmocka: *state is a struct house. Teardown ends the agent by SIGTERM, and fails when that does not
 * take its services with it. */
int house_setup(void **state);
int house_teardown(void **state);
/* A path inside the house's folder; lives as long as the house. */
char *house_path_in(struct house *h, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Packs, signs and stores a release. */
struct released house_release(struct house *h, const struct recipe *recipe);
/* Publishes a desired state for the decision at hand, under a generation, signed by key. */
void house_publish(struct house *h, const struct released *r, const struct sign_key *key,
                   uint64_t generation);
/* A new decision for this release. */
void house_want(struct house *h, const struct released *r);
/* The artifact store; h->http is free to be ended. */
void house_start_http(struct house *h);
void house_start_agent(struct house *h);
/* Only the agent itself, as a crash would: its services are in sessions of their own. */
void house_kill_agent(struct house *h);
/* The app's newest status; all empty before the first one. */
const struct app_status *house_status_of(const struct house *h);
/* For wait_turning, with a struct hope. */
bool house_has_status(void *arg);
bool house_has_event(void *arg);
/* Prints what is known, for a test that fails. */
void house_dump(struct house *h);
/* These wait, and fail the test when it does not happen. */
void house_wait_status(struct house *h, enum app_state state, const char *version);
void house_wait_event(struct house *h, enum event_kind kind, uint64_t from);
void house_wait_page(struct house *h, const char *text);
/* The service answers with exactly this text. */
bool house_serves(struct house *h, const char *text);
/* The events after number `from` are exactly these. */
void house_expect_kinds(struct house *h, uint64_t from, const enum event_kind *kinds, size_t len);
/* Releases, wants, starts the agent if there is none, and waits until it serves. */
struct released house_install(struct house *h, const struct recipe *recipe);
/* The process that listens; -1: none, -2: more than one. */
pid_t house_service_pid(struct house *h);
