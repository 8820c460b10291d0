/* SPDX-License-Identifier: Apache-2.0
 *
 * One agent in a house of real parts: nats-server, an HTTP store, services; the test plays captain.
 * It signs with its own keys, publishes desired states, listens to health, answers asks for leases,
 * and stores events by captain's rule (each number once, in order, acknowledged without a gap).
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/ulid.h"
#include "common/bus.h"
#include "common/sign.h"
#include "proto/codec.h"
#include "tests/support/nats_server.h"
#include "tests/support/proc.h"
#include "tests/support/tempdir.h"

enum {
    ARENA_BYTES = 16 << 20,
    EVENTS_MAX = 4096,
    ASKS_MAX = 256,
    LONG_MS = 60000,
    CONFIRM_MS = 400,
    RELEASES_MAX = 64
};

struct released {
    uint8_t digest[DIGEST_BYTES];
    char version[32];
};

enum house_lease { HOUSE_SILENT, HOUSE_DENIES, HOUSE_GRANTS };

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
    const char *extra,
        *app_extra;               /* of the configuration, ", \"a\": 1"; set before it is written */
    const char *const *agent_env; /* added to the agent's environment; NULL: none */
    int64_t ahead_ms;             /* of captain's clock: what it signs */
    /* what desired says beside the release: base, cohort, rollout, lease */
    struct desired more;
    /* what captain knows */
    char epoch[ULID_TEXT];
    uint64_t stored; /* events without a gap */
    uint64_t deaf;   /* so many more events are lost on the way */
    struct event events[EVENTS_MAX];
    struct health health;
    struct arena health_arena;
    unsigned telemetry;
    /* how it answers asks */
    enum house_lease lease;
    const char *denial; /* the word */
    uint32_t lease_ms, retry_ms;
    struct lease_request asks[ASKS_MAX]; /* given back ones too */
    size_t asks_len;
};

/* What the releases of these tests are like. */
struct recipe {
    const char *version;
    const char *expect; /* what the check wants to see; NULL: the version */
    const char *os;     /* of the artifact */
    bool crashes, tree, foreign_signature;
    const char *command;  /* of a shell, in the place of the server; the server runs when it ends */
    const char *pre_stop; /* likewise */
    const char *also;     /* a second check: this command of a shell */
    const char *reload_signal; /* of the service */
    const char *reload;        /* a command of a shell */
};

int house_setup(void **state);
int house_teardown(void **state);

/* house_path_in(h, fmt, ...): a path in its folder. */
#define house_path_in(h, ...) tempdir_in(&(h)->arena, (h)->dir, __VA_ARGS__)
struct bytes house_seal(struct house *h, const char *type, const struct codec_type *codec,
                        const void *message, const struct sign_key *key, uint8_t *ret_digest);
struct released house_release(struct house *h, const struct recipe *recipe);
void house_publish_signed(struct house *h, const struct released *r, const struct sign_key *key,
                          uint64_t generation);
/* Waits until the stream has it. */
void house_store(struct house *h, const char *subject, struct bytes sealed);
/* Decides for it. */
void house_want(struct house *h, const struct released *r);
void house_start_http(struct house *h);
void house_write_config(struct house *h);
void house_start_agent(struct house *h);
/* Agent and parent at once, as a crash would: services are in sessions of their own. */
void house_kill_agent(struct house *h);
/* The agent itself, below its parent; 0: none now. */
pid_t house_agent_pid(struct house *h);

struct hope {
    struct house *h;
    enum app_state state;
    const char *version;
    enum event_kind kind;
    uint64_t from; /* events after it count */
};
bool house_has_status(void *arg);
bool house_has_event(void *arg);
const struct app_status *house_status_of(const struct house *h);
void house_dump(struct house *h);
void house_wait_status(struct house *h, enum app_state state, const char *version);
void house_wait_event(struct house *h, enum event_kind kind, uint64_t from);
/* Until status.waiting holds the text. */
void house_wait_waiting(struct house *h, const char *text);
void house_wait_asks(struct house *h, size_t len);
bool house_serves(struct house *h, const char *text);
void house_wait_page(struct house *h, const char *text);
void house_expect_kinds(struct house *h, uint64_t from, const enum event_kind *kinds, size_t len);
/* Wants it, starts the agent if there is none, waits until it is confirmed and served. */
struct released house_install(struct house *h, const struct recipe *recipe);
/* The process that listens, by its command line; -1: none, -2: more than one for seconds. */
pid_t house_service_pid(struct house *h);
