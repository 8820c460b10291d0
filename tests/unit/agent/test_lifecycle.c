/* SPDX-License-Identifier: Apache-2.0
 *
 * The life of an app, told as stories: a small world (disk, processes, network, clock) does what
 * the machine asks for, one line for each move, and each test asserts the whole conversation. Then
 * a random walk through worlds that crash at every point.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/core/lifecycle.h"
#include "common/base/rng.h"
#include "common/clock.h"
#include "tests/support/tempdir.h"

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

static struct lifecycle_release release(int id)
{
    struct lifecycle_release ret = {.set = id > 0};
    if (id > 0)
        memset(ret.digest, id, DIGEST_BYTES);
    return ret;
}

static int id_of(const struct lifecycle_release *r)
{
    return r->set ? r->digest[0] : 0;
}

static void tell(struct world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void tell(struct world *w, const char *fmt, ...)
{
    size_t used = strlen(w->transcript);
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(w->transcript + used, sizeof w->transcript - used, fmt, args);
    va_end(args);
}

static void world_init(struct world *w)
{
    memset(w, 0, sizeof *w);
    w->bus = true;
    w->bus_ms = -1;
    w->healthy_since_ms = -1;
    w->now_ms = 1000;
    for (int i = 1; i <= RELEASES; i++)
        w->kinds[i].data_version = 1;
}

static void want(struct world *w, int id)
{
    w->desired = id;
    w->decision++;
}

static struct lifecycle_observed look(struct world *w)
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

static struct lifecycle_desired desire(const struct world *w)
{
    return (struct lifecycle_desired){
        .release = release(w->desired),
        .decision = w->decision,
        .data_version =
            w->desired > 0 && w->on_disk[w->desired] ? w->kinds[w->desired].data_version : 0,
        .lease = w->lease,
    };
}

static const char *report_name(enum lifecycle_report report)
{
    static const char *const names[] = {"",          "fetched",     "fetch failed", "activated",
                                        "confirmed", "rolled back", "refused"};
    return names[report];
}

static void prune(struct world *w)
{
    for (int i = 1; i <= RELEASES; i++) {
        const struct lifecycle *l = &w->lifecycle;
        if (i != id_of(&l->target) && i != id_of(&l->confirmed) && i != id_of(&l->previous))
            w->on_disk[i] = false;
    }
}

static void start(struct world *w)
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

static void fetch(struct world *w, int id)
{
    if (w->kinds[id].fetch_error != ERR_OK || w->network_down) {
        w->fetch = LIFECYCLE_FETCH_FAILED;
        w->fetch_error = w->network_down ? ERR_NO_CONTACT : w->kinds[id].fetch_error;
        return;
    }
    w->fetch = LIFECYCLE_FETCH_IDLE;
    w->on_disk[id] = true;
}

static void act(struct world *w, const struct lifecycle_effects *effects)
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
static void give_back(struct world *w, const struct lifecycle_effects *effects)
{
    if (!effects->return_lease)
        return;
    w->returns += w->leased;
    w->leased = false;
}

static void tell_move(struct world *w, const struct lifecycle_effects *effects)
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
static bool turn(struct world *w, int64_t *ret_deadline_ms)
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
static void run(struct world *w, int64_t ms)
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

static void run_to(struct world *w, enum lifecycle_state state)
{
    int64_t deadline_ms;
    for (int i = 0; i < 100 && w->lifecycle.state != state; i++)
        (void)turn(w, &deadline_ms);
    assert_int_equal(w->lifecycle.state, state);
}

static void crash(struct world *w, bool reboot)
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

static void expect(struct world *w, const char *transcript)
{
    assert_string_equal(w->transcript, transcript);
    w->transcript[0] = '\0';
}

static void install(struct world *w, int id)
{
    want(w, id);
    run(w, 10 * CONFIRM_MS);
    assert_int_equal(w->lifecycle.state, LIFECYCLE_SERVING);
    assert_int_equal(w->running, id);
    w->transcript[0] = '\0';
}

static void test_lifecycle__stays_empty_when_nothing_is_desired(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    run(&w, 100000);
    expect(&w, "");
    assert_int_equal(w.lifecycle.state, LIFECYCLE_EMPTY);
}

static void test_lifecycle__installs(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    want(&w, 1);
    run(&w, 10 * CONFIRM_MS);
    expect(&w, "empty -> fetching\n"
               "fetching -> asking, reports 1 fetched\n"
               "asking -> stopping (rule 10)\n"
               "stopping -> switching (rule 2)\n"
               "switching -> starting\n"
               "starting -> confirming, reports 1 activated\n"
               "confirming -> serving (rule 6), reports 1 confirmed\n");
    assert_int_equal(w.running, 1);
    assert_int_equal(w.attempts, 1);
}

static void test_lifecycle__upgrades_and_keeps_the_one_before(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    install(&w, 2);
    install(&w, 3);
    assert_int_equal(w.current, 3);
    assert_true(w.on_disk[2]);
    assert_false(w.on_disk[1]);
}

static void test_lifecycle__rule_1_keeps_running_when_nothing_is_desired(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    want(&w, 0);
    run(&w, 100000);
    expect(&w, "");
    assert_int_equal(w.running, 1);
}

static void test_lifecycle__rule_1_leaves_an_attempt_when_nothing_is_desired(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    w.network_down = true;
    want(&w, 1);
    run(&w, 50);
    want(&w, 0);
    run(&w, 1000);
    expect(&w, "empty -> fetching\n"
               "fetching -> waiting (rule 5), reports 1 fetch failed no_contact\n"
               "waiting -> empty (rule 1)\n");
}

static void test_lifecycle__rule_2_serves_the_old_one_while_fetching_after_a_reboot(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    w.network_down = true;
    want(&w, 2);
    run(&w, 500);
    crash(&w, true);
    assert_int_equal(w.running, 0);
    run(&w, 500);
    assert_int_equal(w.running, 1);
    assert_int_equal(w.current, 1);
    assert_int_equal(w.lifecycle.state, LIFECYCLE_WAITING);
}

static void
test_lifecycle__rule_3_does_not_try_a_failed_release_again_for_the_same_decision(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    w.kinds[2].sick = true;
    want(&w, 2);
    run(&w, 100000);
    assert_int_equal(w.lifecycle.state, LIFECYCLE_REFUSED);
    w.transcript[0] = '\0';
    crash(&w, true); /* nor after a reboot */
    run(&w, 100000);
    expect(&w, "");
    assert_int_equal(w.running, 1);
    assert_int_equal(w.attempts, 2);
}

