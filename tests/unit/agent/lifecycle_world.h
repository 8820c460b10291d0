/* SPDX-License-Identifier: Apache-2.0
 *
 * A small world for the lifecycle: disk, processes, network and clock do what the machine asks for, and each
 * move is told as one line.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/core/lifecycle.h"

enum { RELEASES = 6, CONFIRM_MS = 1000, GRACE_MS = 2000 };

/* What release `id` (1 to RELEASES) is like. */
struct kind {
    bool sick;     /* never healthy */
    bool crashing; /* its service ends again and again */
    uint32_t data_version;
    enum err_code fetch_error; /* every fetch of it ends so; ERR_OK: it works */
};

struct world {
    struct kind kinds[RELEASES + 1];
    /* survives everything */
    struct lifecycle stored;
    bool on_disk[RELEASES + 1];
    int current; /* 0: no link */
    /* survives the agent, not the machine */
    int running; /* whose services run; 0: none */
    /* the agent's */
    struct lifecycle lifecycle;
    bool started;
    bool failed; /* the service was given up */
    enum lifecycle_fetch fetch;
    enum err_code fetch_error;
    enum err_code switch_error;
    int64_t healthy_since_ms, retry_at_ms, bus_ms;
    /* outside */
    bool bus, network_down, disk_full;
    bool lease;  /* the channel asks for one */
    bool gives;  /* captain does */
    bool leased; /* and did */
    bool locked;
    enum lifecycle_hook hook, hook_says;
    int64_t lease_again_ms;
    bool deadman; /* went off, and nobody has told yet */
    unsigned asks, returns, hooks;
    int desired;
    uint64_t decision;
    int64_t now_ms;
    /* told */
    char transcript[8192];
    unsigned attempts, moves;
};

static inline struct lifecycle_release release(int id)
{
    struct lifecycle_release ret = {.set = id > 0};
    if (id > 0)
        memset(ret.digest, id, DIGEST_BYTES);
    return ret;
}

static inline int id_of(const struct lifecycle_release *r)
{
    return r->set ? r->digest[0] : 0;
}

