/* SPDX-License-Identifier: Apache-2.0
 *
 * captain dev: the story. A server, captain, agents; a first release everywhere; a second one in
 * waves, and proof by HTTP that every device serves it; then a bad one, and proof that the canary
 * stopped it.
 */
#include "captain/cli/dev.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "captain/cli/number.h"
#include "captain/cli/output.h"
#include "captain/cli/release.h"
#include "common/base/mem.h"
#include "common/clock.h"

enum { FOREVER_MS = INT32_MAX };

static void on_terminate(void *arg)
{
    struct dev *dev = arg;
    dev->interrupted = true;
}

static void on_hangup(int signum)
{
    (void)signum;
    (void)kill(getpid(), SIGTERM);
}

/* A terminal that is closed ends it as Ctrl-C does; under nohup it goes on. */
static void end_on_hangup(void)
{
    struct sigaction old;
    struct sigaction ours = {.sa_handler = on_hangup, .sa_flags = SA_RESTART};
    if (sigaction(SIGHUP, NULL, &old) == 0 && old.sa_handler != SIG_IGN)
        (void)sigaction(SIGHUP, &ours, NULL);
}

static enum err_code ask_size(struct dev *dev, struct dev_move *move, struct err *err)
{
    struct release_query query = {.app = "hello", .version = move->version};
    struct release_info info;
    if (release_ask(dev->client, "show", &query, dev->arena, &info, err))
        return err->code;
    move->size_bytes = info.size_bytes;
    return ERR_OK;
}

static enum err_code create_release(struct dev *dev, struct dev_move *move, struct err *err)
{
    const char *yaml = NULL;
    char key[PATH_MAX + 32];
    int64_t start_ms = clock_mono_ms();
    (void)snprintf(key, sizeof key, "%s/captain/keys/release.key", dev->dir);
    dev->step = arena_printf(dev->arena, "creating hello@%s", move->version);
    const bool is_bad = dev->bad.version && str_equal(dev->bad.version, move->version);
    if (dev_write_release(dev, move->version, is_bad ? dev->scenario->script : "", &yaml, err) ||
        dev_run(dev, (const char *const[]){"release", "create", "-f", yaml, "--key", key, NULL},
                err))
        return err->code;
    move->create_ms = clock_mono_ms() - start_ms;
    return ask_size(dev, move, err);
}

static enum err_code set_channel(struct dev *dev, struct dev_move *move, struct err *err)
{
    char release[32];
    int64_t order_ms = clock_mono_ms();
    (void)snprintf(release, sizeof release, "hello@%s", move->version);
    dev->step = arena_printf(dev->arena, "setting hello/stable to %s", release);
    if (dev_run(dev, (const char *const[]){"channel", "set", "hello/stable", release, NULL}, err))
        return err->code;
    move->decided_ms = clock_mono_ms() - order_ms;
    dev_say(dev, "hello/stable is %s; decided and published in %lld ms", release,
            (long long)move->decided_ms);
    dev->step = arena_printf(dev->arena, "waiting for every device to serve %s", release);
    if (dev_wait_serving(dev, move, order_ms, err))
        return err->code;
    dev_say(dev, "every device serves %s, the first after %lld ms, the last %lld ms", release,
            (long long)move->first_ms, (long long)move->last_ms);
    dev->step = arena_printf(dev->arena, "waiting for every device to confirm %s", release);
    if (dev_wait_healthy(dev, move->version, err))
        return err->code;
    move->healthy_ms = clock_mono_ms() - order_ms;
    dev_say(dev, "every device has confirmed %s after %lld ms", release,
            (long long)move->healthy_ms);
    return ERR_OK;
}

static enum err_code start_all(struct dev *dev, struct err *err)
{
    if ((dev->secure && dev_fleet_init(dev, err)) || dev_start_nats(dev, err))
        return err->code;
    dev_say(dev, "nats-server on %s", dev->nats_url);
    if (dev_start_captain(dev, err))
        return err->code;
    dev_say(dev, "captain answers");
    if (dev_start_agents(dev, err))
        return err->code;
    dev_say(dev, dev->agents_len == 1 ? "%u agent reports" : "%u agents report", dev->agents_len);
    return ERR_OK;
}

