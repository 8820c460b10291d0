/* SPDX-License-Identifier: Apache-2.0
 *
 * A whole secured fleet for a test: what `captain init` makes, nats-server with the file it wrote,
 * `captain serve`, the first admin "ada" and devices of site lyon that come in with a token. Real
 * programs on free ports, below one folder; secrets of devices lie in a folder of their own in memory.
 * All dies with the test; what a helper cannot do fails the test.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include "common/base/arena.h"
#include "tests/support/bus_probe.h"
#include "tests/support/proc.h"

enum { SECURE_DEVICES_MAX = 4, SECURE_RUN_MS = 60000, SECURE_WAIT_MS = 60000 };

struct secure_device {
    const char *name;
    const char *place;   /* of the secure's dir: PLACE/ (its state), PLACE.json, PLACE.log */
    const char *secrets; /* in memory */
    uint16_t port;       /* where hello serves */
    struct proc *agent;
};

struct secure {
    struct arena arena;
    char *dir;              /* everything is below, but secrets of devices */
    const char *folder;     /* of the fleet: DIR of init */
    const char *out;        /* what was run last said */
    const char *memory;     /* the folder of secrets */
    const char *xdg;        /* "XDG_CONFIG_HOME=..." */
    const char *url;        /* of nats-server */
    const char *const *env; /* of captain and agents, added; set before they start; NULL: none */
    uint16_t nats_port, store_port;
    struct proc *nats, *captain;
    struct secure_device devices[SECURE_DEVICES_MAX];
};

/* Folder, ports, nothing made and nothing run. For cmocka; what secure_free ends. */
int secure_set_up(void **state);
/* The same, initialised, running and answering. */
int secure_set_up_running(void **state);
int secure_tear_down(void **state);

/* `captain init` of tenant acme for localhost, with more words (ended by NULL): its exit code. */
int secure_init(struct secure *secure, const char *const *more);
void secure_start_nats(struct secure *secure);
void secure_start_captain(struct secure *secure);
/* Until captain answers its admin. */
void secure_wait_captain(struct secure *secure);
/* SIGTERM, waits, frees. */
void secure_end(struct proc **proc);

const char *secure_text(struct secure *secure, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Below the secure's dir. */
const char *secure_path(struct secure *secure, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Of a file; "" when there is none. */
const char *secure_content(struct secure *secure, const char *path);
const char *secure_said(struct secure *secure);

/* Exit code; what it said is in secure->out. in_path may be NULL. */
int secure_run(struct secure *secure, const char *const *argv, const char *in_path);
int secure_captain(struct secure *secure, const char *const *words);
#define CAPTAIN(secure, ...) secure_captain(secure, (const char *const[]){__VA_ARGS__, NULL})
#define CAPTAIN_OK(secure, ...)                                                                    \
    do {                                                                                           \
        if (CAPTAIN(secure, __VA_ARGS__) != 0)                                                     \
            fail_msg("%s", secure_said(secure));                                                   \
    } while (0)
/* What it said, as JSON, with --json added by the caller; it must end with 0. Owned by the caller. */
json_t *secure_json(struct secure *secure, const char *const *words);

/* Starts with its output in the file `log` of the dir. */
struct proc *secure_start(struct secure *secure, const char *log, const char *const *argv);

/* ---- devices ---- */

struct secure_token {
    const char *id, *text, *fingerprint, *url;
};
struct secure_token secure_token_new(struct secure *secure, const char *const *more);
/* captain token new --site ... */
#define TOKEN(secure, ...) secure_token_new(secure, (const char *const[]){__VA_ARGS__, NULL})

/* Writes the configuration of device `name` with its state in the folder `place`. */
struct secure_device *secure_device(struct secure *secure, size_t i, const char *name,
                                    const char *place);
struct proc *secure_enroll_start(struct secure *secure, const struct secure_device *device,
                                 const struct secure_token *token, const char *log);
/* Its exit code; what it said is in secure->out. */
int secure_enroll(struct secure *secure, const struct secure_device *device,
                  const struct secure_token *token);
void secure_start_agent(struct secure *secure, struct secure_device *device);
/* gate-1, gate-2, ...: enrolled with one token, running, connected. */
void secure_join(struct secure *secure, size_t devices);

/* ---- waiting ---- */

size_t secure_count(const char *haystack, const char *needle);
/* Until captain's words say it. */
void secure_wait_said(struct secure *secure, const char *const *words, const char *wanted);
/* Until the log of the dir says it so many times. */
void secure_wait_log(struct secure *secure, const char *log, const char *wanted, size_t times);
/* Until the device's hello serves "hello VERSION\n". */
void secure_wait_serving(struct secure *secure, const struct secure_device *device,
                         const char *version);
/* Until the file at a whole path holds the text. */
void secure_wait_file(struct secure *secure, const char *path, const char *text);

extern const char *const SECURE_DEVICES[], *const SECURE_IDENTITIES[], *const SECURE_INCIDENTS[];
/* In the log of an agent that the server does not let in. */
extern const char SECURE_REFUSED[];

/* ---- releases of hello ---- */

/* A folder to pack: web server, page "hello VERSION\n"; on start and on `reload` it writes the flags
 * and a hash of its secrets (never a secret) to state/flags and state/sums. Returns release.yaml. */
const char *secure_package(struct secure *secure, const char *version);
/* Packed, signed with keys/release.key and stored. */
void secure_release(struct secure *secure, const char *version);
/* In the device's folder of the app hello. */
const char *secure_app_path(struct secure *secure, const struct secure_device *device,
                            const char *name);

/* ---- on the bus ---- */

/* A connection of the test with these credentials (NULL: none) and inbox prefix: opened, to be
 * started with bus_probe_start. */
void secure_probe(struct secure *secure, struct bus_probe *probe, const char *creds,
                  const char *inbox);
