/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/dev.h"

#include <stdio.h>
#include <string.h>

#include "captain/cli/dev_http.h"
#include "captain/cli/device.h"
#include "common/base/mem.h"
#include "common/clock.h"

enum { LOOK_EVERY_MS = 20, WAIT_MS = 25000, WAIT_PER_AGENT_MS = 300, SCRATCH_BYTES = 32 << 20 };

static int64_t patience_ms(const struct dev *dev)
{
    return WAIT_MS + (int64_t)dev->agents_len * WAIT_PER_AGENT_MS;
}

static void on_page(void *arg, int status, struct bytes body)
{
    struct dev_agent *agent = arg;
    size_t len = 0;
    agent->asking = false;
    if (status == 200)
        while (len < body.len && len < sizeof agent->served - 1 && body.ptr[len] >= ' ')
            len++;
    if (len)
        memcpy(agent->served, body.ptr, len);
    agent->served[len] = '\0';
    if (agent->served_ms < 0 && str_equal(agent->served, agent->dev->wanted))
        agent->served_ms = clock_mono_ms();
    if (agent->dev->suspect && str_equal(agent->served, agent->dev->suspect))
        agent->ran_bad = true;
}

static void look(void *arg)
{
    struct dev *dev = arg;
    for (uint32_t i = 0; i < dev->agents_len; i++) {
        struct dev_agent *agent = &dev->agents[i];
        if (agent->asking || (agent->served_ms >= 0 && !dev->suspect))
            continue;
        agent->asking = true;
        dev_http_get(dev->loop, agent->port, dev->page ? dev->page : "/index.html", on_page, agent);
    }
    loop_timer_at(dev->loop, &dev->tick, loop_now_ms(dev->loop) + LOOK_EVERY_MS, look, dev);
}

static bool all_serve(struct dev *dev)
{
    for (uint32_t i = 0; i < dev->agents_len; i++)
        if (dev->agents[i].served_ms < 0)
            return false;
    return true;
}

static bool none_asks(struct dev *dev)
{
    for (uint32_t i = 0; i < dev->agents_len; i++)
        if (dev->agents[i].asking)
            return false;
    return true;
}

/* The log of the first device that does not serve tells most. */
static void blame(struct dev *dev)
{
    for (uint32_t i = 0; i < dev->agents_len && !dev->failed; i++)
        if (dev->agents[i].served_ms < 0)
            dev->failed = &dev->agents[i].proc;
}

void dev_watch_begin(struct dev *dev, const char *content)
{
    dev->wanted = content;
    for (uint32_t i = 0; i < dev->agents_len; i++)
        dev->agents[i].served_ms = -1;
    look(dev);
}

void dev_watch_end(struct dev *dev)
{
    struct err late = {0};
    loop_timer_stop(&dev->tick);
    /* Answers under way point to the content. */
    enum err_code rest = dev_wait(dev, none_asks, 2 * DEV_HTTP_TIMEOUT_MS, &late);
    (void)rest; /* each GET ends by its own timeout */
    dev->wanted = NULL;
    dev->suspect = NULL;
}

enum err_code dev_watch_times(struct dev *dev, struct dev_move *move, int64_t order_ms,
                              struct err *err)
{
    enum err_code code = dev_wait(dev, all_serve, patience_ms(dev), err);
    if (code == ERR_FAILED)
        blame(dev);
    move->first_ms = INT64_MAX;
    for (uint32_t i = 0; i < dev->agents_len && code == ERR_OK; i++) {
        int64_t took_ms = dev->agents[i].served_ms - order_ms;
        move->first_ms = took_ms < move->first_ms ? took_ms : move->first_ms;
        move->last_ms = took_ms > move->last_ms ? took_ms : move->last_ms;
    }
    return code;
}

enum err_code dev_wait_serving(struct dev *dev, struct dev_move *move, int64_t order_ms,
                               struct err *err)
{
    char content[64];
    dev_content(move->version, content);
    dev_watch_begin(dev, content);
    enum err_code code = dev_watch_times(dev, move, order_ms, err);
    dev_watch_end(dev);
    return code;
}

enum err_code dev_wait_page(struct dev *dev, const char *page, const char *line, int64_t order_ms,
                            int64_t *ret_ms, struct err *err)
{
    struct dev_move move = {0};
    dev->page = page;
    dev_watch_begin(dev, line);
    enum err_code code = dev_watch_times(dev, &move, order_ms, err);
    dev_watch_end(dev);
    dev->page = NULL;
    *ret_ms = move.last_ms;
    return code;
}

static bool is_ours(const struct dev *dev, const struct device_info *info)
{
    char name[64];
    for (uint32_t i = 0; i < dev->agents_len; i++) {
        (void)snprintf(name, sizeof name, "%s/%s", dev->agents[i].site, dev->agents[i].device);
        if (str_equal(name, info->device))
            return true;
    }
    return false;
}

/* Asks captain for the fleet and counts; -1 when there is no answer, or one was asked for just now.
 */
static int64_t count(struct dev *dev, const char *version)
{
    struct arena arena DEFER(arena_fini);
    struct device_query query = {.limit = DEV_AGENTS_MAX};
    struct device_list list;
    struct err err = {0};
    int64_t found = 0;
    int64_t now_ms = clock_mono_ms();
    arena_init(&arena, SCRATCH_BYTES);
    if (now_ms - dev->asked_ms < DEV_ASK_EVERY_MS)
        return -1;
    dev->asked_ms = now_ms;
    if (device_list_ask(dev->client, &query, &arena, &list, &err))
        return -1;
    for (size_t i = 0; i < list.devices_len; i++) {
        const struct device_info *info = &list.devices[i];
        bool on_it = info->apps_len > 0 && str_equal(info->apps[0].version, version) &&
                     str_equal(info->apps[0].state, "healthy");
        found += info->online && (version == NULL || on_it) && is_ours(dev, info);
    }
    return found;
}

static bool all_online(struct dev *dev)
{
    return count(dev, NULL) == dev->agents_len;
}

static bool all_healthy(struct dev *dev)
{
    return count(dev, dev->healthy_on) == dev->agents_len;
}

enum err_code dev_wait_online(struct dev *dev, struct err *err)
{
    dev->step = "waiting for every agent to report";
    enum err_code code = dev_wait(dev, all_online, patience_ms(dev), err);
    if (code == ERR_FAILED)
        blame(dev);
    return code;
}

enum err_code dev_wait_healthy(struct dev *dev, const char *version, struct err *err)
{
    dev->healthy_on = version;
    enum err_code code = dev_wait(dev, all_healthy, patience_ms(dev), err);
    if (code == ERR_FAILED && !dev->failed)
        dev->failed = &dev->captain;
    return code;
}