/* The good one: in waves, to its end. */
static enum err_code roll_out_good(struct dev *dev, struct dev_move *move, struct err *err)
{
    char content[64];
    int64_t order_ms = clock_mono_ms();
    dev_content(move->version, content);
    dev_watch_begin(dev, content);
    enum err_code code = dev_roll_out(dev, move->version, 1, err);
    move->healthy_ms = clock_mono_ms() - order_ms;
    if (code == ERR_OK)
        code = dev_watch_times(dev, move, order_ms, err);
    dev_watch_end(dev);
    if (code)
        return code;
    const struct rollout_info *info = dev_rollout_info(dev);
    move->waves = info->wave;
    move->decided_ms = dev->follow.decided_ms;
    if (!info->outcome_good)
        return err_set(err, ERR_FAILED, "the rollout of hello@%s is %s: it should have succeeded",
                       move->version, info->state);
    dev_say(dev, "every device serves hello@%s, the first after %.1f s, the last after %.1f s",
            move->version, (double)move->first_ms / 1000, (double)move->last_ms / 1000);
    return ERR_OK;
}

static void take_bad(struct dev *dev, const struct rollout_info *info)
{
    struct dev_bad *bad = &dev->bad;
    bad->exposed = info->exposed;
    bad->canaries = info->waves_len ? info->waves[0].devices : 0;
    (void)snprintf(bad->state, sizeof bad->state, "%s", info->state);
    if (info->gate) {
        (void)snprintf(bad->gate, sizeof bad->gate, "%s", info->gate->gate);
        (void)snprintf(bad->sentence, sizeof bad->sentence, "%s", info->gate->sentence);
    }
    for (uint32_t i = 0; i < dev->agents_len; i++)
        bad->served += dev->agents[i].ran_bad;
}

static bool is_stopped_rightly(const struct dev *dev, const struct rollout_info *info)
{
    const char *const *gates = dev->scenario->gates;
    if (!str_equal(info->state, "aborted") || !info->gate)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(dev->scenario->gates) && gates[i]; i++)
        if (str_equal(info->gate->gate, gates[i]))
            return true;
    return false;
}

static enum err_code judge_bad(struct dev *dev, struct err *err)
{
    const struct dev_bad *bad = &dev->bad;
    if (!is_stopped_rightly(dev, dev_rollout_info(dev)))
        return err_set(err, ERR_FAILED,
                       "the rollout of hello@%s is %s by gate %s (%s): it should have been aborted "
                       "by gate %s",
                       bad->version, bad->state, bad->gate, bad->sentence, dev->scenario->gates[0]);
    if (bad->exposed > bad->canaries || bad->served > bad->canaries)
        return err_set(err, ERR_FAILED, "%u devices had hello@%s and %u served it: more than %u",
                       bad->exposed, bad->version, bad->served, bad->canaries);
    if (dev->scenario->serves && bad->served == 0)
        return err_set(err, ERR_FAILED, "no device was seen to serve hello@%s", bad->version);
    return ERR_OK;
}

/* The bad one: the canary's gate fails and the fleet goes back by itself. */
static enum err_code roll_out_bad(struct dev *dev, const char *back_to, struct err *err)
{
    char content[64], before[64];
    int64_t order_ms = clock_mono_ms();
    dev_content(dev->bad.version, content);
    dev_content(back_to, before);
    dev->suspect = content;
    dev_watch_begin(dev, before);
    enum err_code code = dev_roll_out(dev, dev->bad.version, dev->scenario->canaries, err);
    dev_watch_end(dev);
    if (code)
        return code;
    take_bad(dev, dev_rollout_info(dev));
    dev->step =
        arena_printf(dev->arena, "waiting for every device to be back on hello@%s", back_to);
    struct dev_move back = {.version = back_to};
    if (judge_bad(dev, err) || dev_wait_serving(dev, &back, order_ms, err) ||
        dev_wait_healthy(dev, back_to, err))
        return err->code;
    dev->bad.ended_ms = clock_mono_ms() - order_ms;
    dev_say(dev, "every device serves hello@%s again; %u of %u ever had hello@%s", back_to,
            dev->bad.exposed, dev->agents_len, dev->bad.version);
    return ERR_OK;
}

