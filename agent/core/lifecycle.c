/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/core/lifecycle.h"

#include <assert.h>
#include <string.h>

/* The machine: who may follow whom. The diagram in agent/README.md is drawn from it. */
#define TO(state) (1u << LIFECYCLE_##state)

static const struct {
    const char *name;
    unsigned successors;
} table[LIFECYCLE_STATES] = {
    [LIFECYCLE_EMPTY] = {"empty", TO(FETCHING) | TO(REFUSED)},
    [LIFECYCLE_FETCHING] = {"fetching", TO(FETCHING) | TO(WAITING) | TO(ASKING) | TO(SERVING) |
                                            TO(REFUSED) | TO(EMPTY)},
    [LIFECYCLE_WAITING] = {"waiting", TO(FETCHING) | TO(SERVING) | TO(REFUSED) | TO(EMPTY)},
    [LIFECYCLE_STOPPING] = {"stopping",
                            TO(SWITCHING) | TO(FETCHING) | TO(SERVING) | TO(REFUSED) | TO(EMPTY)},
    [LIFECYCLE_SWITCHING] = {"switching", TO(STARTING) | TO(WAITING) | TO(FETCHING) | TO(SERVING) |
                                              TO(REFUSED) | TO(EMPTY) | TO(RETREATING)},
    [LIFECYCLE_STARTING] = {"starting", TO(CONFIRMING) | TO(RETREATING)},
    [LIFECYCLE_CONFIRMING] = {"confirming", TO(SERVING) | TO(RETREATING)},
    [LIFECYCLE_SERVING] = {"serving", TO(FETCHING) | TO(REFUSED) | TO(EMPTY)},
    [LIFECYCLE_RETREATING] = {"retreating", TO(RESTORING)},
    [LIFECYCLE_RESTORING] = {"restoring", TO(REFUSED)},
    [LIFECYCLE_REFUSED] = {"refused", TO(FETCHING) | TO(SERVING) | TO(EMPTY)},
    [LIFECYCLE_ASKING] = {"asking",
                          TO(STOPPING) | TO(FETCHING) | TO(SERVING) | TO(REFUSED) | TO(EMPTY)},
};

struct step {
    struct lifecycle *state;
    const struct lifecycle_desired *desired;
    const struct lifecycle_observed *seen;
    int64_t now_ms;
    struct lifecycle_effects *ret;
};

const char *lifecycle_state_name(enum lifecycle_state state)
{
    return (unsigned)state < LIFECYCLE_STATES ? table[state].name : "unknown";
}

bool lifecycle_may_move(enum lifecycle_state from, enum lifecycle_state to)
{
    return (unsigned)from < LIFECYCLE_STATES && (unsigned)to < LIFECYCLE_STATES &&
           (table[from].successors & (1u << to));
}

bool lifecycle_same(const struct lifecycle_release *a, const struct lifecycle_release *b)
{
    if (a->set != b->set)
        return false;
    return !a->set || memcmp(a->digest, b->digest, DIGEST_BYTES) == 0;
}

/* Before the switch, on to where no leave is needed: what captain granted is not used. */
static bool leaves_unused(enum lifecycle_state from, enum lifecycle_state to, bool another)
{
    const unsigned before = TO(FETCHING) | TO(WAITING) | TO(ASKING) | TO(STOPPING) | TO(SWITCHING);
    const unsigned over = TO(SERVING) | TO(EMPTY) | TO(REFUSED) | TO(WAITING);
    return before & (1u << from) && (over & (1u << to) || (to == LIFECYCLE_FETCHING && another));
}

static void move(struct step *s, enum lifecycle_state to, unsigned rule, const char *why)
{
    assert(lifecycle_may_move(s->state->state, to));
    s->ret->return_lease = leaves_unused(s->state->state, to, s->ret->new_attempt);
    s->ret->hold = LIFECYCLE_HOLD_NONE;
    s->ret->action = LIFECYCLE_DO_NOTHING;
    s->ret->moved = true;
    s->ret->from = s->state->state;
    s->ret->rule = rule;
    s->ret->why = why;
    s->ret->deadline_ms = s->now_ms;
    s->state->state = to;
    s->state->since_ms = s->now_ms;
}