static void test_lifecycle__rule_3_tries_again_when_it_is_decided_again(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    w.kinds[2].sick = true;
    want(&w, 2);
    run(&w, 100000);
    w.kinds[2].sick = false;
    w.transcript[0] = '\0';
    want(&w, 2);
    run(&w, 100000);
    assert_int_equal(w.running, 2);
    assert_int_equal(w.lifecycle.state, LIFECYCLE_SERVING);
}

static void test_lifecycle__rule_4_refuses_a_downgrade(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    w.kinds[1].data_version = 2;
    install(&w, 1);
    want(&w, 2);
    run(&w, 100000);
    expect(&w, "serving -> fetching\n"
               "fetching -> refused (rule 4), reports 2 refused rollback\n");
    assert_int_equal(w.running, 1);
    assert_int_equal(w.current, 1);
}

static void test_lifecycle__rule_5_retries_a_fetch_until_it_works(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    w.network_down = true;
    want(&w, 1);
    run(&w, 250);
    w.network_down = false;
    run(&w, 10 * CONFIRM_MS);
    expect(&w, "empty -> fetching\n"
               "fetching -> waiting (rule 5), reports 1 fetch failed no_contact\n"
               "waiting -> fetching (rule 5)\n"
               "fetching -> waiting (rule 5)\n"
               "waiting -> fetching (rule 5)\n"
               "fetching -> waiting (rule 5)\n"
               "waiting -> fetching (rule 5)\n"
               "fetching -> asking, reports 1 fetched\n"
               "asking -> stopping (rule 10)\n"
               "stopping -> switching (rule 2)\n"
               "switching -> starting\n"
               "starting -> confirming, reports 1 activated\n"
               "confirming -> serving (rule 6), reports 1 confirmed\n");
    assert_int_equal(w.attempts, 1);
}

static void test_lifecycle__rule_5_refuses_what_no_retry_can_mend(void **unused)
{
    (void)unused;
    static const enum err_code final[] = {ERR_BAD_SIGNATURE, ERR_THRESHOLD, ERR_ROLLBACK,
                                          ERR_WRONG_TARGET,  ERR_REVOKED,   ERR_MALFORMED,
                                          ERR_ROOT_CHAIN};
    for (size_t i = 0; i < sizeof final / sizeof *final; i++) {
        struct world w;
        world_init(&w);
        install(&w, 1);
        w.kinds[2].fetch_error = final[i];
        want(&w, 2);
        run(&w, 100000);
        assert_int_equal(w.lifecycle.state, LIFECYCLE_REFUSED);
        assert_int_equal(w.lifecycle.refused_code, final[i]);
        assert_int_equal(w.running, 1);
    }
}

