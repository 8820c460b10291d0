/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/bus.h"

#include "tests/sim/world.h"

static bool happens(struct world *world, uint32_t per_thousand)
{
    return per_thousand > 0 && rng_below(&world->rng, 1000) < per_thousand;
}

static int64_t delay_ms(struct world *world)
{
    const struct bus_rules *rules = &world->bus;
    int64_t ms = rules->delay_min_ms +
                 (int64_t)rng_below(&world->rng, rules->delay_max_ms - rules->delay_min_ms + 1);
    if (happens(world, rules->slow))
        ms += (int64_t)rng_below(&world->rng, rules->slow_ms + 1);
    return ms;
}

/* Whether both ends are there is looked at again on arrival. */
void bus_send(struct world *world, const struct bus_message *message)
{
    if (!device_is_reachable(&world->devices[message->device]))
        return;
    if (happens(world, world->bus.drop))
        return;
    clock_put(&world->clock, world->clock.now_ms + delay_ms(world), CLOCK_MESSAGE, message->device,
              message);
    if (happens(world, world->bus.twice))
        clock_put(&world->clock, world->clock.now_ms + delay_ms(world), CLOCK_MESSAGE,
                  message->device, message);
}
