/* SPDX-License-Identifier: Apache-2.0
 *
 * captain dev: the story. A server, captain, agents; a first release, a second one; and proof by
 * HTTP that every device serves it.
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
    if (dev_write_release(dev, move->version, &yaml, err) ||
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
    if (dev_wait_healthy(dev, move, order_ms, err))
        return err->code;
    dev_say(dev, "every device has confirmed %s after %lld ms", release,
            (long long)move->healthy_ms);
    return ERR_OK;
}

static enum err_code start_all(struct dev *dev, struct err *err)
{
    if (dev_start_nats(dev, err))
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

static enum err_code run_scenario(struct dev *dev, struct err *err)
{
    (void)snprintf(dev->moves[0].version, sizeof dev->moves[0].version, "1.0");
    (void)snprintf(dev->moves[1].version, sizeof dev->moves[1].version, "1.1");
    if (start_all(dev, err) || create_release(dev, &dev->moves[0], err) ||
        set_channel(dev, &dev->moves[0], err) || dev_show_fleet(dev, "The fleet before:", err) ||
        create_release(dev, &dev->moves[1], err) || set_channel(dev, &dev->moves[1], err))
        return err->code;
    return dev_show_fleet(dev, "The fleet after:", err);
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

static enum err_code run(struct dev *dev, struct err *err)
{
    struct invocation *invocation = dev->invocation;
    if (number_flag(invocation, FLAG_AGENTS, DEV_AGENTS_MAX, &dev->agents_len, err) ||
        dev_find_programs(dev, err) || dev_make_folder(dev, err) || dev_proc_adopt_orphans(err) ||
        loop_open(&dev->loop, err))
        return err->code;
    dev->agents = mem_new(dev->agents_len, sizeof *dev->agents);
    loop_on_terminate(dev->loop, on_terminate, dev);
    end_on_hangup();
    dev_warn();
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
    dev->nats_url = invocation->flags[FLAG_NATS];
    dev->started_ms = clock_mono_ms();
    enum err_code code = run(dev, err);
    if (code)
        dev_show_failure(dev, err);
    dev_end(dev);
    return code;
}