static void test_lifecycle__rule_5_a_new_start_tries_again_what_was_refused_unseen(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    w.kinds[1].fetch_error = ERR_BAD_SIGNATURE;
    want(&w, 1);
    run(&w, 100000);
    w.kinds[1].fetch_error = ERR_OK; /* the operator mended the trust anchor */
    crash(&w, false);
    run(&w, 10 * CONFIRM_MS);
    assert_int_equal(w.lifecycle.state, LIFECYCLE_SERVING);
    assert_int_equal(w.running, 1);
}

static void test_lifecycle__rule_5_serves_the_old_one_when_the_switch_fails(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    w.disk_full = true;
    want(&w, 2);
    run(&w, 50);
    expect(&w, "serving -> fetching\n"
               "fetching -> asking, reports 2 fetched\n"
               "asking -> stopping (rule 10)\n"
               "stopping -> switching (rule 2)\n"
               "switching -> waiting (rule 5), reports 2 fetch failed no_space\n");
    assert_int_equal(w.running, 1);
    w.disk_full = false;
    run(&w, 10 * CONFIRM_MS);
    assert_int_equal(w.running, 2);
    assert_int_equal(w.lifecycle.state, LIFECYCLE_SERVING);
}

static void test_lifecycle__rule_6_goes_back_when_unhealthy(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    w.kinds[2].sick = true;
    want(&w, 2);
    int64_t before_ms = w.now_ms;
    run(&w, CONFIRM_MS + GRACE_MS);
    expect(&w, "serving -> fetching\n"
               "fetching -> asking, reports 2 fetched\n"
               "asking -> stopping (rule 10)\n"
               "stopping -> switching (rule 2)\n"
               "switching -> starting\n"
               "starting -> confirming, reports 2 activated\n"
               "confirming -> retreating (rule 6)\n"
               "retreating -> restoring (rule 6)\n"
               "restoring -> refused (rule 6), reports 2 rolled back unhealthy\n");
    assert_int_equal(w.now_ms, before_ms + CONFIRM_MS + GRACE_MS);
    assert_int_equal(w.running, 1);
    assert_int_equal(w.current, 1);
}

static void test_lifecycle__rule_6_goes_back_when_a_service_gives_up(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    w.kinds[2].crashing = true;
    want(&w, 2);
    run(&w, 0); /* at once, without waiting for the deadline */
    assert_int_equal(w.lifecycle.state, LIFECYCLE_REFUSED);
    assert_int_equal(w.running, 1);
}

static void test_lifecycle__rule_6_goes_back_when_the_bus_is_lost(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    want(&w, 2);
    run(&w, CONFIRM_MS / 2);
    assert_int_equal(w.lifecycle.state, LIFECYCLE_CONFIRMING);
    w.bus = false;
    w.bus_ms = -1; /* never since the switch */
    run(&w, CONFIRM_MS + GRACE_MS);
    assert_int_equal(w.lifecycle.state, LIFECYCLE_REFUSED);
    assert_int_equal(w.running, 1);
}

static void test_lifecycle__rule_6_health_must_last_without_a_break(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    want(&w, 1);
    run(&w, CONFIRM_MS / 2);
    w.healthy_since_ms = -1;
    run(&w, 100);
    w.healthy_since_ms = w.now_ms;
    run(&w, CONFIRM_MS - 1);
    assert_int_equal(w.lifecycle.state, LIFECYCLE_CONFIRMING);
    run(&w, 1);
    assert_int_equal(w.lifecycle.state, LIFECYCLE_SERVING);
}

static void test_lifecycle__rule_6_goes_back_when_the_machine_dies_of_it(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    want(&w, 2);
    for (int i = 0; i < LIFECYCLE_REBOOTS_MAX; i++) {
        run(&w, CONFIRM_MS / 2);
        assert_int_equal(w.lifecycle.state, LIFECYCLE_CONFIRMING);
        crash(&w, true);
        w.stored = w.lifecycle; /* the shell keeps what a restart changed */
    }
    run(&w, 10 * CONFIRM_MS);
    assert_int_equal(w.lifecycle.state, LIFECYCLE_REFUSED);
    assert_int_equal(w.running, 1);
}

static void test_lifecycle__rule_6_a_killed_agent_does_not_count_as_a_dead_machine(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    want(&w, 2);
    for (int i = 0; i < 3 * LIFECYCLE_REBOOTS_MAX; i++) {
        run(&w, CONFIRM_MS / 2);
        assert_int_equal(w.lifecycle.state, LIFECYCLE_CONFIRMING);
        crash(&w, false);
        w.stored = w.lifecycle;
    }
    run(&w, 10 * CONFIRM_MS);
    assert_int_equal(w.running, 2);
    assert_int_equal(w.lifecycle.state, LIFECYCLE_SERVING);
}

