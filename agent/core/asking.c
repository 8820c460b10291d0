/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/core/asking.h"

#include "agent/core/retry.h"

enum { SPREAD = 5, STALE_MS = 100 };

static const struct retry_policy eager = {.min_ms = 500, .base_ms = 1000, .max_ms = 30000};
static const struct retry_policy slow = {
    .min_ms = 5000, .base_ms = 15000, .max_ms = 10 * 60 * 1000};

void asking_begin(struct asking *a, uint32_t number, int64_t now_ms)
{
    int64_t silent_ms = a->silent_ms;
    bool fresh = a->number == 0;
    *a = (struct asking){.state = ASKING_IDLE,
                         .number = number,
                         .silent_ms = fresh || silent_ms < 0 ? now_ms : silent_ms};
}

void asking_sent(struct asking *a, int64_t now_ms)
{
    a->state = ASKING_OUT;
    a->sent_ms = now_ms;
}

static void wait(struct asking *a, int64_t at_ms)
{
    a->state = ASKING_DENIED;
    a->again_ms = at_ms;
}

static int64_t backoff_ms(const struct asking *a, const struct asking_rule *rule, struct rng *rng)
{
    return retry_delay_ms(rule->patient ? &slow : &eager, a->failures, rng);
}

void asking_answered(struct asking *a, const struct asking_answer *answer,
                     const struct asking_rule *rule, int64_t now_ms, struct rng *rng)
{
    a->silent_ms = -1;
    if (answer->granted) {
        a->state = ASKING_GRANTED;
        a->failures = 0;
        a->until_ms = a->sent_ms + answer->lease_ms;
        return;
    }
    a->failures++;
    if (answer->stale)
        wait(a, now_ms + STALE_MS);
    else if (answer->retry_ms > 0)
        wait(a, now_ms + answer->retry_ms +
                    (int64_t)rng_below(rng, (uint64_t)answer->retry_ms / SPREAD + 1));
    else
        wait(a, now_ms + backoff_ms(a, rule, rng));
}

void asking_unheard(struct asking *a, const struct asking_rule *rule, int64_t now_ms,
                    struct rng *rng)
{
    if (a->silent_ms < 0)
        a->silent_ms = a->state == ASKING_OUT ? a->sent_ms : now_ms;
    a->failures++;
    wait(a, now_ms + backoff_ms(a, rule, rng));
}

static int64_t alone_from_ms(const struct asking *a, const struct asking_rule *rule)
{
    bool alone = rule->without_captain && a->failures > 0 && a->silent_ms >= 0;
    return alone ? a->silent_ms + rule->lease_wait_ms : INT64_MAX;
}

bool asking_granted(const struct asking *a, const struct asking_rule *rule, int64_t now_ms)
{
    if (a->state == ASKING_GRANTED)
        return now_ms < a->until_ms;
    return now_ms >= alone_from_ms(a, rule);
}

bool asking_lapsed(const struct asking *a, int64_t now_ms)
{
    return a->state == ASKING_GRANTED && now_ms >= a->until_ms;
}

int64_t asking_again_ms(const struct asking *a, const struct asking_rule *rule)
{
    int64_t alone_ms = alone_from_ms(a, rule);
    int64_t ask_ms = a->state == ASKING_OUT      ? INT64_MAX
                     : a->state == ASKING_DENIED ? a->again_ms
                                                 : INT64_MIN;
    return alone_ms < ask_ms ? alone_ms : ask_ms;
}