static void report(struct step *s, enum lifecycle_report what, enum err_code code)
{
    s->ret->report = what;
    s->ret->report_code = code;
    s->ret->report_release = s->state->target;
}

static void want(struct step *s, enum lifecycle_action action)
{
    s->ret->action = action;
}

static void want_switch(struct step *s, const struct lifecycle_release *to)
{
    s->ret->action = LIFECYCLE_DO_SWITCH;
    s->ret->release = *to;
}

/* At the latest at at_ms; a moment that has passed means: at once. */
static void by(struct step *s, int64_t at_ms)
{
    if (at_ms < s->ret->deadline_ms)
        s->ret->deadline_ms = at_ms;
}

/* Rule 5: no retry mends these. */
static bool is_final(enum err_code code)
{
    switch (code) {
    case ERR_BAD_SIGNATURE:
    case ERR_THRESHOLD:
    case ERR_ROLLBACK:
    case ERR_WRONG_TARGET:
    case ERR_REVOKED:
    case ERR_MALFORMED:
    case ERR_ROOT_CHAIN:
        return true;
    default:
        return false;
    }
}

static void refuse_target(struct step *s, enum err_code code)
{
    s->state->refused = s->state->target;
    s->state->refused_decision = s->state->decision;
    s->state->refused_code = code;
}

static void refuse_before_switch(struct step *s, enum err_code code, unsigned rule, const char *why)
{
    refuse_target(s, code);
    report(s, LIFECYCLE_REPORT_REFUSED, code);
    s->state->target = s->state->confirmed;
    move(s, LIFECYCLE_REFUSED, rule, why);
}

static bool desired_is_refused(const struct step *s)
{
    return s->state->refused.set && s->state->refused_decision == s->desired->decision &&
           lifecycle_same(&s->state->refused, &s->desired->release);
}

/* Rule 2: with nothing better at hand the confirmed release is what runs, and nothing else does.
 * True when that is so already. */
static bool keep_confirmed_running(struct step *s)
{
    if (!s->state->confirmed.set) {
        if (s->seen->services_running)
            want(s, LIFECYCLE_DO_STOP);
        return !s->seen->services_running;
    }
    if (!lifecycle_same(&s->seen->current, &s->state->confirmed))
        want_switch(s, &s->state->confirmed);
    else if (!s->seen->services_started)
        want(s, LIFECYCLE_DO_START);
    else
        return true;
    return false;
}

static void rest(struct step *s, unsigned rule, const char *why)
{
    s->state->target = s->state->confirmed;
    s->state->failures = 0;
    s->state->reason_code = ERR_OK;
    s->state->space_bytes = 0;
    move(s, s->state->confirmed.set ? LIFECYCLE_SERVING : LIFECYCLE_EMPTY, rule, why);
}

static void begin_attempt(struct step *s, unsigned rule, const char *why)
{
    s->state->target = s->desired->release;
    s->state->decision = s->desired->decision;
    s->state->failures = 0;
    s->state->reason_code = ERR_OK;
    s->state->space_bytes = 0;
    s->ret->new_attempt = true;
    move(s, LIFECYCLE_FETCHING, rule, why);
}

/* From a state in which no attempt is under way to what is desired now. */
static void follow_desired(struct step *s, unsigned rule)
{
    if (!s->desired->release.set)
        rest(s, 1, "nothing is desired");
    else if (lifecycle_same(&s->desired->release, &s->state->confirmed))
        rest(s, rule, "what is desired is confirmed already");
    else if (desired_is_refused(s))
        move(s, LIFECYCLE_REFUSED, 3, "this decision's release was refused here before");
    else
        begin_attempt(s, rule, "another release is desired");
}

/* Rule 8, before the switch: true when the attempt was left. */
static bool left_attempt(struct step *s)
{
    if (s->desired->release.set && lifecycle_same(&s->desired->release, &s->state->target)) {
        s->state->decision = s->desired->decision;
        return false;
    }
    follow_desired(s, 8);
    return true;
}