static void test_lifecycle__rule_7_stops_a_first_release_that_fails(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    w.kinds[1].sick = true;
    want(&w, 1);
    run(&w, 100000);
    expect(&w, "empty -> fetching\n"
               "fetching -> asking, reports 1 fetched\n"
               "asking -> stopping (rule 10)\n"
               "stopping -> switching (rule 2)\n"
               "switching -> starting\n"
               "starting -> confirming, reports 1 activated\n"
               "confirming -> retreating (rule 6)\n"
               "retreating -> restoring (rule 6)\n"
               "restoring -> refused (rule 7), reports 1 refused unhealthy\n");
    assert_int_equal(w.running, 0);
    assert_int_equal(w.current, 0);
    install(&w, 2);
}

static void test_lifecycle__rule_8_before_the_switch_at_once(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    w.network_down = true;
    want(&w, 2);
    run(&w, 50);
    w.network_down = false;
    want(&w, 3);
    run(&w, 10 * CONFIRM_MS);
    expect(&w, "serving -> fetching\n"
               "fetching -> waiting (rule 5), reports 2 fetch failed no_contact\n"
               "waiting -> fetching (rule 8)\n"
               "fetching -> asking, reports 3 fetched\n"
               "asking -> stopping (rule 10)\n"
               "stopping -> switching (rule 2)\n"
               "switching -> starting\n"
               "starting -> confirming, reports 3 activated\n"
               "confirming -> serving (rule 6), reports 3 confirmed\n");
    assert_int_equal(w.attempts, 3);
}

static void test_lifecycle__rule_8_back_to_what_runs_before_the_switch(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    want(&w, 2);
    run_to(&w, LIFECYCLE_SWITCHING);
    want(&w, 1);
    w.transcript[0] = '\0';
    run(&w, 10 * CONFIRM_MS);
    expect(&w, "switching -> serving (rule 8)\n");
    assert_int_equal(w.running, 1);
}

static void test_lifecycle__rule_8_after_the_switch_when_it_has_ended(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    want(&w, 2);
    run(&w, CONFIRM_MS / 2);
    w.transcript[0] = '\0';
    want(&w, 3);
    run(&w, CONFIRM_MS / 4);
    expect(&w, "");
    run(&w, 10 * CONFIRM_MS);
    assert_int_equal(w.running, 3);
    assert_int_equal(id_of(&w.lifecycle.previous), 2);
}

static void test_lifecycle__rule_9_fetches_again_what_the_disk_lost(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    crash(&w, true);
    w.on_disk[1] = false;
    w.current = 0; /* a link to nothing is no link */
    run(&w, 10 * CONFIRM_MS);
    assert_int_equal(w.lifecycle.state, LIFECYCLE_SERVING);
    assert_int_equal(w.running, 1);
    assert_int_equal(w.current, 1);
}

static void test_lifecycle__rule_9_fetches_again_a_staged_release_that_is_lost(void **unused)
{
    (void)unused;
    static const enum lifecycle_state states[] = {LIFECYCLE_STOPPING, LIFECYCLE_SWITCHING};
    for (size_t i = 0; i < 2; i++) {
        struct world w;
        world_init(&w);
        install(&w, 1);
        want(&w, 2);
        run_to(&w, states[i]);
        w.on_disk[2] = false;
        w.transcript[0] = '\0';
        run(&w, 10 * CONFIRM_MS);
        assert_non_null(strstr(w.transcript, i == 0 ? "stopping -> fetching (rule 9)"
                                                    : "switching -> fetching (rule 9)"));
        assert_int_equal(w.running, 2);
        assert_int_equal(w.lifecycle.state, LIFECYCLE_SERVING);
    }
}

static void test_lifecycle__rule_2_stops_what_still_runs_before_it_switches(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    want(&w, 2);
    run_to(&w, LIFECYCLE_SWITCHING);
    w.running = 1;
    int64_t deadline_ms;
    assert_true(turn(&w, &deadline_ms));
    assert_int_equal(w.running, 0);
    assert_int_equal(w.current, 1); /* not switched under its feet */
    run(&w, 10 * CONFIRM_MS);
    assert_int_equal(w.running, 2);
}

static void test_lifecycle__rule_10_waits_for_a_lease(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    w.lease = true;
    want(&w, 2);
    run(&w, 1000);
    expect(&w, "serving -> fetching\n"
               "fetching -> asking, reports 2 fetched\n");
    assert_int_equal(w.running, 1); /* all the time */
    assert_in_range(w.asks, 10, 11);
    w.gives = true;
    run(&w, 3 * CONFIRM_MS);
    expect(&w, "asking -> stopping (rule 10)\n"
               "stopping -> switching (rule 2)\n"
               "switching -> starting\n"
               "starting -> confirming, reports 2 activated\n"
               "confirming -> serving (rule 6), reports 2 confirmed\n");
    assert_int_equal(w.returns, 0);
}