static inline void tell(struct world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
static inline void tell(struct world *w, const char *fmt, ...)
{
    size_t used = strlen(w->transcript);
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(w->transcript + used, sizeof w->transcript - used, fmt, args);
    va_end(args);
}

static inline void world_init(struct world *w)
{
    memset(w, 0, sizeof *w);
    w->bus = true;
    w->bus_ms = -1;
    w->healthy_since_ms = -1;
    w->now_ms = 1000;
    for (int i = 1; i <= RELEASES; i++)
        w->kinds[i].data_version = 1;
}

static inline void want(struct world *w, int id)
{
    w->desired = id;
    w->decision++;
}

static inline struct lifecycle_observed look(struct world *w)
{
    if (w->bus)
        w->bus_ms = w->now_ms;
    const struct lifecycle_release *confirmed = &w->lifecycle.confirmed;
    return (struct lifecycle_observed){
        .current = release(w->current),
        .current_data_version = w->kinds[w->current].data_version,
        .confirm_ms = CONFIRM_MS,
        .grace_ms = GRACE_MS,
        .target_staged = w->desired > 0 && w->on_disk[w->desired],
        .confirmed_whole = confirmed->set && w->on_disk[id_of(confirmed)],
        .fetch = w->fetch,
        .fetch_error = w->fetch_error,
        .switch_error = w->switch_error,
        .services_running = w->running > 0,
        .services_started = w->started,
        .services_failed = w->failed,
        .healthy_since_ms = w->started ? w->healthy_since_ms : -1,
        .bus_reached_ms = w->bus_ms,
        .retry_at_ms = w->retry_at_ms,
        .locked = w->locked,
        .hook = w->hook,
        .ask_again_ms = w->now_ms + 50,
        .lease_granted = w->leased,
        .lease_again_ms = w->lease_again_ms,
        .deadman_fired = w->deadman,
        .free_bytes = w->disk_full ? 0 : 100 << 20,
    };
}

static inline struct lifecycle_desired desire(const struct world *w)
{
    return (struct lifecycle_desired){
        .release = release(w->desired),
        .decision = w->decision,
        .data_version =
            w->desired > 0 && w->on_disk[w->desired] ? w->kinds[w->desired].data_version : 0,
        .lease = w->lease,
    };
}

static inline const char *report_name(enum lifecycle_report report)
{
    static const char *const names[] = {"",          "fetched",     "fetch failed", "activated",
                                        "confirmed", "rolled back", "refused"};
    return names[report];
}

static inline void prune(struct world *w)
{
    for (int i = 1; i <= RELEASES; i++) {
        const struct lifecycle *l = &w->lifecycle;
        if (i != id_of(&l->target) && i != id_of(&l->confirmed) && i != id_of(&l->previous))
            w->on_disk[i] = false;
    }
}

static inline void start(struct world *w)
{
    assert_int_not_equal(w->current, 0);
    assert_true(w->on_disk[w->current]);
    assert_true(w->running == 0 ||
                w->running == w->current); /* else it would adopt the wrong one */
    w->running = w->current;
    w->started = true;
    w->failed = w->kinds[w->current].crashing && !(id_of(&w->lifecycle.confirmed) == w->current);
    w->healthy_since_ms =
        w->kinds[w->current].sick || w->kinds[w->current].crashing ? -1 : w->now_ms;
}

static inline void fetch(struct world *w, int id)
{
    if (w->kinds[id].fetch_error != ERR_OK || w->network_down) {
        w->fetch = LIFECYCLE_FETCH_FAILED;
        w->fetch_error = w->network_down ? ERR_NO_CONTACT : w->kinds[id].fetch_error;
        return;
    }
    w->fetch = LIFECYCLE_FETCH_IDLE;
    w->on_disk[id] = true;
}

static inline void act(struct world *w, const struct lifecycle_effects *effects)
{
    switch (effects->action) {
    case LIFECYCLE_DO_NOTHING:
        break;
    case LIFECYCLE_DO_FETCH:
        fetch(w, id_of(&effects->release));
        break;
    case LIFECYCLE_DO_STOP:
        w->running = 0;
        w->started = w->failed = false;
        break;
    case LIFECYCLE_DO_SWITCH:
        assert_true(!effects->release.set || w->on_disk[id_of(&effects->release)]);
        w->switch_error = w->disk_full ? ERR_NO_SPACE : ERR_OK;
        if (!w->disk_full)
            w->current = id_of(&effects->release);
        break;
    case LIFECYCLE_DO_START:
        start(w);
        break;
    case LIFECYCLE_DO_LEASE:
        w->asks++;
        w->leased = w->gives;
        w->lease_again_ms = w->now_ms + 100;
        break;
    case LIFECYCLE_DO_HOOK:
        w->hooks++;
        w->hook = w->hook_says;
        break;
    case LIFECYCLE_DO_PRUNE:
        prune(w);
        break;
    }
}

/* What a step says beside its action. */
static inline void give_back(struct world *w, const struct lifecycle_effects *effects)
{
    if (!effects->return_lease)
        return;
    w->returns += w->leased;
    w->leased = false;
}

static inline void tell_move(struct world *w, const struct lifecycle_effects *effects)
{
    tell(w, "%s -> %s", lifecycle_state_name(effects->from),
         lifecycle_state_name(w->lifecycle.state));
    if (effects->rule)
        tell(w, " (rule %u)", effects->rule);
    if (effects->report)
        tell(w, ", reports %d %s", id_of(&effects->report_release), report_name(effects->report));
    if (effects->report && effects->report_code)
        tell(w, " %s", err_name(effects->report_code));
    tell(w, "\n");
}

/* One step and what follows from it; returns false when nothing more is to be done before deadline.
 */
static inline bool turn(struct world *w, int64_t *ret_deadline_ms)
{
    struct lifecycle_desired desired = desire(w);
    struct lifecycle_observed seen = look(w);
    struct lifecycle_effects effects;
    lifecycle_step(&w->lifecycle, &desired, &seen, w->now_ms, &effects);
    *ret_deadline_ms = effects.deadline_ms;
    give_back(w, &effects);
    if (effects.moved) {
        assert_true(lifecycle_may_move(effects.from, w->lifecycle.state));
        w->stored = w->lifecycle;
        w->fetch = LIFECYCLE_FETCH_IDLE;
        w->switch_error = ERR_OK;
        w->attempts += effects.new_attempt;
        w->moves++;
        if (w->lifecycle.state == LIFECYCLE_WAITING)
            w->retry_at_ms = w->now_ms + 100;
        if (w->lifecycle.state == LIFECYCLE_STARTING)
            w->leased = false; /* used */
        if (w->lifecycle.state == LIFECYCLE_REFUSED)
            w->deadman = false;
        tell_move(w, &effects);
    }
    act(w, &effects);
    return effects.moved || effects.action != LIFECYCLE_DO_NOTHING;
}

/* Runs until nothing is to be done and no deadline lies within ms. */
static inline void run(struct world *w, int64_t ms)
{
    int64_t end_ms = w->now_ms + ms;
    for (int i = 0; i < 10000; i++) {
        int64_t deadline_ms;
        if (turn(w, &deadline_ms))
            continue;
        if (deadline_ms > end_ms) {
            w->now_ms = end_ms;
            return;
        }
        if (deadline_ms > w->now_ms)
            w->now_ms = deadline_ms;
    }
    fail_msg("no rest after 10000 turns in state %s", lifecycle_state_name(w->lifecycle.state));
}

static inline void run_to(struct world *w, enum lifecycle_state state)
{
    int64_t deadline_ms;
    for (int i = 0; i < 100 && w->lifecycle.state != state; i++)
        (void)turn(w, &deadline_ms);
    assert_int_equal(w->lifecycle.state, state);
}

static inline void crash(struct world *w, bool reboot)
{
    if (reboot)
        w->running = 0;
    w->lifecycle = w->stored;
    w->started = w->failed = false;
    w->fetch = LIFECYCLE_FETCH_IDLE;
    w->switch_error = ERR_OK;
    w->healthy_since_ms = w->bus_ms = -1;
    w->retry_at_ms = 0;
    w->leased = false;
    w->lease_again_ms = 0;
    w->hook = w->hook_says == LIFECYCLE_HOOK_NONE ? LIFECYCLE_HOOK_NONE : LIFECYCLE_HOOK_UNASKED;
    lifecycle_restarted(&w->lifecycle, reboot, w->now_ms);
}

static inline void expect(struct world *w, const char *transcript)
{
    assert_string_equal(w->transcript, transcript);
    w->transcript[0] = '\0';
}

static inline void install(struct world *w, int id)
{
    want(w, id);
    run(w, 10 * CONFIRM_MS);
    assert_int_equal(w->lifecycle.state, LIFECYCLE_SERVING);
    assert_int_equal(w->running, id);
    w->transcript[0] = '\0';
}

/* What the supervising parent does to the disk and the processes. */
static inline void fire_deadman(struct world *w)
{
    w->current = id_of(&w->stored.confirmed);
    w->running = 0;
    w->started = false;
    w->deadman = true;
}
