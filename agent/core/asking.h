/* SPDX-License-Identifier: Apache-2.0
 *
 * One device's asks for leave to change (lease.<site>.<device>): when to ask, how long what was
 * granted lasts, what silence means. Pure: answers and the time come in, the next deadline goes
 * out; randomness is the caller's rng.
 *
 *   - At most one ask is out.
 *   - Denied: again after captain's retry_ms (and up to a fifth more, so that a fleet does not ask
 * at once), or after backoff with full jitter when captain names no time.
 *   - No answer: again with backoff. Captain out of reach means wait; where the channel allows it
 * the device goes on by itself when captain has been silent for lease_wait_ms.
 *   - A lease ends lease_ms after the ask was sent (captain counts from a later moment).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/rng.h"

enum asking_state { ASKING_IDLE, ASKING_OUT, ASKING_DENIED, ASKING_GRANTED };

struct asking {
    enum asking_state state;
    uint32_t number;   /* attempt that is asked for */
    uint32_t failures; /* asks in a row without a lease */
    int64_t sent_ms;   /* the ask that is out */
    int64_t silent_ms; /* captain has not answered since; -1: it has answered the last ask */
    int64_t again_ms;  /* of DENIED */
    int64_t until_ms;  /* of GRANTED */
};

struct asking_answer {
    bool granted;
    bool stale; /* captain knows of a later attempt: the next number is tried soon */
    uint32_t lease_ms, retry_ms;
};

struct asking_rule {
    bool without_captain;
    uint32_t lease_wait_ms;
    bool patient; /* nothing waits for it: the slow backoff */
};

/* About another attempt from now on; how long captain has been silent is remembered. */
void asking_begin(struct asking *asking, uint32_t number, int64_t now_ms);
void asking_sent(struct asking *asking, int64_t now_ms);
void asking_answered(struct asking *asking, const struct asking_answer *answer,
                     const struct asking_rule *rule, int64_t now_ms, struct rng *rng);
/* The ask ended without an answer, or could not be sent. */
void asking_unheard(struct asking *asking, const struct asking_rule *rule, int64_t now_ms,
                    struct rng *rng);

/* A lease holds now, or captain has been silent for as long as the channel waits for it. */
bool asking_granted(const struct asking *asking, const struct asking_rule *rule, int64_t now_ms);
/* What was granted has ended unused: the next ask is about another attempt. */
bool asking_lapsed(const struct asking *asking, int64_t now_ms);
/* When to look again: the next ask, or the end of lease_wait_ms; INT64_MAX: an ask is out. */
int64_t asking_again_ms(const struct asking *asking, const struct asking_rule *rule);