static void test_lifecycle__rule_10_a_lock_comes_before_the_lease(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    w.lease = w.gives = w.locked = true;
    want(&w, 2);
    run(&w, 1000);
    assert_int_equal(w.lifecycle.state, LIFECYCLE_ASKING);
    assert_int_equal(w.asks, 0);
    w.locked = false;
    run(&w, 3 * CONFIRM_MS);
    assert_int_equal(w.running, 2);
    assert_int_equal(w.asks, 1);
}

static void test_lifecycle__rule_10_a_hook_that_says_not_now_gives_the_lease_back(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    w.lease = w.gives = true;
    w.hook = LIFECYCLE_HOOK_UNASKED;
    w.hook_says = LIFECYCLE_HOOK_NOT_NOW;
    want(&w, 2);
    run(&w, 1000);
    assert_int_equal(w.lifecycle.state, LIFECYCLE_ASKING);
    assert_int_equal(w.running, 1);
    assert_int_equal(w.asks, 1);
    assert_int_equal(w.returns, 1);
    w.hook = LIFECYCLE_HOOK_UNASKED; /* its time has come */
    w.hook_says = LIFECYCLE_HOOK_PASSED;
    run(&w, 3 * CONFIRM_MS);
    assert_int_equal(w.running, 2);
    assert_int_equal(w.hooks, 2);
    assert_int_equal(w.asks, 2);
}

static void test_lifecycle__rule_10_a_lease_is_given_back_when_another_wish_comes(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    w.lease = w.gives = true;
    want(&w, 2);
    run_to(&w, LIFECYCLE_STOPPING);
    want(&w, 1);
    run(&w, 1000);
    assert_int_equal(w.returns, 1);
    assert_int_equal(w.lifecycle.state, LIFECYCLE_SERVING);
    assert_int_equal(w.running, 1);
}

static void test_lifecycle__rule_10_a_refused_release_is_tried_again_by_a_lease(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    w.lease = w.gives = true;
    w.kinds[2].sick = true;
    want(&w, 2);
    run_to(&w, LIFECYCLE_CONFIRMING);
    w.gives = false;
    run(&w, 10 * (CONFIRM_MS + GRACE_MS));
    assert_int_equal(w.lifecycle.state, LIFECYCLE_REFUSED);
    assert_int_equal(w.running, 1);
    unsigned attempts = w.attempts;
    w.kinds[2].sick = false;
    run(&w, 10 * CONFIRM_MS);
    assert_int_equal(w.attempts, attempts); /* boxed */
    w.gives = true;
    run(&w, 10 * CONFIRM_MS);
    assert_int_equal(w.attempts, attempts + 1);
    assert_int_equal(w.running, 2);
    assert_int_equal(w.lifecycle.state, LIFECYCLE_SERVING);
}

/* What the supervising parent does to the disk and the processes. */
static void fire_deadman(struct world *w)
{
    w->current = id_of(&w->stored.confirmed);
    w->running = 0;
    w->started = false;
    w->deadman = true;
}

static void test_lifecycle__rule_11_tells_what_the_dead_man_timer_did(void **unused)
{
    (void)unused;
    static const enum lifecycle_state states[] = {LIFECYCLE_SWITCHING, LIFECYCLE_STARTING,
                                                  LIFECYCLE_CONFIRMING};
    for (size_t i = 0; i < 3; i++) {
        struct world w;
        world_init(&w);
        install(&w, 1);
        w.kinds[2].sick = true;
        want(&w, 2);
        run_to(&w, states[i]);
        fire_deadman(&w);
        crash(&w, false);
        w.transcript[0] = '\0';
        run(&w, 1000);
        const char *told = strstr(w.transcript, " -> retreating (rule 11)\n"
                                                "retreating -> restoring (rule 6)\n"
                                                "restoring -> refused (rule 6), reports 2 rolled "
                                                "back unhealthy\n");
        assert_non_null(told);
        assert_int_equal(w.running, 1);
    }
}

static void test_lifecycle__rule_12_no_space_is_not_tried_before_space_has_grown(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    w.disk_full = true;
    want(&w, 2);
    run(&w, 20 * LIFECYCLE_SPACE_LOOK_MS);
    assert_int_equal(w.lifecycle.state, LIFECYCLE_WAITING);
    assert_int_equal(w.running, 1);
    assert_int_equal(w.lifecycle.failures, 1); /* the first try, and no other */
    w.disk_full = false;
    run(&w, LIFECYCLE_SPACE_LOOK_MS + 3 * CONFIRM_MS);
    assert_int_equal(w.running, 2);
}

static void test_lifecycle__repairs_the_link(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    w.current = 0;
    run(&w, 10);
    expect(&w, "");
    assert_int_equal(w.current, 1);
}