/* The first failure and each change of its code are told; the rest is patience. */
static void wait_and_retry(struct step *s, enum err_code code, const char *why)
{
    if (s->state->failures == 0 || s->state->reason_code != code)
        report(s, LIFECYCLE_REPORT_FETCH_FAILED, code);
    s->state->failures++;
    s->state->reason_code = code;
    s->state->space_bytes =
        code == ERR_NO_SPACE ? s->seen->free_bytes + LIFECYCLE_SPACE_GROWN_BYTES : 0;
    move(s, LIFECYCLE_WAITING, 5, why);
}

static void fetch_failed(struct step *s)
{
    if (is_final(s->seen->fetch_error))
        refuse_before_switch(s, s->seen->fetch_error, 5, "no retry can mend this");
    else
        wait_and_retry(s, s->seen->fetch_error, "the fetch failed and is tried again later");
}

static void staged(struct step *s)
{
    if (s->desired->data_version < s->state->data_version) {
        refuse_before_switch(s, ERR_ROLLBACK, 4,
                             "downgrade: its data version is below the state's");
        return;
    }
    report(s, LIFECYCLE_REPORT_FETCHED, ERR_OK);
    move(s, LIFECYCLE_ASKING, 0, "the release is staged whole");
}

static void step_resting(struct step *s) /* EMPTY and SERVING */
{
    if (!lifecycle_same(&s->desired->release, &s->state->confirmed) && s->desired->release.set)
        follow_desired(s, 0);
    else if (keep_confirmed_running(s))
        s->state->decision = s->desired->release.set ? s->desired->decision : s->state->decision;
}

static void step_fetching(struct step *s)
{
    if (left_attempt(s))
        return;
    if (s->seen->target_staged)
        staged(s);
    else if (s->seen->fetch == LIFECYCLE_FETCH_FAILED)
        fetch_failed(s);
    else if (keep_confirmed_running(s)) {
        s->ret->action = LIFECYCLE_DO_FETCH;
        s->ret->release = s->state->target;
    }
}

static void step_waiting(struct step *s)
{
    if (left_attempt(s))
        return;
    bool due = s->now_ms >= s->seen->retry_at_ms;
    bool cramped = s->seen->free_bytes < s->state->space_bytes;
    if (due && !cramped) {
        move(s, LIFECYCLE_FETCHING, 5, "the next try is due");
        return;
    }
    (void)keep_confirmed_running(s);
    s->ret->hold = cramped ? LIFECYCLE_HOLD_SPACE : LIFECYCLE_HOLD_NONE;
    by(s, due ? s->now_ms + LIFECYCLE_SPACE_LOOK_MS : s->seen->retry_at_ms);
}

static void hold(struct step *s, enum lifecycle_hold whom, int64_t again_ms)
{
    s->ret->hold = whom;
    s->ret->return_lease = s->seen->lease_granted;
    by(s, again_ms);
}

/* True when captain's word is there, or not needed. */
static bool has_lease(struct step *s)
{
    if (!s->desired->lease || s->seen->lease_granted)
        return true;
    s->ret->hold = LIFECYCLE_HOLD_LEASE;
    if (s->now_ms >= s->seen->lease_again_ms)
        want(s, LIFECYCLE_DO_LEASE);
    else
        by(s, s->seen->lease_again_ms);
    return false;
}

static bool has_passed_hook(struct step *s)
{
    switch (s->seen->hook) {
    case LIFECYCLE_HOOK_UNASKED:
        want(s, LIFECYCLE_DO_HOOK);
        break;
    case LIFECYCLE_HOOK_RUNNING:
        s->ret->hold = LIFECYCLE_HOLD_HOOK;
        break;
    case LIFECYCLE_HOOK_NOT_NOW:
        hold(s, LIFECYCLE_HOLD_HOOK, s->seen->ask_again_ms);
        break;
    case LIFECYCLE_HOOK_NONE:
    case LIFECYCLE_HOOK_PASSED:
        return true;
    }
    return false;
}

/* Rule 10. While a hook says no, captain is not asked: its leave would be held in vain. */
static void step_asking(struct step *s)
{
    if (left_attempt(s))
        return;
    if (!s->seen->target_staged)
        move(s, LIFECYCLE_FETCHING, 9, "the staged release is gone from the disk");
    else if (!keep_confirmed_running(s))
        return;
    else if (s->seen->locked)
        hold(s, LIFECYCLE_HOLD_LOCK, s->seen->ask_again_ms);
    else if (s->seen->hook == LIFECYCLE_HOOK_NOT_NOW)
        hold(s, LIFECYCLE_HOLD_HOOK, s->seen->ask_again_ms);
    else if (has_lease(s) && has_passed_hook(s))
        move(s, LIFECYCLE_STOPPING, 10, "nobody minds the change now");
}

