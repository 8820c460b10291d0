/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/dev.h"

#include <stdio.h>
#include <string.h>

#include "captain/cli/output.h"
#include "captain/cli/rollout_view.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/file.h"

enum { ASK_EVERY_MS = 200, ARENA_BYTES = 4 << 20, ROLLOUT_MS = 50000, ROLLOUT_PER_AGENT_MS = 2000 };

/* As the named ones, in seconds. A canary that fails at all is one too many: there are so few. */
static const char policy_yaml[] = "extends: fast\n"
                                  "name: dev\n"
                                  "eligible_age: 30s\n"
                                  "waves:\n"
                                  "  - {name: canary, count: %u, canary: true}\n"
                                  "  - {name: quarter, percent: 25}\n"
                                  "  - {name: all, all: true}\n"
                                  "soak: 5s\n"
                                  "coverage: {quorum: 1, deadline: %s, on_missing: fail}\n"
                                  "failures: {min_abs: 0, max_percent: 0}\n"
                                  "compare: {min_control: 1, no_control: always}\n"
                                  "admission: {lease: 30s, max_unavailable_per_site_percent: 50}\n"
                                  "silent: 20s\n"
                                  "rollback: 20s\n"
                                  "%s";

const struct rollout_info *dev_rollout_info(const struct dev *dev)
{
    return &dev->follow.info[dev->follow.now];
}

void dev_rollout_fini(struct dev *dev)
{
    arena_fini(&dev->follow.arena[0]);
    arena_fini(&dev->follow.arena[1]);
}

static void draw(const struct rollout_info *info, struct arena *arena)
{
    struct rollout_view_size size;
    size_t len = 0;
    output_terminal_size(&size.width, &size.height, &size.plain);
    if (size.height > 1)
        size.height--; /* the cursor stands below */
    const struct output_row *rows = rollout_view_tree(info, clock_unix_ms(), &size, arena, &len);
    output_redraw(rows, len);
}

static void say_changes(const struct rollout_info *before, const struct rollout_info *info,
                        struct arena *arena)
{
    size_t len = 0;
    const struct output_row *rows =
        rollout_view_changes(before, info, clock_unix_ms(), arena, &len);
    for (size_t i = 0; i < len; i++)
        output_note("         %s", rows[i].text);
}

static void show(struct dev *dev)
{
    struct dev_follow *follow = &dev->follow;
    const unsigned before = 1 - follow->now;
    struct arena arena DEFER(arena_fini);
    arena_init(&arena, ARENA_BYTES);
    if (output_is_json())
        return;
    if (output_is_terminal())
        draw(&follow->info[follow->now], &arena);
    else
        say_changes(follow->known[before] ? &follow->info[before] : NULL,
                    &follow->info[follow->now], &arena);
}

/* What cannot be asked now is asked again; dev_wait sees a captain that is gone. */
static bool rollout_is_over(struct dev *dev)
{
    struct dev_follow *follow = &dev->follow;
    const struct rollout_query query = {.rollout = follow->id};
    const int64_t now_ms = clock_mono_ms();
    const unsigned next = 1 - follow->now;
    struct err err = {0};
    if (now_ms - follow->asked_ms < ASK_EVERY_MS)
        return false;
    follow->asked_ms = now_ms;
    follow->known[next] = false;
    arena_reset(&follow->arena[next]);
    if (client_call(dev->client,
                    &(struct client_call){"rollout", "show", &codec_rollout_query, &query,
                                          &codec_rollout_info, &follow->info[next]},
                    &follow->arena[next], &err))
        return false;
    follow->now = next;
    follow->known[next] = true;
    show(dev);
    return rollout_view_over(&follow->info[next]);
}

static enum err_code start(struct dev *dev, const char *version, const char *policy,
                           struct err *err)
{
    struct dev_follow *follow = &dev->follow;
    struct rollout_info *info = &follow->info[0];
    const struct rollout_start_request request = {.channel = "hello/stable",
                                                  .release =
                                                      arena_printf(dev->arena, "hello@%s", version),
                                                  .policy = policy,
                                                  .policy_name = "dev"};
    const int64_t order_ms = clock_mono_ms();
    dev_rollout_fini(dev);
    *follow = (struct dev_follow){0};
    arena_init(&follow->arena[0], ARENA_BYTES);
    arena_init(&follow->arena[1], ARENA_BYTES);
    if (client_call(dev->client,
                    &(struct client_call){"rollout", "start", &codec_rollout_start_request,
                                          &request, &codec_rollout_info, info},
                    &follow->arena[0], err))
        return err->code;
    follow->decided_ms = clock_mono_ms() - order_ms;
    (void)snprintf(follow->id, sizeof follow->id, "%s", info->id);
    return ERR_OK;
}

/* For whoever wants to play with it. */
static enum err_code write_policy(struct dev *dev, const char *policy, struct err *err)
{
    char path[PATH_MAX + 16];
    (void)snprintf(path, sizeof path, "%s/policy.yaml", dev->dir);
    return file_replace(path, bytes_of(policy, strlen(policy)), 0644, err);
}

enum err_code dev_roll_out(struct dev *dev, const char *version, uint32_t canaries, struct err *err)
{
    /* A slow machine must not fail a good release; a bad one is seen soon. */
    const char *deadline = dev->suspect ? "12s" : "1m";
    const char *metrics = dev->scenario->metrics ? dev->scenario->metrics : "";
    const char *policy = arena_printf(dev->arena, policy_yaml, canaries, deadline, metrics);
    const int64_t patience_ms = ROLLOUT_MS + (int64_t)dev->agents_len * ROLLOUT_PER_AGENT_MS;
    dev->step = arena_printf(dev->arena, "rolling out hello@%s", version);
    dev_say(dev, "captain rollout start hello/stable hello@%s --policy policy.yaml", version);
    if (write_policy(dev, policy, err) || start(dev, version, policy, err))
        return err->code;
    enum err_code code = dev_wait(dev, rollout_is_over, patience_ms, err);
    if (code == ERR_FAILED && !dev->failed)
        dev->failed = &dev->captain;
    return code;
}