static enum err_code run_scenario(struct dev *dev, struct err *err)
{
    struct dev_move *first = &dev->moves[0], *second = &dev->moves[1];
    struct dev_move bad = {.version = "1.2"};
    first->version = "1.0";
    second->version = "1.1";
    if (start_all(dev, err) || create_release(dev, first, err) || set_channel(dev, first, err) ||
        (dev->secure && dev_trust_settings(dev, err)) ||
        dev_show_fleet(dev, "The fleet before:", err) || create_release(dev, second, err) ||
        roll_out_good(dev, second, err) || dev_show_fleet(dev, "The fleet after:", err))
        return err->code;
    dev->bad.version = bad.version;
    dev_say(dev, "now a bad one, hello@%s: %s", bad.version, dev->scenario->what);
    if (create_release(dev, &bad, err) || roll_out_bad(dev, second->version, err))
        return err->code;
    if (dev->secure && (dev_trust_people(dev, err) || dev_trust_revoke(dev, err)))
        return err->code;
    return dev_show_fleet(dev, "The fleet, back:", err);
}

static bool never(struct dev *dev)
{
    (void)dev;
    return false;
}

/* On a terminal it stays up, to be played with. */
static enum err_code stay(struct dev *dev, struct err *err)
{
    if (dev->check || !output_is_terminal() || output_is_json())
        return ERR_OK;
    if (dev->secure)
        dev_trust_hints(dev);
    else
        output_note("\nIn another terminal:  NATS_URL=%s %s status", dev->nats_url,
                    dev->invocation->program);
    output_note("A device:             http://127.0.0.1:%u/", (unsigned)dev->agents[0].port);
    output_note("Ctrl-C ends and removes everything.");
    dev->step = "staying up";
    enum err_code code = output_flush(err);
    while (code == ERR_OK)
        code = dev_wait(dev, never, FOREVER_MS, err);
    if (code != ERR_INTERRUPTED)
        return code;
    *err = (struct err){0};
    return ERR_OK;
}

static enum err_code check_secure(const struct dev *dev, struct err *err)
{
    if (!dev->secure || !dev->nats_url)
        return ERR_OK;
    (void)err_set(err, ERR_USAGE, "--secure starts a nats-server of its own: no --nats");
    return err_hint(err, "captain init sets up a fleet with a server that stays");
}

static enum err_code run(struct dev *dev, struct err *err)
{
    struct invocation *invocation = dev->invocation;
    if (number_flag(invocation, FLAG_AGENTS, DEV_AGENTS_MAX, &dev->agents_len, err) ||
        dev_scenario_find(invocation->flags[FLAG_SCENARIO], &dev->scenario, err) ||
        check_secure(dev, err) || dev_find_programs(dev, err) || dev_make_folder(dev, err) ||
        dev_proc_adopt_orphans(err) || loop_open(&dev->loop, err))
        return err->code;
    dev->agents = mem_new(dev->agents_len, sizeof *dev->agents);
    loop_on_terminate(dev->loop, on_terminate, dev);
    end_on_hangup();
    dev_warn(dev);
    if (run_scenario(dev, err))
        return err->code;
    dev_show_result(dev);
    return stay(dev, err);
}

enum err_code cmd_dev(struct invocation *invocation, struct err *err)
{
    struct dev *dev DEFER(mem_free_ref) = mem_new(1, sizeof *dev);
    dev->invocation = invocation;
    dev->arena = invocation->arena;
    dev->agents_len = DEV_AGENTS;
    dev->check = invocation->flags[FLAG_CHECK] != NULL;
    dev->keep = invocation->flags[FLAG_KEEP] != NULL;
    dev->secure = invocation->flags[FLAG_SECURE] != NULL;
    dev->nats_url = invocation->flags[FLAG_NATS];
    dev->started_ms = clock_mono_ms();
    enum err_code code = run(dev, err);
    if (code)
        dev_show_failure(dev, err);
    dev_end(dev);
    return code;
}