static void test_lifecycle__table_has_no_dead_end_and_no_orphan(void **unused)
{
    (void)unused;
    for (int s = 0; s < LIFECYCLE_STATES; s++) {
        unsigned in = 0, out = 0;
        for (int t = 0; t < LIFECYCLE_STATES; t++) {
            out += s != t && lifecycle_may_move((enum lifecycle_state)s, (enum lifecycle_state)t);
            in += s != t && lifecycle_may_move((enum lifecycle_state)t, (enum lifecycle_state)s);
        }
        assert_true(in > 0 && out > 0);
    }
    assert_false(lifecycle_may_move(LIFECYCLE_STATES, LIFECYCLE_EMPTY));
}

/* Every order in which three wishes can follow each other, with a crash after each: it always ends
 * with the last one running. */
static void test_lifecycle__all_orders_of_three_wishes(void **unused)
{
    (void)unused;
    static const int orders[6][3] = {{1, 2, 3}, {1, 3, 2}, {2, 1, 3},
                                     {2, 3, 1}, {3, 1, 2}, {3, 2, 1}};
    static const int64_t gaps_ms[] = {0, CONFIRM_MS / 2, 5 * CONFIRM_MS};
    for (unsigned o = 0; o < 6; o++) {
        for (unsigned g = 0; g < 3 * 3 * 2; g++) {
            struct world w;
            world_init(&w);
            for (unsigned i = 0; i < 3; i++) {
                want(&w, orders[o][i]);
                run(&w, gaps_ms[i == 1 ? g / 3 % 3 : g % 3]);
                crash(&w, g >= 9);
            }
            run(&w, 20 * CONFIRM_MS);
            assert_int_equal(w.lifecycle.state, LIFECYCLE_SERVING);
            assert_int_equal(w.running, orders[o][2]);
        }
    }
}

/* The random walk: one action of fate between any two steps, and a crash at any point of a turn. */

static void never_between(const struct world *w)
{
    assert_true(w->current == 0 || w->on_disk[w->current]);
    assert_true(w->running == 0 || w->on_disk[w->running]);
    if (w->stored.confirmed.set)
        assert_true(w->on_disk[id_of(&w->stored.confirmed)]);
}

/* As turn, but the agent may die before the state is kept, between keeping and acting, and after
 * acting. */
static void turn_and_maybe_crash(struct world *w, struct rng *rng)
{
    struct lifecycle_desired desired = desire(w);
    struct lifecycle_observed seen = look(w);
    struct lifecycle_effects effects;
    unsigned fate = (unsigned)rng_below(rng, 24);
    bool reboot = fate % 2;
    lifecycle_step(&w->lifecycle, &desired, &seen, w->now_ms, &effects);
    if (fate < 2) {
        crash(w, reboot);
        return;
    }
    if (effects.moved) {
        w->stored = w->lifecycle;
        w->fetch = LIFECYCLE_FETCH_IDLE;
        w->switch_error = ERR_OK;
        w->retry_at_ms = w->now_ms + 100;
        if (w->lifecycle.state == LIFECYCLE_REFUSED)
            w->deadman = false;
    }
    give_back(w, &effects);
    if (fate < 4) {
        crash(w, reboot);
        return;
    }
    act(w, &effects);
    if (fate < 6)
        crash(w, reboot);
}

static void fate(struct world *w, struct rng *rng)
{
    switch (rng_below(rng, 24)) {
    case 0:
        want(w, (int)rng_below(rng, RELEASES + 1));
        break;
    case 1:
        w->network_down = !w->network_down;
        break;
    case 2:
        w->bus = !w->bus;
        break;
    case 3:
        w->disk_full = rng_below(rng, 3) == 0;
        w->switch_error = ERR_OK; /* space is looked at when it is missed */
        break;
    case 4:
        w->now_ms += (int64_t)rng_below(rng, 2 * CONFIRM_MS);
        break;
    case 5: /* a service dies by itself and is not up again yet */
        w->healthy_since_ms = -1;
        break;
    case 7:
        w->locked = rng_below(rng, 4) == 0;
        w->lease = rng_below(rng, 2);
        w->gives = rng_below(rng, 2);
        w->hook_says = (enum lifecycle_hook)rng_below(rng, 5);
        if (w->hook_says == LIFECYCLE_HOOK_UNASKED || w->hook_says == LIFECYCLE_HOOK_RUNNING)
            w->hook_says = LIFECYCLE_HOOK_PASSED;
        w->hook = w->hook_says ? LIFECYCLE_HOOK_UNASKED : LIFECYCLE_HOOK_NONE;
        break;
    case 8:
        if (w->stored.confirmed.set && rng_below(rng, 4) == 0 &&
            (w->stored.state == LIFECYCLE_SWITCHING || w->stored.state == LIFECYCLE_STARTING ||
             w->stored.state == LIFECYCLE_CONFIRMING)) {
            fire_deadman(w);
            crash(w, rng_below(rng, 2));
        }
        break;
    case 6: /* somebody cleans up */
        if (w->desired != w->current && w->desired != id_of(&w->stored.confirmed))
            w->on_disk[w->desired] = false;
        break;
    default:
        w->now_ms += (int64_t)rng_below(rng, 50);
        if (w->started && !w->kinds[w->current].sick && !w->kinds[w->current].crashing &&
            w->healthy_since_ms < 0)
            w->healthy_since_ms = w->now_ms;
    }
}

