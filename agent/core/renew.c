/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/core/renew.h"

#include "agent/core/retry.h"

enum {
    HOUR_MS = 3600 * 1000,
    JITTER = 12,           /* parts of the life */
    SPREAD_MAX_MS = 60000, /* of what is overdue */
    BASE_MIN_MS = 1000,
    BASE_MAX_MS = 60000,
    LATE = 5, /* up to a fifth later than captain says */
};

static const struct retry_policy for_good_retry = {
    .min_ms = HOUR_MS, .base_ms = 2 * HOUR_MS, .max_ms = 6 * HOUR_MS};

static struct retry_policy retry_of(const struct renew *r)
{
    int64_t base_ms = r->life_ms > 0 ? r->life_ms / 100 : BASE_MAX_MS;
    base_ms = base_ms < BASE_MIN_MS ? BASE_MIN_MS : base_ms > BASE_MAX_MS ? BASE_MAX_MS : base_ms;
    return (struct retry_policy){.min_ms = base_ms / 2, .base_ms = base_ms, .max_ms = base_ms * 60};
}

static int64_t jitter_ms(const struct renew *r, struct rng *rng)
{
    return (int64_t)rng_below(rng, (uint64_t)(r->life_ms / JITTER) + 1);
}

static int64_t clamp(int64_t ms, int64_t low_ms, int64_t high_ms)
{
    return ms < low_ms ? low_ms : ms > high_ms ? high_ms : ms;
}

/* from_ms: when its life began. */
static void live(struct renew *r, const struct renew_credential *credential, int64_t from_ms,
                 struct rng *rng)
{
    bool ends = credential->expires_ms > credential->issued_ms;
    r->life_ms = ends ? credential->expires_ms - credential->issued_ms : 0;
    r->due_ms = ends ? from_ms + r->life_ms / 3 * 2 - jitter_ms(r, rng) : INT64_MAX;
    r->ends_ms = ends ? from_ms + r->life_ms : INT64_MAX;
}

void renew_begin(struct renew *r, bool have, const struct renew_credential *credential,
                 int64_t unix_ms, int64_t now_ms, struct rng *rng)
{
    *r = (struct renew){.due_ms = INT64_MAX, .ends_ms = INT64_MAX};
    if (!have) {
        r->due_ms = r->ends_ms = now_ms;
        r->refusals = RENEW_REFUSALS;
        return;
    }
    int64_t age_ms = unix_ms - credential->issued_ms;
    live(r, credential, now_ms, rng);
    if (r->life_ms == 0)
        return;
    /* A clock that is off must not make it look fresh for ever: older than new is as good as due. */
    age_ms = age_ms < 0 ? r->life_ms / 3 * 2 : clamp(age_ms, 0, r->life_ms);
    r->due_ms -= age_ms;
    r->ends_ms -= age_ms;
    if (r->due_ms < now_ms)
        r->due_ms = now_ms + clamp(jitter_ms(r, rng), 0, SPREAD_MAX_MS);
}

void renew_connected(struct renew *r, bool connected)
{
    r->connected = connected;
    if (connected)
        r->refusals = 0;
}

void renew_refused(struct renew *r)
{
    if (!r->connected && r->refusals < RENEW_REFUSALS)
        r->refusals++;
}

bool renew_wants_enrol(const struct renew *r, int64_t now_ms)
{
    uint32_t enough = now_ms >= r->ends_ms ? 1 : RENEW_REFUSALS;
    return !r->connected && r->refusals >= enough;
}

enum renew_way renew_way(const struct renew *r, int64_t now_ms)
{
    if (r->out || now_ms < r->again_ms)
        return RENEW_NOT;
    if (renew_wants_enrol(r, now_ms))
        return RENEW_ENROL;
    return r->connected && now_ms >= r->due_ms ? RENEW_OWN : RENEW_NOT;
}

int64_t renew_deadline_ms(const struct renew *r)
{
    int64_t at_ms = INT64_MAX;
    if (r->out)
        return at_ms;
    if (r->connected)
        at_ms = r->due_ms;
    else if (r->refusals >= RENEW_REFUSALS)
        at_ms = r->again_ms;
    else if (r->refusals > 0)
        at_ms = r->ends_ms;
    return at_ms < r->again_ms ? r->again_ms : at_ms;
}

void renew_sent(struct renew *r)
{
    r->out = true;
}

void renew_granted(struct renew *r, const struct renew_credential *credential, int64_t now_ms,
                   struct rng *rng)
{
    live(r, credential, now_ms, rng);
    r->again_ms = now_ms;
    r->failures = r->refusals = 0;
    r->out = false;
}

void renew_unheard(struct renew *r, int64_t now_ms, struct rng *rng)
{
    struct retry_policy retry = retry_of(r);
    r->out = false;
    r->failures++;
    r->again_ms = now_ms + retry_delay_ms(&retry, r->failures, rng);
}

void renew_denied(struct renew *r, uint32_t retry_ms, bool for_good, int64_t now_ms,
                  struct rng *rng)
{
    struct retry_policy retry = for_good ? for_good_retry : retry_of(r);
    r->out = false;
    r->failures++;
    r->again_ms =
        now_ms + (retry_ms > 0 ? (int64_t)retry_ms + (int64_t)rng_below(rng, retry_ms / LATE + 1)
                               : retry_delay_ms(&retry, r->failures, rng));
}