static void step_stopping(struct step *s)
{
    if (left_attempt(s))
        return;
    if (!s->seen->target_staged)
        move(s, LIFECYCLE_FETCHING, 9, "the staged release is gone from the disk");
    else if (s->seen->services_running)
        want(s, LIFECYCLE_DO_STOP);
    else
        move(s, LIFECYCLE_SWITCHING, 2, "the old release has stopped, the new one is whole");
}

/* Rule 11. */
static bool deadman_fired(struct step *s)
{
    if (!s->seen->deadman_fired)
        return false;
    refuse_target(s, ERR_UNHEALTHY);
    move(s, LIFECYCLE_RETREATING, 11, "the dead-man timer went off: the agent did not confirm it");
    return true;
}

static void step_switching(struct step *s)
{
    if (deadman_fired(s))
        return;
    if (lifecycle_same(&s->seen->current, &s->state->target)) {
        s->state->failures = 0;
        s->state->reason_code = ERR_OK;
        move(s, LIFECYCLE_STARTING, 0, "`current` points to the new release");
        return;
    }
    if (left_attempt(s))
        return;
    if (!s->seen->target_staged)
        move(s, LIFECYCLE_FETCHING, 9, "the staged release is gone from the disk");
    else if (s->seen->switch_error != ERR_OK)
        wait_and_retry(s, s->seen->switch_error, "the switch failed and is tried again later");
    else if (s->seen->services_running) /* started by an agent that died in between */
        want(s, LIFECYCLE_DO_STOP);
    else
        want_switch(s, &s->state->target);
}

static int64_t window_end_ms(const struct step *s)
{
    return s->state->since_ms + s->seen->confirm_ms + s->seen->grace_ms;
}

/* Rule 6: true when the target is given up. */
static bool gave_up(struct step *s)
{
    const char *why = NULL;
    if (s->seen->services_failed)
        why = "a service ended again and again";
    else if (s->state->failures >= LIFECYCLE_REBOOTS_MAX)
        why = "the machine went down again and again";
    else if (s->now_ms >= window_end_ms(s))
        why = "not healthy and in contact before the deadline";
    if (!why) {
        by(s, window_end_ms(s));
        return false;
    }
    refuse_target(s, ERR_UNHEALTHY);
    move(s, LIFECYCLE_RETREATING, 6, why);
    return true;
}

/* The target has been switched to: see that it is what the link says and that it runs. */
static bool target_runs(struct step *s)
{
    if (!lifecycle_same(&s->seen->current, &s->state->target))
        want_switch(s, &s->state->target);
    else if (!s->seen->services_started)
        want(s, LIFECYCLE_DO_START);
    else
        return true;
    return false;
}

static void step_starting(struct step *s)
{
    if (deadman_fired(s) || gave_up(s))
        return;
    if (target_runs(s)) {
        report(s, LIFECYCLE_REPORT_ACTIVATED, ERR_OK);
        move(s, LIFECYCLE_CONFIRMING, 0, "its services are started");
    }
}

static void confirm(struct step *s)
{
    if (!lifecycle_same(&s->state->confirmed, &s->state->target))
        s->state->previous = s->state->confirmed;
    s->state->confirmed = s->state->target;
    s->state->data_version = s->seen->current_data_version;
    s->state->refused = (struct lifecycle_release){0};
    s->state->refused_decision = 0;
    s->state->failures = 0;
    s->state->reason_code = ERR_OK;
    report(s, LIFECYCLE_REPORT_CONFIRMED, ERR_OK);
    move(s, LIFECYCLE_SERVING, 6, "healthy for the whole window, and the bus was reached");
    want(s, LIFECYCLE_DO_PRUNE);
}

