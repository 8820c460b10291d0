/* SPDX-License-Identifier: Apache-2.0
 *
 * The test plays captain to a device that wants to get in: a real nats-server with TLS and operator
 * mode, an HTTP store that serves the bundle, one join token, and answers that are as the test
 * wants them. Devices have scoped credentials, so the server holds them to their own subjects.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/join_token.h"
#include "proto/codec.h"
#include "tests/support/bus_probe.h"
#include "tests/support/fault_http.h"
#include "tests/support/nats_server.h"
#include "tests/support/proc.h"
#include "tests/support/tempdir.h"

enum { ADMISSION_WAIT_MS = 60000 };

enum admission_answer {
    ADMISSION_GRANTS,
    ADMISSION_SILENT,
    ADMISSION_REFUSES,
    ADMISSION_WRONG_NONCE, /* refuses another request */
    ADMISSION_WRONG_GRANT, /* the grant is for another request */
    ADMISSION_WRONG_KEY,   /* the credential of another key */
    ADMISSION_WRONG_SEAL,  /* sealed to another key */
    ADMISSION_GARBAGE,
};

struct admission {
    char *dir;
    struct arena arena;
    struct err err;
    struct sign_key operator_key, system, fleet, device_scope, enroll_scope, captain_key;
    struct sign_key root_key, release_key;
    struct nats_server *nats;
    struct fault_http *http;
    struct bus_probe captain;
    struct join_token token;
    char token_text[JOIN_TOKEN_TEXT];
    struct trust_bundle bundle; /* as served; admission_serve after a change */
    char fingerprint[DIGEST_HEX];
    char log[256];          /* of the programs */
    const char *extra;      /* of agent.json, ", \"a\": 1" */
    const char *const *env; /* added to that of admission_enroll; NULL: none */

    /* how it answers */
    enum admission_answer answer;
    unsigned pendings; /* so many answers first are "pending" */
    enum err_code code;
    const char *reason;
    int64_t life_s; /* of credentials; 0: for ever */

    /* what it heard */
    unsigned enrols, renewals, health; /* requests with the enrolment or an own credential */
    unsigned with_token, proven;       /* of them, and signed as they must be */
    uint8_t device_key[SIGN_PUBLIC_BYTES], seal_key[32];
    char name[2 * TOKEN_MAX + 2]; /* "site.device" */
    uint64_t instance;
};

int admission_setup(void **state);
int admission_teardown(void **state);

/* Serves the bundle as it now is, with a root document if it has none; the fingerprint is its own. */
void admission_serve(struct admission *a);
/* admission_path(a, fmt, ...): a path in its folder. */
#define admission_path(a, ...) tempdir_in(&(a)->arena, (a)->dir, __VA_ARGS__)
/* agent.json without bus and root, as after enrolment. */
void admission_write_config(struct admission *a);
/* The PEM of a certificate authority that signed nothing here. */
const char *admission_foreign_ca(struct admission *a);

/* captain-agent with these arguments (ended by NULL) and, in out_path, what it says. */
struct proc *admission_start(struct admission *a, const char *const *args, const char *const *env);
/* captain-agent enroll with the token, the fingerprint and --wait. */
struct proc *admission_enroll(struct admission *a, const char *token, const char *wait);
/* Turns captain's loop until it has ended; its exit code. Frees it. */
int admission_end(struct admission *a, struct proc *proc);
/* Turns captain's loop until *counter is at least value. */
void admission_wait(struct admission *a, const unsigned *counter, unsigned value);
/* What programs said so far, in the arena. */
const char *admission_said(struct admission *a);
