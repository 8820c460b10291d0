/* SPDX-License-Identifier: Apache-2.0
 *
 * When a device asks for its next credential, and which way. Pure: news and the time come in, the
 * way and the next deadline go out; randomness is the caller's rng.
 *
 *   1. Renewal is due after two thirds of the credential's life, up to a twelfth earlier, so that
 *      devices that enrolled together do not ask together. The life is counted on the clock that
 *      only rises: the wall clock says how old a credential is when the agent starts, no more.
 *   2. Due and connected: over the device's own connection.
 *   3. Refused by the server RENEW_REFUSALS times in a row, or once when the credential has run out:
 *      over the enrolment credential, until there is a new one or the bus takes the old one again.
 *      One refusal alone proves nothing, since the client library makes one in 256 by itself.
 *   4. No answer: again with backoff, scaled to the credential's life. A time that captain names is
 *      kept. A refusal for good (revoked) is asked again every few hours, for ever: people change
 *      their minds, and what runs keeps running.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/rng.h"

enum { RENEW_REFUSALS = 3 };

enum renew_way { RENEW_NOT, RENEW_OWN, RENEW_ENROL };

/* Unix milliseconds; expires_ms 0: it never ends and is never renewed before the server refuses it. */
struct renew_credential {
    int64_t issued_ms, expires_ms;
};

struct renew {
    int64_t life_ms;     /* 0: without end */
    int64_t due_ms;      /* of renewal; INT64_MAX: never */
    int64_t ends_ms;     /* INT64_MAX: never */
    int64_t again_ms;    /* not before */
    uint32_t failures;   /* in a row */
    uint32_t refusals;   /* of the server, in a row */
    bool connected, out; /* out: a request waits for its answer */
};

/* With what is on disk at the start; have: there is one. */
void renew_begin(struct renew *renew, bool have, const struct renew_credential *credential,
                 int64_t unix_ms, int64_t now_ms, struct rng *rng);

/* The bus with the device's own credential. */
void renew_connected(struct renew *renew, bool connected);
/* The server refused the credential. */
void renew_refused(struct renew *renew);

/* What to do now. */
enum renew_way renew_way(const struct renew *renew, int64_t now_ms);
/* When renew_way may answer otherwise, if nothing happens before; INT64_MAX: not. */
int64_t renew_deadline_ms(const struct renew *renew);
/* Whether the way over the enrolment credential is wanted, now or later. */
bool renew_wants_enrol(const struct renew *renew, int64_t now_ms);

void renew_sent(struct renew *renew);
void renew_granted(struct renew *renew, const struct renew_credential *credential, int64_t now_ms,
                   struct rng *rng);
/* No answer, or one that is not believed. */
void renew_unheard(struct renew *renew, int64_t now_ms, struct rng *rng);
/* retry_ms 0: captain names no time. for_good: revoked, rejected. */
void renew_denied(struct renew *renew, uint32_t retry_ms, bool for_good, int64_t now_ms,
                  struct rng *rng);