static void step_confirming(struct step *s)
{
    int64_t healthy_ms = s->seen->healthy_since_ms;
    if (deadman_fired(s))
        return;
    if (target_runs(s) && healthy_ms >= 0) {
        int64_t start_ms = healthy_ms > s->state->since_ms ? healthy_ms : s->state->since_ms;
        bool long_enough = s->now_ms - start_ms >= s->seen->confirm_ms;
        if (long_enough && s->seen->bus_reached_ms >= start_ms && !s->seen->services_failed) {
            confirm(s);
            return;
        }
        if (!long_enough)
            by(s, start_ms + s->seen->confirm_ms);
    }
    (void)gave_up(s);
}

static void step_retreating(struct step *s)
{
    if (s->seen->services_running)
        want(s, LIFECYCLE_DO_STOP);
    else
        move(s, LIFECYCLE_RESTORING, 6, "the failed release has stopped");
}

static void step_restoring(struct step *s)
{
    if (!lifecycle_same(&s->seen->current, &s->state->confirmed)) {
        if (s->seen->services_running)
            want(s, LIFECYCLE_DO_STOP);
        else
            want_switch(s, &s->state->confirmed);
        return;
    }
    if (!keep_confirmed_running(s))
        return;
    bool back = s->state->confirmed.set;
    report(s, back ? LIFECYCLE_REPORT_ROLLED_BACK : LIFECYCLE_REPORT_REFUSED,
           s->state->refused_code);
    s->state->target = s->state->confirmed;
    s->state->failures = 0;
    if (back)
        move(s, LIFECYCLE_REFUSED, 6, "the previous release serves again");
    else
        move(s, LIFECYCLE_REFUSED, 7, "a first release has nothing to go back to");
    want(s, LIFECYCLE_DO_PRUNE);
}

static void step_refused(struct step *s)
{
    if (!desired_is_refused(s))
        follow_desired(s, 0);
    else if (keep_confirmed_running(s) && s->desired->lease && has_lease(s))
        begin_attempt(s, 3, "captain lets it be tried again");
}

/* Rule 9. Before the switch has happened (or after it has been undone) the loss only means that
 * there is nothing to keep running; a target past its switch goes on. */
static void forget_lost(struct step *s)
{
    if (!s->state->confirmed.set || s->seen->confirmed_whole)
        return;
    s->state->confirmed =
        (struct lifecycle_release){0}; /* the app's data stays, with its version */
}

static void step_serving(struct step *s)
{
    if (s->state->confirmed.set)
        step_resting(s);
    else
        follow_desired(s, 9);
}

void lifecycle_step(struct lifecycle *state, const struct lifecycle_desired *desired,
                    const struct lifecycle_observed *observed, int64_t now_ms,
                    struct lifecycle_effects *ret)
{
    static void (*const steps[LIFECYCLE_STATES])(struct step *) = {
        [LIFECYCLE_EMPTY] = step_resting,         [LIFECYCLE_FETCHING] = step_fetching,
        [LIFECYCLE_WAITING] = step_waiting,       [LIFECYCLE_STOPPING] = step_stopping,
        [LIFECYCLE_SWITCHING] = step_switching,   [LIFECYCLE_STARTING] = step_starting,
        [LIFECYCLE_CONFIRMING] = step_confirming, [LIFECYCLE_SERVING] = step_serving,
        [LIFECYCLE_RETREATING] = step_retreating, [LIFECYCLE_RESTORING] = step_restoring,
        [LIFECYCLE_REFUSED] = step_refused,       [LIFECYCLE_ASKING] = step_asking,
    };
    *ret = (struct lifecycle_effects){.why = "", .deadline_ms = INT64_MAX};
    struct step s = {state, desired, observed, now_ms, ret};
    forget_lost(&s);
    steps[state->state](&s);
}

void lifecycle_trust_changed(struct lifecycle *state)
{
    if (state->state != LIFECYCLE_REFUSED || state->refused_code == ERR_UNHEALTHY)
        return;
    state->refused = (struct lifecycle_release){0};
    state->refused_decision = 0;
}

void lifecycle_restarted(struct lifecycle *state, bool rebooted, int64_t now_ms)
{
    bool in_window = state->state == LIFECYCLE_STARTING || state->state == LIFECYCLE_CONFIRMING;
    state->since_ms = now_ms;
    if (in_window && rebooted)
        state->failures++;
    lifecycle_trust_changed(state);
}