static void ends_well(struct world *w)
{
    int wish = w->desired;
    const struct kind *kind = &w->kinds[wish];
    bool good = !kind->sick && !kind->crashing && kind->fetch_error == ERR_OK;
    enum lifecycle_state state = w->lifecycle.state;
    assert_true(state == LIFECYCLE_SERVING || state == LIFECYCLE_REFUSED ||
                state == LIFECYCLE_EMPTY);
    assert_int_equal(w->running, w->current);
    assert_int_equal(w->running, id_of(&w->lifecycle.confirmed));
    if (wish == 0) {
        assert_int_equal(state, w->running ? LIFECYCLE_SERVING : LIFECYCLE_EMPTY);
    } else if (state == LIFECYCLE_SERVING) {
        assert_int_equal(w->running, wish);
    } else {
        assert_int_equal(state, LIFECYCLE_REFUSED);
        assert_int_equal(id_of(&w->lifecycle.refused), wish);
        bool downgrade = kind->data_version < w->lifecycle.data_version;
        assert_true(!good || downgrade || w->lifecycle.refused_code == ERR_UNHEALTHY);
    }
}

static void walk(uint64_t seed)
{
    struct rng rng;
    rng_seed(&rng, seed);
    struct world w;
    world_init(&w);
    for (int i = 1; i <= RELEASES; i++) {
        w.kinds[i].data_version = 1 + (uint32_t)rng_below(&rng, 2);
        w.kinds[i].sick = rng_below(&rng, 5) == 0;
        w.kinds[i].crashing = rng_below(&rng, 6) == 0;
        w.kinds[i].fetch_error = rng_below(&rng, 6) == 0 ? ERR_BAD_SIGNATURE : ERR_OK;
    }
    for (int i = 0; i < 300; i++) {
        fate(&w, &rng);
        turn_and_maybe_crash(&w, &rng);
        never_between(&w);
    }
    /* The world calms down; a release that is well now says so again. */
    w.network_down = w.disk_full = w.locked = false;
    w.lease = false; /* else captain lets bad ones be tried for ever */
    w.hook_says = w.hook_says ? LIFECYCLE_HOOK_PASSED : LIFECYCLE_HOOK_NONE;
    w.bus = true;
    crash(&w, true);
    run(&w, 100 * (CONFIRM_MS + GRACE_MS));
    never_between(&w);
    ends_well(&w);
}

static void test_lifecycle__random_worlds_with_crashes_everywhere(void **unused)
{
    (void)unused;
    const char *given = getenv("CAPTAIN_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)clock_unix_ms();
    print_message("seed %llu (CAPTAIN_SEED repeats it)\n", (unsigned long long)seed);
    for (uint64_t i = 0; i < 2000; i++)
        walk(seed + i);
}

/* The diagram in agent/README.md is drawn from the table. CAPTAIN_REWRITE=1 writes it anew. */

static const char begin_mark[] = "<!-- lifecycle: drawn by tests/unit/agent/test_lifecycle.c -->\n";
static const char end_mark[] = "<!-- /lifecycle -->\n";

static void draw(char *ret, size_t size)
{
    size_t used = (size_t)snprintf(ret, size, "```mermaid\nstateDiagram-v2\n    [*] --> empty\n");
    for (int s = 0; s < LIFECYCLE_STATES; s++) {
        for (int t = 0; t < LIFECYCLE_STATES; t++) {
            if (lifecycle_may_move((enum lifecycle_state)s, (enum lifecycle_state)t))
                used += (size_t)snprintf(ret + used, size - used, "    %s --> %s\n",
                                         lifecycle_state_name((enum lifecycle_state)s),
                                         lifecycle_state_name((enum lifecycle_state)t));
        }
    }
    (void)snprintf(ret + used, size - used, "```\n");
}

static void rewrite(const char *path, const char *text, const char *from, const char *to,
                    const char *drawing)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fprintf(file, "%.*s%s%s", (int)(from - text), text, drawing, to) > 0);
    assert_int_equal(fclose(file), 0);
}

static void test_lifecycle__diagram_in_the_readme_is_the_table(void **unused)
{
    (void)unused;
    const char *source = getenv("CAPTAIN_SOURCE_DIR");
    if (!source)
        skip();
    char *path = tempdir_path(source, "agent/README.md");
    char *text = tempdir_read(path, NULL);
    assert_non_null(text);
    const char *from = strstr(text, begin_mark);
    assert_non_null(from);
    from += sizeof begin_mark - 1;
    const char *to = strstr(from, end_mark);
    assert_non_null(to);
    char drawing[4096];
    draw(drawing, sizeof drawing);
    bool equal =
        strlen(drawing) == (size_t)(to - from) && memcmp(drawing, from, strlen(drawing)) == 0;
    if (!equal && getenv("CAPTAIN_REWRITE"))
        rewrite(path, text, from, to, drawing);
    else
        assert_true(equal); /* CAPTAIN_REWRITE=1 draws it anew */
    free(text);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lifecycle__stays_empty_when_nothing_is_desired),
        cmocka_unit_test(test_lifecycle__installs),
        cmocka_unit_test(test_lifecycle__upgrades_and_keeps_the_one_before),
        cmocka_unit_test(test_lifecycle__rule_1_keeps_running_when_nothing_is_desired),
        cmocka_unit_test(test_lifecycle__rule_1_leaves_an_attempt_when_nothing_is_desired),
        cmocka_unit_test(test_lifecycle__rule_2_serves_the_old_one_while_fetching_after_a_reboot),
        cmocka_unit_test(
            test_lifecycle__rule_3_does_not_try_a_failed_release_again_for_the_same_decision),
        cmocka_unit_test(test_lifecycle__rule_3_tries_again_when_it_is_decided_again),
        cmocka_unit_test(test_lifecycle__rule_4_refuses_a_downgrade),
        cmocka_unit_test(test_lifecycle__rule_5_retries_a_fetch_until_it_works),
        cmocka_unit_test(test_lifecycle__rule_5_refuses_what_no_retry_can_mend),
        cmocka_unit_test(test_lifecycle__rule_5_a_new_start_tries_again_what_was_refused_unseen),
        cmocka_unit_test(test_lifecycle__rule_5_serves_the_old_one_when_the_switch_fails),
        cmocka_unit_test(test_lifecycle__rule_6_goes_back_when_unhealthy),
        cmocka_unit_test(test_lifecycle__rule_6_goes_back_when_a_service_gives_up),
        cmocka_unit_test(test_lifecycle__rule_6_goes_back_when_the_bus_is_lost),
        cmocka_unit_test(test_lifecycle__rule_6_health_must_last_without_a_break),
        cmocka_unit_test(test_lifecycle__rule_6_goes_back_when_the_machine_dies_of_it),
        cmocka_unit_test(test_lifecycle__rule_6_a_killed_agent_does_not_count_as_a_dead_machine),
        cmocka_unit_test(test_lifecycle__rule_7_stops_a_first_release_that_fails),
        cmocka_unit_test(test_lifecycle__rule_8_before_the_switch_at_once),
        cmocka_unit_test(test_lifecycle__rule_8_back_to_what_runs_before_the_switch),
        cmocka_unit_test(test_lifecycle__rule_8_after_the_switch_when_it_has_ended),
        cmocka_unit_test(test_lifecycle__rule_9_fetches_again_what_the_disk_lost),
        cmocka_unit_test(test_lifecycle__rule_9_fetches_again_a_staged_release_that_is_lost),
        cmocka_unit_test(test_lifecycle__rule_2_stops_what_still_runs_before_it_switches),
        cmocka_unit_test(test_lifecycle__rule_10_waits_for_a_lease),
        cmocka_unit_test(test_lifecycle__rule_10_a_lock_comes_before_the_lease),
        cmocka_unit_test(test_lifecycle__rule_10_a_hook_that_says_not_now_gives_the_lease_back),
        cmocka_unit_test(test_lifecycle__rule_10_a_lease_is_given_back_when_another_wish_comes),
        cmocka_unit_test(test_lifecycle__rule_10_a_refused_release_is_tried_again_by_a_lease),
        cmocka_unit_test(test_lifecycle__rule_11_tells_what_the_dead_man_timer_did),
        cmocka_unit_test(test_lifecycle__rule_12_no_space_is_not_tried_before_space_has_grown),
        cmocka_unit_test(test_lifecycle__repairs_the_link),
        cmocka_unit_test(test_lifecycle__table_has_no_dead_end_and_no_orphan),
        cmocka_unit_test(test_lifecycle__all_orders_of_three_wishes),
        cmocka_unit_test(test_lifecycle__random_worlds_with_crashes_everywhere),
        cmocka_unit_test(test_lifecycle__diagram_in_the_readme_is_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
